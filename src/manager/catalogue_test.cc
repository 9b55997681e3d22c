#include "manager/catalogue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "manager/bootstrap.h"

namespace usl::manager {
namespace {

TEST(Catalogue, EntriesAreRead) {
  std::string why;
  const auto entries = ParseCatalogue(
      R"({"version": 1, "distributions": [
        {"name": "a", "description": "A", "url": "https://x/a.tar", "sha256": ")" +
          std::string(64, 'a') + R"("},
        {"name": "b", "url": "http://x/b.tar", "sha256_url": "https://x/b.sha256"}]})",
      &why);
  ASSERT_TRUE(entries) << why;
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ((*entries)[0].description, "A");
  EXPECT_EQ((*entries)[1].sha256_url, "https://x/b.sha256");
}

TEST(Catalogue, WhatCannotBeVerifiedIsRefused) {
  for (const std::string entry : {
           R"({"name": "a", "url": "https://x/a"})",
           R"({"name": "a", "url": "https://x/a", "sha256": "12"})",
           R"({"name": "a", "url": "https://x/a", "sha256_url": "http://x/a.sha256"})",
           R"({"name": "a", "url": "file:///etc/passwd", "sha256_url": "https://x/a"})",
           R"({"name": "../a", "url": "https://x/a", "sha256_url": "https://x/a"})",
           R"({"name": "a", "url": 5, "sha256_url": "https://x/a"})",
           R"(5)",
       }) {
    std::string why;
    EXPECT_FALSE(ParseCatalogue(R"({"version": 1, "distributions": [)" + entry + "]}", &why)) << entry;
    EXPECT_FALSE(why.empty());
  }
}

TEST(Bootstrap, SourcesAreParsed) {
  EXPECT_EQ(ParseBootstrap("debian")->suite, "");
  EXPECT_EQ(ParseBootstrap("ubuntu:noble")->suite, "noble");
  EXPECT_FALSE(ParseBootstrap("fedora"));
  EXPECT_FALSE(ParseBootstrap("debian:"));
  EXPECT_FALSE(ParseBootstrap("debian:-o"));
  EXPECT_FALSE(ParseBootstrap("debian:a b"));
  EXPECT_FALSE(ParseBootstrap("debianx"));
}

}  // namespace
}  // namespace usl::manager
