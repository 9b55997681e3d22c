#include "manager/oci_reference.h"

#include <gtest/gtest.h>

namespace usl::manager {
namespace {

const std::string kHex(64, 'a');

std::string Canonical(const std::string& text) {
  std::string why;
  const auto reference = ParseImageReference(text, &why);
  return reference ? reference->Text() : "refused: " + why;
}

TEST(OciReferenceTest, ShortNamesAreDockersOwn) {
  EXPECT_EQ(Canonical("docker://alpine"), "docker://docker.io/library/alpine:latest");
  EXPECT_EQ(Canonical("alpine:3.20"), "docker://docker.io/library/alpine:3.20");
  EXPECT_EQ(Canonical("some/tool"), "docker://docker.io/some/tool:latest");
  EXPECT_EQ(Canonical("docker.io/alpine"), "docker://docker.io/library/alpine:latest");
  EXPECT_EQ(Canonical("index.docker.io/library/alpine"), "docker://docker.io/library/alpine:latest");
  std::string why;
  EXPECT_EQ(ParseImageReference("alpine", &why)->registry, "registry-1.docker.io");
}

TEST(OciReferenceTest, RegistriesPortsDigests) {
  EXPECT_EQ(Canonical("docker://localhost/a"), "docker://localhost/a:latest");
  EXPECT_EQ(Canonical("127.0.0.1:5000/a/b_c__d-e.f:T-1"), "docker://127.0.0.1:5000/a/b_c__d-e.f:T-1");
  EXPECT_EQ(Canonical("[::1]:5000/a"), "docker://[::1]:5000/a:latest");
  EXPECT_EQ(Canonical("ghcr.io/a@sha256:" + kHex), "docker://ghcr.io/a@sha256:" + kHex);
  EXPECT_EQ(Canonical("ghcr.io/a:t@sha256:" + kHex), "docker://ghcr.io/a:t@sha256:" + kHex);
  std::string why;
  EXPECT_EQ(ParseImageReference("127.0.0.1:5000/a", &why)->registry, "127.0.0.1:5000");
}

TEST(OciReferenceTest, BadNamesAreRefused) {
  for (const std::string text : {"",
                                 "docker://",
                                 "UPPER",
                                 "a//b",
                                 "/a",
                                 "a/",
                                 "a..b",
                                 "a/../b",
                                 "../a",
                                 "a_-b",
                                 "-a",
                                 "a-",
                                 "a:",
                                 "a:-t",
                                 "a:t:u",
                                 "a b",
                                 "a\nb",
                                 "a@sha256:",
                                 "a@sha256:xyz",
                                 "a@md5:d41d8cd98f00b204e9800998ecf8427e",
                                 "host.x:port/a",
                                 "host.x:123456/a",
                                 "-host.x/a",
                                 "ho_st.x/a",
                                 "[::1/a",
                                 "[x]:1/a",
                                 "user@host.x/a",
                                 "a/b?c",
                                 "a/b#c",
                                 "a%2fb",
                                 "host.x/"}) {
    EXPECT_TRUE(Canonical(text).starts_with("refused: ")) << text << " gives " << Canonical(text);
  }
  EXPECT_TRUE(Canonical(std::string(256, 'a')).starts_with("refused: "));
  EXPECT_TRUE(Canonical("a:" + std::string(129, 'a')).starts_with("refused: "));
  EXPECT_TRUE(Canonical("a@sha256:" + std::string(64, 'A')).starts_with("refused: "));
  EXPECT_TRUE(
      Canonical("a@sha256:../../../../../../../../../../../../../../../../../../../../etc/").starts_with("refused"));
}

TEST(OciReferenceTest, LocalOnes) {
  EXPECT_EQ(Canonical("oci:/no/such/dir"), "oci:/no/such/dir");
  EXPECT_EQ(Canonical("oci:/no/such/dir:tag"), "oci:/no/such/dir:tag");
  EXPECT_EQ(Canonical("oci:/tmp/../usr/"), "oci:/usr");
  EXPECT_EQ(Canonical("oci-archive:/no/x.tar:v1"), "oci-archive:/no/x.tar:v1");
  EXPECT_EQ(Canonical("docker-archive:/no/x.tar:localhost:5000/a:v1"), "docker-archive:/no/x.tar:localhost:5000/a:v1");
  EXPECT_TRUE(Canonical("docker-archive:").starts_with("refused: "));
  EXPECT_TRUE(HasImageTransport("oci:x"));
  EXPECT_TRUE(HasImageTransport("docker://x"));
  EXPECT_FALSE(HasImageTransport("debian:bookworm"));
}

TEST(OciReferenceTest, Digests) {
  EXPECT_EQ(ParseDigest("sha256:" + kHex), kHex);
  for (const std::string& text :
       {std::string(), kHex, "sha256:" + kHex + "0", "sha512:" + kHex + kHex, "SHA256:" + kHex}) {
    EXPECT_FALSE(ParseDigest(text)) << text;
  }
}

}  // namespace
}  // namespace usl::manager
