// chmod, chown, utimensat, truncate and extended attributes.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/xattr.h>

#include <cstring>

#include "vfs/posix_acl.h"
#include "vfs/vfs_fixture.h"

namespace usl::vfs {
namespace {

std::vector<std::byte> Bytes(std::string_view text) {
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

cred::Credentials With(cred::Credentials who, int capability) {
  who.effective |= uint64_t{1} << capability;
  return who;
}

class ModifyTest : public VfsFixture {
 protected:
  ModifyTest() {
    File("/f", 0644, 1000, 1000);
    Directory("/d", 0755, 1000, 1000);
    Symlink("/l", "f", 1000);
  }
  Result<void> Chmod(const cred::Credentials& who, std::string_view path, mode_t mode) {
    return vfs_->ChangeMode(As(who), Identity(path), mode);
  }
  Result<void> Chown(const cred::Credentials& who, std::string_view path, uid_t uid, gid_t gid) {
    return vfs_->ChangeOwner(As(who), Identity(path), uid, gid);
  }
  Result<void> Times(const cred::Credentials& who, std::string_view path, const timespec* times) {
    return vfs_->ChangeTimes(As(who), Identity(path), times);
  }
  Result<void> Set(const cred::Credentials& who, std::string_view path, std::string_view name,
                   std::vector<std::byte> value = Bytes("v"), int flags = 0) {
    return vfs_->SetXattr(As(who), Identity(path), name, value, flags);
  }
  Result<std::vector<std::byte>> Get(const cred::Credentials& who, std::string_view path, std::string_view name) {
    return vfs_->GetXattr(As(who), Identity(path), name);
  }
  static constexpr uid_t kKeep = static_cast<uid_t>(-1);
};

TEST_F(ModifyTest, Chmod) {
  EXPECT_THAT(Chmod(alice_, "/f", 04755), Succeeds());
  EXPECT_EQ(Mode("/f"), 04755u);
  EXPECT_THAT(Chmod(bob_, "/f", 0777), FailsWith(EPERM));
  EXPECT_THAT(Chmod(With(bob_, CAP_FOWNER), "/f", 0700), Succeeds());
  EXPECT_THAT(Chmod(alice_, "/l", 0777), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(Chmod(alice_, "/f", 02755), Succeeds());
  EXPECT_EQ(Mode("/f"), 02755u) << "in the group";
  Own("/f", 0644, 1000, 77);
  EXPECT_THAT(Chmod(alice_, "/f", 02755), Succeeds());
  EXPECT_EQ(Mode("/f"), 0755u) << "not in the group: no set-gid";
  EXPECT_THAT(Chmod(With(alice_, CAP_FSETID), "/f", 02755), Succeeds());
  EXPECT_EQ(Mode("/f"), 02755u);
  EXPECT_THAT(Chmod(alice_, "/d", 0171777), Succeeds());
  EXPECT_EQ(Mode("/d"), 01777u);
}

TEST_F(ModifyTest, ReadOnlyMounts) {
  ASSERT_THAT(mounts_->Remount(root_, MS_RDONLY), Succeeds());
  EXPECT_THAT(Chmod(bob_, "/f", 0777), FailsWith(EROFS));
  EXPECT_THAT(Chown(bob_, "/f", 0, 0), FailsWith(EROFS));
  EXPECT_THAT(Times(bob_, "/f", nullptr), FailsWith(EROFS));
  EXPECT_THAT(Set(bob_, "/f", "user.x"), FailsWith(EROFS));
  EXPECT_THAT(vfs_->RemoveXattr(As(super_), Identity("/f"), "user.x"), FailsWith(EROFS));
  EXPECT_THAT(vfs_->Truncate(As(super_), Identity("/f"), 0), FailsWith(EROFS));
  EXPECT_THAT(vfs_->Truncate(As(bob_), Identity("/f"), 0), FailsWith(EACCES)) << "truncate asks permission first";
}

TEST_F(ModifyTest, Chown) {
  EXPECT_THAT(Chown(super_, "/f", 5, 6), Succeeds());
  EXPECT_EQ(InodeAt("/f").attributes.uid, 5u);
  EXPECT_EQ(InodeAt("/f").attributes.gid, 6u);
  Own("/f", 0644, 1000, 1000);
  EXPECT_THAT(Chown(alice_, "/f", 1001, kKeep), FailsWith(EPERM));
  EXPECT_THAT(Chown(alice_, "/f", 1000, kKeep), Succeeds());
  EXPECT_THAT(Chown(alice_, "/f", kKeep, 50), Succeeds()) << "one of her groups";
  EXPECT_THAT(Chown(alice_, "/f", kKeep, 51), FailsWith(EPERM));
  EXPECT_THAT(Chown(alice_, "/f", 1000, 1000), Succeeds());
  EXPECT_THAT(Chown(bob_, "/f", kKeep, 1001), FailsWith(EPERM));
  EXPECT_THAT(Chown(bob_, "/f", 1000, kKeep), FailsWith(EPERM));
  EXPECT_THAT(Chown(bob_, "/f", kKeep, kKeep), Succeeds()) << "nothing to be refused";
  EXPECT_THAT(Chown(With(bob_, CAP_CHOWN), "/f", 7, 8), Succeeds());
  EXPECT_THAT(Chown(super_, "/l", 9, 9), Succeeds());
  EXPECT_EQ(InodeAt("/l").attributes.uid, 9u);
}

TEST_F(ModifyTest, ChownClearsSetId) {
  auto mode_after = [&](const cred::Credentials& who, std::string_view path, mode_t mode, gid_t group) {
    Own(path, mode, 1000, 1000);
    EXPECT_THAT(Chown(who, path, kKeep, group), Succeeds());
    return Mode(path);
  };
  EXPECT_EQ(mode_after(super_, "/f", 06755, 50), 0755u) << "root's chown too";
  EXPECT_EQ(mode_after(alice_, "/f", 06755, 50), 0755u);
  EXPECT_EQ(mode_after(alice_, "/f", 02745, 50), 02745u) << "set-gid without group execute";
  EXPECT_EQ(mode_after(alice_, "/d", 06755, 50), 06755u) << "directories keep theirs";
  EXPECT_EQ(mode_after(super_, "/f", 04755, kKeep), 0755u);
  Own("/f", 04755, 1000, 1000);
  EXPECT_THAT(Chown(bob_, "/f", kKeep, kKeep), FailsWith(EPERM)) << "would change the mode";
  EXPECT_THAT(Chown(With(bob_, CAP_CHOWN), "/f", 5, 5), FailsWith(EPERM));
  InodeAt("/f").xattrs["security.capability"] = Bytes("x");
  EXPECT_THAT(Chown(super_, "/f", 1, 1), Succeeds());
  EXPECT_TRUE(InodeAt("/f").xattrs.empty());
}

TEST_F(ModifyTest, Times) {
  const timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
  const timespec set[2] = {{100, 5}, {200, 6}};
  const timespec half[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
  const timespec none[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
  const timespec bad[2] = {{0, 1'000'000'000}, {0, 0}};
  EXPECT_THAT(Times(alice_, "/f", set), Succeeds());
  EXPECT_EQ(InodeAt("/f").attributes.atime.tv_sec, 100);
  EXPECT_EQ(InodeAt("/f").attributes.mtime.tv_nsec, 6);
  EXPECT_THAT(Times(alice_, "/f", half), Succeeds());
  EXPECT_EQ(InodeAt("/f").attributes.mtime.tv_nsec, 6);
  EXPECT_THAT(Times(bob_, "/f", set), FailsWith(EPERM));
  EXPECT_THAT(Times(bob_, "/f", half), FailsWith(EPERM));
  EXPECT_THAT(Times(bob_, "/f", now), FailsWith(EACCES));
  EXPECT_THAT(Times(bob_, "/f", nullptr), FailsWith(EACCES));
  EXPECT_THAT(Times(bob_, "/f", none), Succeeds());
  EXPECT_THAT(Times(bob_, "/f", bad), FailsWith(EINVAL));
  Own("/f", 0666, 1000, 1000);
  EXPECT_THAT(Times(bob_, "/f", now), Succeeds()) << "who may write may touch";
  EXPECT_THAT(Times(bob_, "/f", nullptr), Succeeds());
  EXPECT_THAT(Times(bob_, "/f", set), FailsWith(EPERM));
  EXPECT_THAT(Times(With(bob_, CAP_FOWNER), "/f", set), Succeeds());
}

TEST_F(ModifyTest, Truncate) {
  auto truncate = [&](const cred::Credentials& who, std::string_view path, uint64_t size) {
    return vfs_->Truncate(As(who), Identity(path), size);
  };
  EXPECT_THAT(truncate(alice_, "/f", 100), Succeeds());
  EXPECT_EQ(vfs_->Stat(PathAt("/f"))->st_size, 100);
  EXPECT_THAT(truncate(bob_, "/f", 0), FailsWith(EACCES));
  EXPECT_THAT(truncate(super_, "/d", 0), FailsWith(EISDIR));
  Node("/p", S_IFIFO | 0666);
  EXPECT_THAT(truncate(super_, "/p", 0), FailsWith(EINVAL));
  EXPECT_THAT(truncate(super_, "/f", uint64_t{1} << 63), FailsWith(EINVAL));
  Own("/f", 04777, 0, 0);
  EXPECT_THAT(truncate(bob_, "/f", 0), Succeeds());
  EXPECT_EQ(Mode("/f"), 0777u);
}

TEST_F(ModifyTest, UserXattrs) {
  EXPECT_THAT(Set(alice_, "/f", "user.x"), Succeeds());
  EXPECT_THAT(Get(bob_, "/f", "user.x"), Succeeds());
  EXPECT_THAT(Set(bob_, "/f", "user.x"), FailsWith(EACCES));
  EXPECT_THAT(Get(alice_, "/f", "user.y"), FailsWith(ENODATA));
  EXPECT_THAT(Set(alice_, "/f", "user.x", Bytes("w"), XATTR_CREATE), FailsWith(EEXIST));
  EXPECT_THAT(Set(alice_, "/f", "user.y", Bytes("w"), XATTR_REPLACE), FailsWith(ENODATA));
  EXPECT_THAT(Set(alice_, "/f", "user.x", Bytes("w"), 4), FailsWith(EINVAL));
  EXPECT_THAT(vfs_->RemoveXattr(As(bob_), Identity("/f"), "user.x"), FailsWith(EACCES));
  EXPECT_THAT(vfs_->RemoveXattr(As(alice_), Identity("/f"), "user.x"), Succeeds());
  Own("/f", 0600, 1000, 1000);
  EXPECT_THAT(Get(bob_, "/f", "user.x"), FailsWith(EACCES));
  Symlink("/mine", "x", 1000);
  EXPECT_THAT(Set(alice_, "/mine", "user.x"), FailsWith(EPERM));
  EXPECT_THAT(Get(alice_, "/mine", "user.x"), FailsWith(ENODATA));
  Node("/p", S_IFIFO | 0666);
  EXPECT_THAT(Set(super_, "/p", "user.x"), FailsWith(EPERM));
  Own("/d", 01777, 1000, 1000);
  EXPECT_THAT(Set(bob_, "/d", "user.x"), FailsWith(EPERM)) << "sticky";
  EXPECT_THAT(Set(alice_, "/d", "user.x"), Succeeds());
}

TEST_F(ModifyTest, XattrNames) {
  EXPECT_THAT(Set(super_, "/f", ""), FailsWith(ERANGE));
  EXPECT_THAT(Set(super_, "/f", "user." + std::string(251, 'x')), FailsWith(ERANGE));
  EXPECT_THAT(Set(super_, "/f", "user." + std::string(250, 'x')), Succeeds());
  EXPECT_THAT(Set(super_, "/f", "user."), FailsWith(EINVAL));
  EXPECT_THAT(Set(super_, "/f", "nonsense"), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(Get(super_, "/f", "other.x"), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(Set(super_, "/f", "system.x"), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(Set(super_, "/f", "user.big", std::vector<std::byte>(65537)), FailsWith(E2BIG));
  EXPECT_THAT(Set(super_, "/f", "user.big", std::vector<std::byte>(65536)), Succeeds());
}

TEST_F(ModifyTest, TrustedAndSecurity) {
  EXPECT_THAT(Set(super_, "/f", "trusted.t"), Succeeds());
  EXPECT_THAT(Set(alice_, "/f", "trusted.t"), FailsWith(EPERM));
  EXPECT_THAT(Get(alice_, "/f", "trusted.t"), FailsWith(ENODATA));
  EXPECT_THAT(*vfs_->ListXattr(As(super_), Identity("/f")), ::testing::Contains("trusted.t"));
  EXPECT_TRUE(vfs_->ListXattr(As(alice_), Identity("/f"))->empty());
  EXPECT_THAT(Set(super_, "/f", "security.selinux"), Succeeds());
  EXPECT_THAT(Set(alice_, "/f", "security.selinux"), FailsWith(EPERM));
  EXPECT_THAT(Get(bob_, "/f", "security.selinux"), Succeeds());

  std::vector<std::byte> capabilities(20);
  capabilities[3] = std::byte{2};  // VFS_CAP_REVISION_2
  EXPECT_THAT(Set(super_, "/f", "security.capability", capabilities), Succeeds());
  EXPECT_THAT(Set(alice_, "/f", "security.capability", capabilities), FailsWith(EPERM));
  EXPECT_THAT(Set(With(bob_, CAP_SETFCAP), "/f", "security.capability", capabilities), Succeeds());
  EXPECT_THAT(Set(super_, "/f", "security.capability", Bytes("bad")), FailsWith(EINVAL));
  capabilities[3] = std::byte{3};
  EXPECT_THAT(Set(super_, "/f", "security.capability", capabilities), FailsWith(EINVAL)) << "version 3 is longer";
  capabilities.resize(24);
  EXPECT_THAT(Set(super_, "/f", "security.capability", capabilities), Succeeds());
  EXPECT_THAT(vfs_->RemoveXattr(As(alice_), Identity("/f"), "security.capability"), FailsWith(EPERM));
  EXPECT_THAT(vfs_->RemoveXattr(As(super_), Identity("/f"), "security.capability"), Succeeds());
}

class AclXattrTest : public ModifyTest {
 protected:
  static std::vector<std::byte> Acl(std::initializer_list<PosixAcl::Entry> entries) {
    std::vector<std::byte> blob(4 + entries.size() * 8);
    blob[0] = std::byte{2};
    if (entries.size()) std::memcpy(blob.data() + 4, std::data(entries), entries.size() * 8);
    return blob;
  }
  static std::vector<std::byte> Extended() {
    return Acl({{1, 7, ~0u}, {2, 7, 1001}, {4, 5, ~0u}, {0x10, 6, ~0u}, {0x20, 0, ~0u}});
  }
};

TEST_F(AclXattrTest, SetsTheMode) {
  EXPECT_THAT(Set(alice_, "/f", kAclAccess, Extended()), Succeeds());
  EXPECT_EQ(Mode("/f"), 0760u);
  EXPECT_THAT(Get(bob_, "/f", kAclAccess), Succeeds());
  EXPECT_THAT(vfs_->CheckPermission(bob_, InodeAt("/f"), 6), Succeeds());
  EXPECT_THAT(Set(bob_, "/f", kAclAccess, Extended()), FailsWith(EPERM));
  EXPECT_THAT(Set(alice_, "/f", kAclAccess, Acl({{1, 6, ~0u}, {4, 4, ~0u}, {0x20, 1, ~0u}})), Succeeds());
  EXPECT_EQ(Mode("/f"), 0641u);
  EXPECT_THAT(Get(alice_, "/f", kAclAccess), FailsWith(ENODATA)) << "mode bits say it all";
}

TEST_F(AclXattrTest, ChmodChangesTheList) {
  ASSERT_THAT(Set(alice_, "/f", kAclAccess, Extended()), Succeeds());
  ASSERT_THAT(Chmod(alice_, "/f", 0714), Succeeds());
  auto acl = PosixAcl::Parse(*Get(alice_, "/f", kAclAccess));
  ASSERT_THAT(acl, Succeeds());
  EXPECT_EQ(acl->ModeBits(), 0714u);
  EXPECT_EQ(acl->entries()[2].permissions, 5) << "the mask changed, not the group's entry";
  EXPECT_THAT(vfs_->CheckPermission(bob_, InodeAt("/f"), 4), FailsWith(EACCES));
}

TEST_F(AclXattrTest, RemovalAndDefaults) {
  ASSERT_THAT(Set(alice_, "/f", kAclAccess, Extended()), Succeeds());
  EXPECT_THAT(vfs_->RemoveXattr(As(alice_), Identity("/f"), kAclAccess), Succeeds());
  EXPECT_THAT(vfs_->RemoveXattr(As(alice_), Identity("/f"), kAclAccess), Succeeds()) << "again is no error";
  EXPECT_THAT(vfs_->RemoveXattr(As(bob_), Identity("/f"), kAclAccess), FailsWith(EPERM));
  EXPECT_THAT(Set(alice_, "/f", kAclDefault, Extended()), FailsWith(EACCES)) << "not a directory";
  EXPECT_THAT(Set(alice_, "/d", kAclDefault, Extended()), Succeeds());
  EXPECT_EQ(Mode("/d"), 0755u) << "a default list is not the mode";
  EXPECT_THAT(Set(alice_, "/d", kAclDefault, Acl({})), Succeeds());
  EXPECT_THAT(Get(alice_, "/d", kAclDefault), FailsWith(ENODATA));
  EXPECT_THAT(Set(alice_, "/f", kAclAccess, Bytes("xx")), FailsWith(EINVAL));
  EXPECT_THAT(Set(alice_, "/f", kAclAccess, Acl({{1, 7, ~0u}})), FailsWith(EINVAL));
  EXPECT_THAT(Set(super_, "/l", kAclAccess, Extended()), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(Get(super_, "/l", kAclAccess), FailsWith(EOPNOTSUPP));
}

TEST_F(AclXattrTest, SetGidNeedsTheGroup) {
  Own("/f", 02755, 1000, 77);
  ASSERT_THAT(Set(alice_, "/f", kAclAccess, Extended()), Succeeds());
  EXPECT_EQ(Mode("/f"), 0760u);
}

}  // namespace
}  // namespace usl::vfs
