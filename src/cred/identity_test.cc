#include "cred/identity.h"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <linux/securebits.h>

namespace usl::cred {
namespace {

constexpr CapabilitySet Bit(int capability) {
  return CapabilitySet{1} << capability;
}

Credentials User(uid_t uid) {
  return UserCredentials(uid, uid, {});
}

template <typename T>
int ErrorOf(const Result<T>& result) {
  return result ? 0 : result.error().code();
}

TEST(SetUid, RootBecomesAnOrdinaryUserForGood) {
  const Credentials next = *SetUid(RootCredentials(), 1000, false);
  EXPECT_EQ(next.uid, 1000u);
  EXPECT_EQ(next.euid, 1000u);
  EXPECT_EQ(next.suid, 1000u);
  EXPECT_EQ(next.fsuid, 1000u);
  EXPECT_EQ(next.permitted, 0u);
  EXPECT_EQ(next.effective, 0u);
  EXPECT_EQ(next.bounding, kAllCapabilities);
  EXPECT_EQ(ErrorOf(SetUid(next, 0, false)), EPERM);
}

TEST(SetUid, KeepCapsKeepsPermittedButNotEffectiveNorAmbient) {
  Credentials root = RootCredentials();
  root.inheritable = root.ambient = Bit(CAP_CHOWN);
  const Credentials next = *SetUid(root, 1000, true);
  EXPECT_EQ(next.permitted, kAllCapabilities);
  EXPECT_EQ(next.effective, 0u);
  EXPECT_EQ(next.ambient, 0u);
}

TEST(SetUid, NoSetuidFixupLeavesCapabilitiesAlone) {
  Credentials root = RootCredentials();
  root.securebits = 1u << SECURE_NO_SETUID_FIXUP;
  EXPECT_EQ(SetUid(root, 1000, false)->effective, kAllCapabilities);
}

TEST(SetUid, RefusesMinusOne) {
  EXPECT_EQ(ErrorOf(SetUid(RootCredentials(), kKeepId, false)), EINVAL);
}

TEST(SetUid, WithoutCapabilitySwitchesBetweenRealAndSavedOnly) {
  Credentials set_id = User(1000);
  set_id.euid = set_id.suid = set_id.fsuid = 33;
  EXPECT_EQ(SetUid(set_id, 1000, false)->euid, 1000u);
  EXPECT_EQ(SetUid(set_id, 1000, false)->suid, 33u);
  EXPECT_EQ(ErrorOf(SetUid(set_id, 44, false)), EPERM);
}

TEST(SetResuid, EffectiveZeroComesBackWithPermittedCapabilities) {
  const Credentials dropped = *SetResuid(RootCredentials(), kKeepId, 1000, kKeepId, false);
  EXPECT_EQ(dropped.effective, 0u);
  EXPECT_EQ(dropped.permitted, kAllCapabilities);
  EXPECT_EQ(dropped.fsuid, 1000u);
  const Credentials back = *SetResuid(dropped, kKeepId, 0, kKeepId, false);
  EXPECT_EQ(back.effective, kAllCapabilities);
}

TEST(SetResuid, UserMayPermuteItsIdsOnly) {
  Credentials user = User(1000);
  user.suid = 1001;
  const Credentials next = *SetResuid(user, 1001, 1001, 1000, false);
  EXPECT_EQ(next.uid, 1001u);
  EXPECT_EQ(next.suid, 1000u);
  EXPECT_EQ(ErrorOf(SetResuid(user, 1002, kKeepId, kKeepId, false)), EPERM);
}

TEST(SetReuid, SavedFollowsEffectiveWhenRealIsSet) {
  const Credentials next = *SetReuid(RootCredentials(), 5, 6, false);
  EXPECT_EQ(next.uid, 5u);
  EXPECT_EQ(next.euid, 6u);
  EXPECT_EQ(next.suid, 6u);
}

TEST(SetReuid, RealMayNotBecomeTheSavedOne) {
  Credentials user = User(1000);
  user.suid = 33;
  EXPECT_EQ(ErrorOf(SetReuid(user, 33, kKeepId, false)), EPERM);
  EXPECT_EQ(SetReuid(user, kKeepId, 33, false)->euid, 33u);
}

TEST(SetGid, NeverTouchesCapabilities) {
  const Credentials next = *SetGid(RootCredentials(), 100);
  EXPECT_EQ(next.sgid, 100u);
  EXPECT_EQ(next.effective, kAllCapabilities);
  EXPECT_EQ(ErrorOf(SetGid(User(1000), 0)), EPERM);
  EXPECT_EQ(ErrorOf(SetRegid(User(1000), 0, kKeepId)), EPERM);
  EXPECT_EQ(ErrorOf(SetResgid(User(1000), kKeepId, kKeepId, 0)), EPERM);
}

TEST(SetFsuid, MovesTheFileCapabilities) {
  const Credentials next = SetFsuid(RootCredentials(), 1000);
  EXPECT_FALSE(next.Has(CAP_DAC_OVERRIDE));
  EXPECT_FALSE(next.Has(CAP_MKNOD));
  EXPECT_TRUE(next.Has(CAP_SYS_ADMIN));
  EXPECT_TRUE(SetFsuid(next, 0).Has(CAP_DAC_OVERRIDE));
}

TEST(SetFsuid, IgnoresWhatIsNotPermitted) {
  EXPECT_EQ(SetFsuid(User(1000), 0).fsuid, 1000u);
  EXPECT_EQ(SetFsgid(User(1000), 0).fsgid, 1000u);
}

TEST(SetGroups, SortsAndNeedsTheCapability) {
  EXPECT_EQ(SetGroups(RootCredentials(), {30, 10, 20})->groups, (std::vector<gid_t>{10, 20, 30}));
  EXPECT_EQ(ErrorOf(SetGroups(User(1000), {})), EPERM);
}

TEST(SetCapabilities, OnlyShrinksPermitted) {
  const Credentials root = RootCredentials();
  const Credentials less = *SetCapabilities(root, {Bit(CAP_CHOWN), Bit(CAP_CHOWN), 0});
  EXPECT_EQ(less.permitted, Bit(CAP_CHOWN));
  EXPECT_EQ(ErrorOf(SetCapabilities(less, {0, Bit(CAP_CHOWN) | Bit(CAP_KILL), 0})), EPERM);
  EXPECT_EQ(ErrorOf(SetCapabilities(root, {Bit(CAP_KILL), 0, 0})), EPERM);
}

TEST(SetCapabilities, InheritableIsBoundedAndAmbientFollows) {
  Credentials root = RootCredentials();
  root.bounding = Bit(CAP_CHOWN);
  EXPECT_EQ(ErrorOf(SetCapabilities(root, {0, 0, Bit(CAP_KILL)})), EPERM);
  root.inheritable = root.ambient = Bit(CAP_CHOWN);
  EXPECT_EQ(SetCapabilities(root, {0, kAllCapabilities, 0})->ambient, 0u);
}

TEST(SetCapabilities, IgnoresBitsOfNoCapability) {
  EXPECT_EQ(SetCapabilities(RootCredentials(), {~0ull, ~0ull, 0})->permitted, kAllCapabilities);
}

TEST(AccessCredentials, UseRealIds) {
  Credentials set_id = User(1000);
  set_id.euid = set_id.fsuid = 0;
  set_id.permitted = set_id.effective = kAllCapabilities;
  const Credentials real = AccessCredentials(set_id);
  EXPECT_EQ(real.fsuid, 1000u);
  EXPECT_EQ(real.effective, 0u);
}

TEST(LosesDumpable, WhenIdsChangeOrCapabilitiesGrow) {
  const Credentials root = RootCredentials();
  EXPECT_FALSE(LosesDumpable(root, root));
  EXPECT_TRUE(LosesDumpable(root, *SetUid(root, 1000, false)));
  EXPECT_FALSE(LosesDumpable(root, *SetCapabilities(root, {0, 0, 0})));
  EXPECT_TRUE(LosesDumpable(*SetCapabilities(root, {0, 0, 0}), root));
}

}  // namespace
}  // namespace usl::cred
