#include "manager/docker_registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace usl::manager {
namespace {

using ::testing::HasSubstr;

TEST(ChallengeTest, Forms) {
  const auto bearer = ParseChallenge(R"(Bearer realm="https://auth.x/token",service="a, b",scope="repository:a:pull")");
  ASSERT_TRUE(bearer);
  EXPECT_EQ(bearer->scheme, "bearer");
  EXPECT_EQ(bearer->parameters.at("realm"), "https://auth.x/token");
  EXPECT_EQ(bearer->parameters.at("service"), "a, b");
  EXPECT_EQ(ParseChallenge(R"(BASIC REALM="a \"b\"")")->parameters.at("realm"), R"(a "b")");
  EXPECT_EQ(ParseChallenge("Negotiate, Basic realm=x")->scheme, "basic");
  EXPECT_EQ(ParseChallenge("Digest realm=\"x\", nonce=1, Bearer realm=\"y\"")->parameters.at("realm"), "y");
  for (const char* text : {"", ",", "Negotiate", "Bearer realm=\"x", "=", "\"Bearer\""}) {
    EXPECT_FALSE(ParseChallenge(text)) << text;
  }
}

TEST(ChallengeTest, QueriesAreEncoded) {
  EXPECT_EQ(EncodeQuery("repository:a/b:pull&x=\n%"), "repository%3Aa%2Fb%3Apull%26x%3D%0A%25");
}

TEST(Base64Test, BothWays) {
  EXPECT_EQ(EncodeBase64("user:pass"), "dXNlcjpwYXNz");
  EXPECT_EQ(DecodeBase64("dXNlcjpwYXNz"), "user:pass");
  EXPECT_EQ(DecodeBase64("dTo="), "u:");
  EXPECT_EQ(EncodeBase64(""), "");
  for (const char* text : {"x", "dXNlcjpwYXNz!", "dTo", "==="}) EXPECT_FALSE(DecodeBase64(text)) << text;
}

std::string Found(const std::string& text, const std::string& domain, const std::string& repository) {
  std::string why;
  const auto found = CredentialsIn(text, domain, repository, &why);
  if (found) return found->user + "/" + found->password;
  return why.empty() ? "none" : "refused: " + why;
}

TEST(CredentialsTest, TheNearestEntryCounts) {
  const std::string file = R"({"auths": {
    "https://index.docker.io/v1/": {"auth": "aHViOnB3"},
    "host:5000": {"auth": "YTpi"},
    "host:5000/team": {"username": "t", "password": "p:w"},
    "http://other.x/v2/": {"auth": "bzpv"},
    "bad": {"auth": "!!"}, "worse": {"auth": "eA=="}, "odd": [], "idt": {"auth": "YTpi", "identitytoken": "x"}}})";
  EXPECT_EQ(Found(file, "docker.io", "library/alpine"), "hub/pw");
  EXPECT_EQ(Found(file, "host:5000", "x"), "a/b");
  EXPECT_EQ(Found(file, "host:5000", "team/x"), "t/p:w");
  EXPECT_EQ(Found(file, "host:5000", "teams/x"), "a/b");
  EXPECT_EQ(Found(file, "other.x", "x"), "o/o");
  EXPECT_EQ(Found(file, "host", "x"), "none") << "another port is another registry";
  EXPECT_EQ(Found(file, "odd", "x"), "none");
  EXPECT_THAT(Found(file, "bad", "x"), HasSubstr("base64"));
  EXPECT_THAT(Found(file, "worse", "x"), HasSubstr("base64"));
  EXPECT_THAT(Found(file, "idt", "x"), HasSubstr("identity token"));
}

TEST(CredentialsTest, HelpersAndGarbage) {
  EXPECT_THAT(Found(R"({"credHelpers": {"gcr.io": "gcloud"}})", "gcr.io", "x"), HasSubstr("helper"));
  EXPECT_EQ(Found(R"({"credHelpers": {"gcr.io": "gcloud"}})", "other", "x"), "none");
  EXPECT_THAT(Found(R"({"credsStore": "desktop", "auths": {"h": {}}})", "h", "x"), HasSubstr("helper"));
  EXPECT_EQ(Found(R"({"credsStore": "desktop"})", "h", "x"), "none");
  EXPECT_EQ(Found(R"({"auths": 5})", "h", "x"), "none");
  for (const char* text : {"", "[]", "nonsense", "{\"auths\":"})
    EXPECT_THAT(Found(text, "h", "x"), HasSubstr("JSON")) << text;
}

}  // namespace
}  // namespace usl::manager
