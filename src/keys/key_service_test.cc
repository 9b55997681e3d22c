#include "keys/key_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/keyctl.h>

#include <cstring>

#include "base/format.h"

namespace usl::keys {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr uid_t kUser = 1000, kOther = 1001;

class KeyServiceTest : public ::testing::Test {
 protected:
  static Caller As(uid_t uid) { return Caller{cred::UserCredentials(uid, uid, {})}; }
  // The number, or the negative errno.
  template <typename T>
  static int64_t Code(const Result<T>& result) {
    if (!result) return -result.error().code();
    if constexpr (std::is_same_v<T, int32_t>) return *result;
    return 0;
  }
  int64_t AddUser(Caller& caller, const std::string& name, const std::string& payload = "secret",
                  int32_t ring = KEY_SPEC_PROCESS_KEYRING) {
    return Code(keys_.Add(caller, "user", name, payload, ring));
  }
  int64_t AddRing(Caller& caller, const std::string& name, int32_t ring = KEY_SPEC_PROCESS_KEYRING) {
    return Code(keys_.Add(caller, "keyring", name, "", ring));
  }
  // A keyring linked into `into` only. Made where it is possessed, as what is nested too deep is not.
  int32_t AddNested(Caller& caller, const std::string& name, int32_t into) {
    const int32_t ring = Id(AddRing(caller, name));
    EXPECT_EQ(Code(keys_.SetPermissions(caller, ring, 0x3f3f0000)), 0);
    EXPECT_EQ(Code(keys_.Link(caller, ring, into)), 0);
    EXPECT_EQ(Code(keys_.Unlink(caller, ring, KEY_SPEC_PROCESS_KEYRING)), 0);
    return ring;
  }
  int32_t Id(int64_t code) {
    EXPECT_GT(code, 0);
    return static_cast<int32_t>(code);
  }

  int64_t now_ = 1000000;
  KeyService keys_{[this] { return now_; }};
  Caller user_ = As(kUser), other_ = As(kOther), root_{cred::RootCredentials()};
};

TEST_F(KeyServiceTest, AKeyIsAddedFoundReadAndUpdated) {
  const int32_t key = Id(AddUser(user_, "a:b"));
  EXPECT_TRUE(user_.changed);
  EXPECT_EQ(*keys_.Describe(user_, key), "user;1000;1000;3f010000;a:b");
  EXPECT_EQ(*keys_.Read(user_, key), "secret");
  EXPECT_EQ(AddUser(user_, "a:b", "newer"), key);
  EXPECT_EQ(*keys_.Read(user_, key), "newer");
  EXPECT_EQ(Code(keys_.Request(user_, "user", "a:b", 0)), key);
  EXPECT_EQ(Code(keys_.Request(user_, "user", "nothing", 0)), -ENOKEY);
  EXPECT_EQ(Code(keys_.Request(user_, "strange", "a:b", 0)), -ENODEV);
}

TEST_F(KeyServiceTest, TypesHaveTheirRules) {
  EXPECT_EQ(AddUser(user_, "empty", ""), -EINVAL);
  EXPECT_EQ(AddUser(user_, "long", std::string(32768, 'x')), -EINVAL);
  EXPECT_EQ(Code(keys_.Add(user_, "keyring", "r", "x", KEY_SPEC_PROCESS_KEYRING)), -EINVAL);
  EXPECT_EQ(Code(keys_.Add(user_, "logon", "nocolon", "x", KEY_SPEC_PROCESS_KEYRING)), -EINVAL);
  const int32_t logon = Id(Code(keys_.Add(user_, "logon", "s:x", "x", KEY_SPEC_PROCESS_KEYRING)));
  EXPECT_EQ(Code(keys_.Read(user_, logon)), -EOPNOTSUPP);
  EXPECT_EQ(*keys_.Describe(user_, logon), "logon;1000;1000;3d010000;s:x");
  const int32_t big = Id(Code(keys_.Add(user_, "big_key", "b", std::string(100000, 'x'), KEY_SPEC_PROCESS_KEYRING)));
  EXPECT_EQ(keys_.Read(user_, big)->size(), 100000u);
}

TEST_F(KeyServiceTest, OthersReachNothingWithoutPermission) {
  const int32_t key = Id(AddUser(user_, "a"));
  EXPECT_EQ(Code(keys_.Describe(other_, key)), -EACCES);
  EXPECT_EQ(Code(keys_.Read(other_, key)), -EACCES);
  EXPECT_EQ(Code(keys_.Update(other_, key, "x")), -EACCES);
  EXPECT_EQ(Code(keys_.Revoke(other_, key)), -EACCES);
  EXPECT_EQ(Code(keys_.Invalidate(other_, key)), -EACCES);
  EXPECT_EQ(Code(keys_.SetPermissions(other_, key, 0x3f3f3f3f)), -EACCES);
  EXPECT_EQ(Code(keys_.Chown(other_, key, kOther, -1)), -EACCES);
  EXPECT_EQ(Code(keys_.Link(other_, key, KEY_SPEC_PROCESS_KEYRING)), -EACCES);
  EXPECT_EQ(Code(keys_.SetPermissions(user_, key, 0x3f010003)), 0);  // others view and read
  EXPECT_EQ(*keys_.Read(other_, key), "secret");
  EXPECT_EQ(Code(keys_.SetPermissions(user_, key, 0x40000000)), -EINVAL);
}

TEST_F(KeyServiceTest, PossessionGrantsWhatTheOwnerDoesNotHave) {
  const int32_t key = Id(AddUser(user_, "a", "x", KEY_SPEC_USER_KEYRING));
  // The user keyring is linked from the user session keyring, which counts where there is no session keyring.
  EXPECT_EQ(*keys_.Read(user_, key), "x");
  Caller session = As(kUser);
  Id(Code(keys_.JoinSession(session, std::nullopt)));
  EXPECT_EQ(Code(keys_.Read(session, key)), -EACCES);  // 3f010000: the owner may only view
  EXPECT_EQ(Code(keys_.Describe(session, key)), 0);
}

TEST_F(KeyServiceTest, KeysExpireAndAreRevoked) {
  const int32_t key = Id(AddUser(user_, "a")), second = Id(AddUser(user_, "b"));
  EXPECT_EQ(Code(keys_.SetTimeout(user_, key, 10)), 0);
  now_ += 10;
  EXPECT_EQ(Code(keys_.Read(user_, key)), -EKEYEXPIRED);
  EXPECT_EQ(Code(keys_.Request(user_, "user", "a", 0)), -EKEYEXPIRED);
  EXPECT_EQ(Code(keys_.Revoke(user_, second)), 0);
  EXPECT_EQ(Code(keys_.Describe(user_, second)), -EKEYREVOKED);
  EXPECT_EQ(Code(keys_.Unlink(user_, second, KEY_SPEC_PROCESS_KEYRING)), 0);
  EXPECT_EQ(Code(keys_.Describe(user_, second)), -ENOKEY);
  now_ += kGarbageDelay;
  EXPECT_EQ(Code(keys_.Request(user_, "user", "a", 0)), -ENOKEY);
  EXPECT_EQ(Code(keys_.Describe(user_, key)), -ENOKEY);
}

TEST_F(KeyServiceTest, KeyringsLinkUnlinkMoveAndClear) {
  const int32_t ring = Id(AddRing(user_, "r")), second = Id(AddRing(user_, "s"));
  const int32_t key = Id(AddUser(user_, "k", "x", ring));
  EXPECT_EQ(Code(keys_.Link(user_, key, second)), 0);
  EXPECT_EQ(keys_.Read(user_, second)->size(), sizeof(int32_t));
  EXPECT_EQ(Code(keys_.Move(user_, key, ring, second, true)), -EEXIST);
  EXPECT_EQ(Code(keys_.Unlink(user_, key, second)), 0);
  EXPECT_EQ(Code(keys_.Unlink(user_, key, second)), -ENOENT);
  EXPECT_EQ(Code(keys_.Move(user_, key, ring, second, true)), 0);
  EXPECT_EQ(Code(keys_.Link(user_, ring, key)), -ENOTDIR);
  EXPECT_EQ(Code(keys_.SearchFrom(user_, second, "user", "k", 0)), key);
  EXPECT_EQ(Code(keys_.SearchFrom(user_, ring, "user", "k", 0)), -ENOKEY);
  EXPECT_EQ(Code(keys_.Clear(user_, second)), 0);
  EXPECT_EQ(Code(keys_.Describe(user_, key)), -ENOKEY);  // nobody held it any more
  EXPECT_EQ(Code(keys_.Clear(user_, Id(AddUser(user_, "k2")))), -ENOTDIR);
}

TEST_F(KeyServiceTest, CirclesAndDeepNestsAreRefused) {
  const int32_t ring = Id(AddRing(user_, "r")), inner = Id(AddRing(user_, "i", ring));
  EXPECT_EQ(Code(keys_.Link(user_, ring, inner)), -EDEADLK);
  EXPECT_EQ(Code(keys_.Link(user_, ring, ring)), -EDEADLK);
  int32_t top = Id(AddRing(user_, "top"));
  int32_t current = top;
  for (int i = 0; i < kMaxDepth + 2; ++i) current = AddNested(user_, format("d{}", i), current);
  EXPECT_EQ(Code(keys_.Link(user_, top, inner)), -ELOOP);
}

// From the top down a chain may become as long as the quota lets it: its end must not need a stack of that length, and
// a thicket of keyrings must not be searched on all of its ways.
TEST_F(KeyServiceTest, LongChainsAndThicketsAreHarmless) {
  int32_t first = Id(AddRing(root_, "chain")), current = first;
  for (int i = 0; i < 20000; ++i) current = AddNested(root_, "c", current);
  EXPECT_EQ(Code(keys_.Unlink(root_, first, KEY_SPEC_PROCESS_KEYRING)), 0);
  EXPECT_EQ(Code(keys_.Describe(root_, current)), -ENOKEY);

  constexpr int kWidth = 40;
  std::vector<int32_t> above = {Id(AddRing(root_, "root"))};
  for (int level = 0; level < 4; ++level) {
    std::vector<int32_t> layer;
    for (int i = 0; i < kWidth; ++i) layer.push_back(Id(AddRing(root_, format("t{}.{}", level, i), above[0])));
    for (size_t i = 1; i < above.size(); ++i) {
      for (const int32_t ring : layer) ASSERT_EQ(Code(keys_.Link(root_, ring, above[i])), 0);
    }
    above = layer;
  }
  EXPECT_EQ(Code(keys_.Request(root_, "user", "nowhere", 0)), -ENOKEY);
}

TEST_F(KeyServiceTest, QuotasCount) {
  int64_t last = 0;
  for (size_t i = 0; i < kMaxKeys && last >= 0; ++i) last = AddUser(user_, format("k{}", i), "x");
  EXPECT_EQ(last, -EDQUOT);
  EXPECT_EQ(Code(keys_.Clear(user_, KEY_SPEC_PROCESS_KEYRING)), 0);
  EXPECT_EQ(AddUser(user_, "big", std::string(kMaxBytes, 'x')), -EDQUOT);
  EXPECT_GT(AddUser(user_, "small", "x"), 0);
  EXPECT_THAT(keys_.DescribeUsers(), HasSubstr(" 1000: "));
  user_ = As(kUser);
  EXPECT_EQ(keys_.DescribeUsers(), "");
}

TEST_F(KeyServiceTest, SessionsAreJoinedByName) {
  const int32_t named = Id(Code(keys_.JoinSession(user_, "shared")));
  EXPECT_EQ(*keys_.Describe(user_, named), "keyring;1000;1000;3f130000;shared");
  EXPECT_EQ(Code(keys_.JoinSession(user_, ".dot")), -EPERM);
  Caller again = As(kUser);
  const int32_t own = Id(Code(keys_.JoinSession(again, "shared")));
  EXPECT_NE(own, named);  // without search permission for its owner it is not found
  EXPECT_EQ(Code(keys_.SetPermissions(user_, named, 0x3f1f0000)), 0);
  Caller third = As(kUser);
  EXPECT_EQ(Code(keys_.JoinSession(third, "shared")), named);
}

TEST_F(KeyServiceTest, RestrictedKeyringsTakeNoMore) {
  const int32_t ring = Id(AddRing(user_, "r"));
  const int32_t key = Id(AddUser(user_, "k"));
  EXPECT_EQ(Code(keys_.Restrict(user_, ring, "user")), -ENOENT);
  EXPECT_EQ(Code(keys_.Restrict(user_, ring, std::nullopt)), 0);
  EXPECT_EQ(Code(keys_.Restrict(user_, ring, std::nullopt)), -EEXIST);
  EXPECT_EQ(Code(keys_.Link(user_, key, ring)), -EPERM);
  EXPECT_EQ(AddUser(user_, "x", "x", ring), -EPERM);
}

TEST_F(KeyServiceTest, ProcListsWhatMayBeViewed) {
  const int32_t key = Id(AddUser(user_, "mine"));
  EXPECT_THAT(keys_.DescribeKeys(user_.credentials),
              AllOf(HasSubstr(format("{:08x} I--Q---     1 perm 3f010000  1000  1000 user      mine: 6\n", key)),
                    HasSubstr("keyring   _pid: 1\n")));
  EXPECT_EQ(keys_.DescribeKeys(other_.credentials), "");
  EXPECT_EQ(Code(keys_.SetTimeout(user_, key, 90)), 0);
  EXPECT_THAT(keys_.DescribeKeys(user_.credentials), HasSubstr("   1m 3f010000"));
}

TEST_F(KeyServiceTest, SpecialNumbersMeanTheCallersOwn) {
  EXPECT_EQ(Code(keys_.GetKeyringId(user_, KEY_SPEC_THREAD_KEYRING, false)), -ENOKEY);
  const int32_t thread = Id(Code(keys_.GetKeyringId(user_, KEY_SPEC_THREAD_KEYRING, true)));
  EXPECT_EQ(Code(keys_.GetKeyringId(user_, KEY_SPEC_THREAD_KEYRING, false)), thread);
  EXPECT_EQ(Code(keys_.GetKeyringId(user_, KEY_SPEC_GROUP_KEYRING, true)), -EINVAL);
  EXPECT_EQ(Code(keys_.GetKeyringId(user_, KEY_SPEC_REQKEY_AUTH_KEY, true)), -ENOKEY);
  EXPECT_EQ(Code(keys_.GetKeyringId(user_, 0, true)), -EINVAL);
  EXPECT_EQ(*keys_.Describe(user_, KEY_SPEC_USER_KEYRING), "keyring;1000;65534;1f3f0000;_uid.1000");
  EXPECT_EQ(*keys_.Describe(user_, KEY_SPEC_SESSION_KEYRING), "keyring;1000;65534;1f3f0000;_uid_ses.1000");
  EXPECT_EQ(Code(keys_.SetRequestDefault(user_, KEY_REQKEY_DEFL_SESSION_KEYRING)), KEY_REQKEY_DEFL_DEFAULT);
  EXPECT_EQ(Code(keys_.SetRequestDefault(user_, KEY_REQKEY_DEFL_NO_CHANGE)), KEY_REQKEY_DEFL_SESSION_KEYRING);
  EXPECT_EQ(Code(keys_.SetRequestDefault(user_, KEY_REQKEY_DEFL_GROUP_KEYRING)), -EINVAL);
}

TEST_F(KeyServiceTest, TheAdministratorGivesKeysAway) {
  const int32_t key = Id(AddUser(root_, "k"));
  EXPECT_EQ(Code(keys_.Chown(root_, key, kUser, kUser)), 0);
  EXPECT_EQ(*keys_.Describe(root_, key), "user;1000;1000;3f010000;k");
  EXPECT_THAT(keys_.DescribeUsers(), HasSubstr(" 1000: "));
}

}  // namespace
}  // namespace usl::keys
