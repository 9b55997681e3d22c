#include "protocol/accounts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace usl::protocol {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kPasswd =
    "root:x:0:0:root:/root:/bin/bash\n"
    "garbage\n"
    "bad:x:notanumber:0::/:/bin/sh\n"
    "ann:x:1000:1000:Ann,,,:/home/ann:/bin/zsh\n"
    "bare:x:7:7:::\n"
    "4711:x:12:12::/odd:/bin/sh\n";
constexpr std::string_view kGroup = "root:x:0:\nsudo:x:27:ann,bob\nann:x:1000:ann\nwheel:x:10:\nbroken\n";

class AccountsTest : public ::testing::Test {
 protected:
  bool Resolve(std::string_view user) { return ResolveAccount(user, kPasswd, kGroup, &account_, &why_); }
  Account account_;
  std::string why_;
};

TEST_F(AccountsTest, NobodyNamedIsRoot) {
  ASSERT_TRUE(Resolve(""));
  EXPECT_EQ(account_.uid, 0u);
  EXPECT_EQ(account_.home, "/root");
  EXPECT_EQ(account_.shell, "/bin/bash");
}

TEST_F(AccountsTest, FindsANameWithItsGroups) {
  ASSERT_TRUE(Resolve("ann"));
  EXPECT_EQ(account_.uid, 1000u);
  EXPECT_THAT(account_.groups, ElementsAre(1000, 27));
  EXPECT_EQ(account_.shell, "/bin/zsh");
}

TEST_F(AccountsTest, ANumberMayBeUnknown) {
  ASSERT_TRUE(Resolve("5555"));
  EXPECT_EQ(account_.uid, 5555u);
  EXPECT_EQ(account_.gid, 0u);
  EXPECT_EQ(account_.home, "/");
  ASSERT_TRUE(Resolve("1000"));
  EXPECT_EQ(account_.name, "ann");
}

TEST_F(AccountsTest, ANameGoesBeforeANumberOfTheSameText) {
  ASSERT_TRUE(Resolve("4711"));
  EXPECT_EQ(account_.uid, 12u);
}

TEST_F(AccountsTest, AGroupReplacesTheUsersGroups) {
  ASSERT_TRUE(Resolve("ann:wheel"));
  EXPECT_EQ(account_.gid, 10u);
  EXPECT_THAT(account_.groups, ElementsAre(10));
  ASSERT_TRUE(Resolve("1000:42"));
  EXPECT_EQ(account_.gid, 42u);
}

TEST_F(AccountsTest, SaysWhoIsUnknown) {
  EXPECT_FALSE(Resolve("eve"));
  EXPECT_THAT(why_, HasSubstr("no user \"eve\""));
  EXPECT_FALSE(Resolve("ann:nogroup"));
  EXPECT_THAT(why_, HasSubstr("no group \"nogroup\""));
  EXPECT_FALSE(Resolve("4294967295"));
  EXPECT_FALSE(Resolve("-1"));
}

TEST_F(AccountsTest, EmptyFieldsHaveDefaults) {
  ASSERT_TRUE(Resolve("bare"));
  EXPECT_EQ(account_.home, "/");
  EXPECT_EQ(account_.shell, "/bin/sh");
  std::string why;
  ASSERT_TRUE(ResolveAccount("", "", "", &account_, &why));
  EXPECT_EQ(account_.home, "/root");
}

}  // namespace
}  // namespace usl::protocol
