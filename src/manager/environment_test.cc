#include "manager/environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace usl::manager {
namespace {

using ::testing::Contains;
using ::testing::Not;
using ::testing::StartsWith;

const char* const kHost[] = {"TERM=xterm", "SECRET_TOKEN=s3", "LANG=de_DE.UTF-8", "LC_TIME=C", "PATH=/host", nullptr};

std::vector<std::string> Make(const std::vector<std::string>& requested, bool terminal, bool same_files) {
  const protocol::Account account{.name = "ann", .uid = 1000, .gid = 1000, .home = "/home/ann", .shell = "/bin/zsh"};
  return MakeEnvironment(account, requested, terminal, same_files, const_cast<char* const*>(kHost));
}

TEST(Environment, IsTheAccountsAndNotTheHosts) {
  const auto environment = Make({}, false, false);
  EXPECT_THAT(environment, Contains("HOME=/home/ann"));
  EXPECT_THAT(environment, Contains("SHELL=/bin/zsh"));
  EXPECT_THAT(environment, Not(Contains(StartsWith("SECRET_TOKEN="))));
  EXPECT_THAT(environment, Not(Contains(StartsWith("TERM="))));
  EXPECT_THAT(environment, Not(Contains("PATH=/host")));
}

TEST(Environment, TerminalAndLocaleComeWhereTheyMean) {
  EXPECT_THAT(Make({}, true, false), Contains("TERM=xterm"));
  EXPECT_THAT(Make({}, true, false), Not(Contains(StartsWith("LANG="))));
  EXPECT_THAT(Make({}, false, true), Contains("LANG=de_DE.UTF-8"));
  EXPECT_THAT(Make({}, false, true), Contains("LC_TIME=C"));
}

TEST(Environment, WhatIsRequestedWins) {
  const auto environment = Make({"PATH=/mine", "SECRET_TOKEN", "ABSENT", "E="}, false, false);
  EXPECT_THAT(environment, Contains("PATH=/mine"));
  EXPECT_THAT(environment, Contains("SECRET_TOKEN=s3"));
  EXPECT_THAT(environment, Contains("E="));
  EXPECT_THAT(environment, Not(Contains(StartsWith("ABSENT"))));
}

}  // namespace
}  // namespace usl::manager
