#include "vfs/permission.h"

#include <linux/capability.h>
#include <linux/securebits.h>

#include <cstring>

#include "vfs/posix_acl.h"
#include "vfs/vfs_fixture.h"

namespace usl::vfs {
namespace {

std::vector<std::byte> Blob(std::initializer_list<PosixAcl::Entry> entries, uint32_t version = 2) {
  std::vector<std::byte> blob(4 + entries.size() * sizeof(PosixAcl::Entry));
  std::memcpy(blob.data(), &version, 4);
  if (entries.size()) std::memcpy(blob.data() + 4, std::data(entries), entries.size() * sizeof(PosixAcl::Entry));
  return blob;
}
using Acl = PosixAcl;
constexpr uint32_t kNone = ~0u;

class PermissionTest : public VfsFixture {
 protected:
  PermissionTest() {
    File("/f");
    Directory("/d");
  }
  Result<void> Check(const cred::Credentials& who, std::string_view path, int mask) {
    return vfs_->CheckPermission(who, InodeAt(path), mask);
  }
  static cred::Credentials With(cred::Credentials who, int capability) {
    who.effective |= uint64_t{1} << capability;
    return who;
  }
};

TEST_F(PermissionTest, OwnerGroupOtherEachDecideAlone) {
  // For each class and each of the nine bits: granted exactly when the class's own bits say so.
  const cred::Credentials group = cred::UserCredentials(2000, 50, {});
  for (uint32_t mode = 0; mode < 01000; ++mode) {
    Own("/f", mode, 1000, 50);
    for (int mask = 1; mask < 8; ++mask) {
      const int owner_bits = mode >> 6 & 7, group_bits = mode >> 3 & 7, other_bits = mode & 7;
      ASSERT_EQ(Check(alice_, "/f", mask).has_value(), (owner_bits & mask) == mask) << mode << " " << mask;
      ASSERT_EQ(Check(group, "/f", mask).has_value(), (group_bits & mask) == mask) << mode << " " << mask;
      ASSERT_EQ(Check(bob_, "/f", mask).has_value(), (other_bits & mask) == mask) << mode << " " << mask;
    }
  }
  Own("/f", 0070, 0, 50);
  EXPECT_THAT(Check(alice_, "/f", 7), Succeeds()) << "a supplementary group";
}

TEST_F(PermissionTest, Capabilities) {
  Own("/f", 0000, 0, 0);
  Own("/d", 0000, 0, 0);
  EXPECT_THAT(Check(super_, "/f", kMayRead | kMayWrite), Succeeds());
  EXPECT_THAT(Check(super_, "/f", kMayExec), FailsWith(EACCES)) << "no execute bit";
  Own("/f", 0001, 0, 0);
  EXPECT_THAT(Check(super_, "/f", kMayExec), Succeeds());
  EXPECT_THAT(Check(super_, "/d", 7), Succeeds());

  const auto reader = With(bob_, CAP_DAC_READ_SEARCH);
  EXPECT_THAT(Check(reader, "/f", kMayRead), Succeeds());
  EXPECT_THAT(Check(reader, "/f", kMayWrite), FailsWith(EACCES));
  EXPECT_THAT(Check(reader, "/f", kMayRead | kMayWrite), FailsWith(EACCES));
  EXPECT_THAT(Check(reader, "/d", kMayRead | kMayExec), Succeeds());
  EXPECT_THAT(Check(reader, "/d", kMayWrite), FailsWith(EACCES));
  const auto overrider = With(bob_, CAP_DAC_OVERRIDE);
  EXPECT_THAT(Check(overrider, "/d", 7), Succeeds());
  EXPECT_THAT(Check(overrider, "/f", 6), Succeeds());
}

TEST_F(PermissionTest, ReadOnlyFileSystem) {
  Node("/null", S_IFCHR | 0666, 0x103);
  tests_->read_only = true;
  EXPECT_THAT(Check(super_, "/f", kMayWrite), FailsWith(EROFS));
  EXPECT_THAT(Check(super_, "/d", kMayWrite), FailsWith(EROFS));
  EXPECT_THAT(Check(super_, "/f", kMayRead), Succeeds());
  EXPECT_THAT(Check(super_, "/null", kMayWrite), Succeeds());
}

TEST_F(PermissionTest, Access) {
  Own("/f", 0600, 1000, 1000);
  auto access = [&](const cred::Credentials& who, int mode, bool effective = false) {
    return vfs_->Access(As(who), PathAt("/f"), mode, effective);
  };
  EXPECT_THAT(access(alice_, R_OK | W_OK), Succeeds());
  EXPECT_THAT(access(alice_, X_OK), FailsWith(EACCES));
  EXPECT_THAT(access(bob_, F_OK), Succeeds());
  EXPECT_THAT(access(bob_, R_OK), FailsWith(EACCES));
  EXPECT_THAT(access(alice_, 8), FailsWith(EINVAL));
  // A set-uid-root program of bob's.
  cred::Credentials set_uid = super_;
  set_uid.uid = 1001;
  set_uid.gid = 1001;
  EXPECT_THAT(access(set_uid, R_OK), FailsWith(EACCES));
  EXPECT_THAT(access(set_uid, R_OK, true), Succeeds());
  set_uid.securebits = 1u << SECURE_NO_SETUID_FIXUP;
  EXPECT_THAT(access(set_uid, R_OK), Succeeds());
  // Real root with no effective capability asks with the permitted ones.
  cred::Credentials dropped = super_;
  dropped.effective = 0;
  EXPECT_THAT(access(dropped, R_OK), Succeeds());
  EXPECT_THAT(access(dropped, R_OK, true), FailsWith(EACCES));

  ASSERT_THAT(mounts_->Remount(root_, MS_RDONLY | MS_NOEXEC), Succeeds());
  EXPECT_THAT(access(alice_, W_OK), FailsWith(EROFS));
  EXPECT_THAT(access(alice_, R_OK), Succeeds());
  Own("/f", 0777, 1000, 1000);
  EXPECT_THAT(access(alice_, X_OK), FailsWith(EACCES)) << "noexec";
  EXPECT_THAT(vfs_->Access(As(super_), PathAt("/d"), X_OK, false), Succeeds());
}

TEST_F(PermissionTest, AclDecides) {
  Own("/f", 0770, 0, 0);
  InodeAt("/f").xattrs[std::string(kAclAccess)] = Blob({{Acl::kUserObj, 7, kNone},
                                                        {Acl::kUser, 7, 1001},
                                                        {Acl::kGroupObj, 0, kNone},
                                                        {Acl::kGroup, 4, 50},
                                                        {Acl::kGroup, 2, 1000},
                                                        {Acl::kMask, 6, kNone},
                                                        {Acl::kOther, 1, kNone}});
  EXPECT_THAT(Check(bob_, "/f", kMayRead | kMayWrite), Succeeds());
  EXPECT_THAT(Check(bob_, "/f", kMayExec), FailsWith(EACCES)) << "the mask";
  EXPECT_THAT(Check(alice_, "/f", kMayRead), Succeeds());
  EXPECT_THAT(Check(alice_, "/f", kMayWrite), Succeeds());
  EXPECT_THAT(Check(alice_, "/f", kMayRead | kMayWrite), FailsWith(EACCES)) << "one entry must grant all";
  EXPECT_THAT(Check(alice_, "/f", kMayExec), FailsWith(EACCES)) << "in a group, so not other";
  const cred::Credentials stranger = cred::UserCredentials(3000, 3000, {});
  EXPECT_THAT(Check(stranger, "/f", kMayExec), Succeeds());
  EXPECT_THAT(Check(stranger, "/f", kMayRead), FailsWith(EACCES));
  Own("/f", 0700, 0, 0);
  EXPECT_THAT(Check(bob_, "/f", kMayRead), FailsWith(EACCES)) << "group bits 0 rule the list out";
  Own("/f", 0170, 1001, 0);
  EXPECT_THAT(Check(bob_, "/f", kMayRead), FailsWith(EACCES)) << "the owner's bits decide alone";
}

TEST_F(PermissionTest, AclThatCannotBeReadGrantsNothing) {
  Own("/f", 0777, 0, 0);
  InodeAt("/f").xattrs[std::string(kAclAccess)] = Blob({{Acl::kOther, 7, kNone}});
  EXPECT_THAT(Check(bob_, "/f", kMayRead), FailsWith(EACCES));
}

TEST(PosixAclTest, Validation) {
  const Acl::Entry user{Acl::kUserObj, 7, kNone}, group{Acl::kGroupObj, 5, kNone}, other{Acl::kOther, 4, kNone},
      mask{Acl::kMask, 6, kNone}, named{Acl::kUser, 7, 5}, named_group{Acl::kGroup, 7, 5};
  EXPECT_THAT(Acl::Parse(Blob({user, group, other})), Succeeds());
  EXPECT_THAT(Acl::Parse(Blob({user, named, group, mask, other})), Succeeds());
  EXPECT_THAT(Acl::Parse(Blob({user, group, named_group, mask, other})), Succeeds());
  EXPECT_THAT(Acl::Parse(Blob({user, group, mask, other})), Succeeds());
  EXPECT_TRUE(Acl::Parse(Blob({}))->empty());
  EXPECT_THAT(Acl::Parse({}), FailsWith(EINVAL));
  EXPECT_THAT(Acl::Parse(Blob({user, group, other}, 1)), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(Acl::Parse(Blob({user, named, group, other})), FailsWith(EINVAL)) << "no mask";
  EXPECT_THAT(Acl::Parse(Blob({user, group, named_group, other})), FailsWith(EINVAL));
  EXPECT_THAT(Acl::Parse(Blob({group, user, other})), FailsWith(EINVAL));
  EXPECT_THAT(Acl::Parse(Blob({user, group})), FailsWith(EINVAL));
  EXPECT_THAT(Acl::Parse(Blob({user, other})), FailsWith(EINVAL));
  EXPECT_THAT(Acl::Parse(Blob({user, user, group, other})), FailsWith(EINVAL));
  EXPECT_THAT(Acl::Parse(Blob({user, group, mask, mask, other})), FailsWith(EINVAL));
  EXPECT_THAT(Acl::Parse(Blob({{Acl::kUserObj, 8, kNone}, group, other})), FailsWith(EINVAL));
  EXPECT_THAT(Acl::Parse(Blob({user, {Acl::kUser, 7, kNone}, group, mask, other})), FailsWith(EINVAL));
  EXPECT_THAT(Acl::Parse(Blob({user, group, other, {0x40, 7, kNone}})), FailsWith(EINVAL));
  auto cut = Blob({user, group, other});
  cut.pop_back();
  EXPECT_THAT(Acl::Parse(cut), FailsWith(EINVAL));
}

TEST(PosixAclTest, ModeBothWays) {
  auto plain = *Acl::Parse(Blob({{Acl::kUserObj, 6, kNone}, {Acl::kGroupObj, 4, kNone}, {Acl::kOther, 0, kNone}}));
  EXPECT_EQ(plain.EquivalentMode(), 0640u);
  auto extended = *Acl::Parse(Blob({{Acl::kUserObj, 6, kNone},
                                    {Acl::kUser, 7, 9},
                                    {Acl::kGroupObj, 7, kNone},
                                    {Acl::kMask, 5, kNone},
                                    {Acl::kOther, 1, kNone}}));
  EXPECT_FALSE(extended.EquivalentMode());
  EXPECT_EQ(extended.ModeBits(), 0651u);
  extended.SetMode(0724);
  EXPECT_EQ(extended.ModeBits(), 0724u);
  EXPECT_EQ(extended.entries()[2].permissions, 7) << "the group entry stays when there is a mask";
  uint32_t mode = S_IFREG | 0666;
  extended.ApplyCreationMode(mode);
  EXPECT_EQ(mode, uint32_t{S_IFREG | 0624});
  EXPECT_EQ(Acl::Parse(extended.Serialise())->ModeBits(), 0624u);
}

TEST_F(PermissionTest, DefaultAclReplacesUmask) {
  InodeAt("/d").xattrs[std::string(kAclDefault)] = Blob({{Acl::kUserObj, 7, kNone},
                                                         {Acl::kUser, 7, 1001},
                                                         {Acl::kGroupObj, 7, kNone},
                                                         {Acl::kMask, 7, kNone},
                                                         {Acl::kOther, 5, kNone}});
  umask_ = 077;
  ASSERT_THAT(Open(super_, "/d/file", O_CREAT | O_RDWR, 0666), Succeeds());
  EXPECT_EQ(Mode("/d/file"), 0664u);
  EXPECT_TRUE(InodeAt("/d/file").xattrs.contains(kAclAccess));
  EXPECT_FALSE(InodeAt("/d/file").xattrs.contains(kAclDefault));
  EXPECT_THAT(Check(bob_, "/d/file", 6), Succeeds());
  ASSERT_THAT(vfs_->MakeDirectory(As(super_), At("/d/sub"), 0777), Succeeds());
  EXPECT_EQ(Mode("/d/sub"), 0775u);
  EXPECT_TRUE(InodeAt("/d/sub").xattrs.contains(kAclDefault));
  EXPECT_TRUE(InodeAt("/d/sub").xattrs.contains(kAclAccess));
  ASSERT_THAT(vfs_->MakeSymlink(As(super_), At("/d/link"), "x"), Succeeds());
  EXPECT_TRUE(InodeAt("/d/link").xattrs.empty());
  ASSERT_THAT(Open(super_, "/plain", O_CREAT | O_RDWR, 0666), Succeeds());
  EXPECT_EQ(Mode("/plain"), 0600u);
}

TEST_F(PermissionTest, MinimalDefaultAclMakesNoList) {
  InodeAt("/d").xattrs[std::string(kAclDefault)] =
      Blob({{Acl::kUserObj, 6, kNone}, {Acl::kGroupObj, 4, kNone}, {Acl::kOther, 0, kNone}});
  umask_ = 0;
  ASSERT_THAT(Open(super_, "/d/file", O_CREAT | O_RDWR, 0666), Succeeds());
  EXPECT_EQ(Mode("/d/file"), 0640u);
  EXPECT_FALSE(InodeAt("/d/file").xattrs.contains(kAclAccess));
}

}  // namespace
}  // namespace usl::vfs
