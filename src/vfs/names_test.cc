// mkdir, mknod, symlink, link, unlink, rmdir: who may, where, and which errno.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/sysmacros.h>

#include "vfs/vfs_fixture.h"

namespace usl::vfs {
namespace {

class NamesTest : public VfsFixture {
 protected:
  NamesTest() {
    Directory("/d");
    File("/f");
    Symlink("/l", "absent");
  }
  Result<void> Mkdir(const cred::Credentials& who, std::string_view path, mode_t mode = 0777) {
    return vfs_->MakeDirectory(As(who), At(path), mode);
  }
  Result<void> Mknod(const cred::Credentials& who, std::string_view path, mode_t mode, dev_t device = 0) {
    return vfs_->MakeNode(As(who), At(path), mode, device);
  }
  Result<void> Link(const cred::Credentials& who, std::string_view from, std::string_view to, int flags = 0) {
    return vfs_->Link(As(who), At(from), At(to), flags);
  }
  Result<void> Unlink(const cred::Credentials& who, std::string_view path) { return vfs_->Unlink(As(who), At(path)); }
  Result<void> Rmdir(const cred::Credentials& who, std::string_view path) {
    return vfs_->RemoveDirectory(As(who), At(path));
  }
};

TEST_F(NamesTest, MkdirNames) {
  EXPECT_THAT(Mkdir(super_, "/d/new"), Succeeds());
  EXPECT_THAT(Mkdir(super_, "/d/new2/"), Succeeds());
  EXPECT_THAT(Mkdir(super_, "/d/new3//"), Succeeds());
  EXPECT_THAT(Mkdir(super_, "/d"), FailsWith(EEXIST));
  EXPECT_THAT(Mkdir(super_, "/f"), FailsWith(EEXIST));
  EXPECT_THAT(Mkdir(super_, "/l"), FailsWith(EEXIST)) << "a dangling link exists";
  EXPECT_THAT(Mkdir(super_, "/l/"), FailsWith(EEXIST));
  EXPECT_THAT(Mkdir(super_, "/"), FailsWith(EEXIST));
  EXPECT_THAT(Mkdir(super_, "."), FailsWith(EEXIST));
  EXPECT_THAT(Mkdir(super_, "/d/.."), FailsWith(EEXIST));
  EXPECT_THAT(Mkdir(super_, "/d/."), FailsWith(EEXIST));
  EXPECT_THAT(Mkdir(super_, "/no/new"), FailsWith(ENOENT));
  EXPECT_THAT(Mkdir(super_, "/f/new"), FailsWith(ENOTDIR));
  EXPECT_THAT(Mkdir(super_, "/l/new"), FailsWith(ENOENT));
  EXPECT_THAT(Mkdir(super_, ""), FailsWith(ENOENT));
  EXPECT_THAT(Mkdir(super_, "/" + std::string(256, 'x')), FailsWith(ENAMETOOLONG));
}

TEST_F(NamesTest, ModesAndOwners) {
  umask_ = 027;
  Own("/d", 0777, 0, 0);
  ASSERT_THAT(Mkdir(alice_, "/d/a", 07777), Succeeds());
  EXPECT_EQ(Mode("/d/a"), 01750u) << "no set-id bits from mkdir, sticky allowed, umask applied";
  EXPECT_EQ(InodeAt("/d/a").attributes.uid, 1000u);
  EXPECT_EQ(InodeAt("/d/a").attributes.gid, 1000u);
  ASSERT_THAT(Mknod(alice_, "/d/f", 04777), Succeeds());
  EXPECT_EQ(Mode("/d/f"), 04750u);
  EXPECT_TRUE(InodeAt("/d/f").IsRegular());
  ASSERT_THAT(vfs_->MakeSymlink(As(alice_), At("/d/l"), "x"), Succeeds());
  EXPECT_EQ(Mode("/d/l"), 0777u);
}

TEST_F(NamesTest, SetGidDirectory) {
  umask_ = 0;
  Own("/d", 02777, 0, 77);
  ASSERT_THAT(Mkdir(alice_, "/d/a", 0755), Succeeds());
  EXPECT_EQ(InodeAt("/d/a").attributes.gid, 77u);
  EXPECT_EQ(Mode("/d/a"), 02755u);
  ASSERT_THAT(Mknod(alice_, "/d/f", 0644), Succeeds());
  EXPECT_EQ(InodeAt("/d/f").attributes.gid, 77u);
  EXPECT_EQ(Mode("/d/f"), 0644u);
  ASSERT_THAT(Mknod(alice_, "/d/s", 02755), Succeeds());
  EXPECT_EQ(Mode("/d/s"), 0755u) << "not in group 77: no set-gid program of it";
  ASSERT_THAT(Mknod(super_, "/d/r", 02755), Succeeds());
  EXPECT_EQ(Mode("/d/r"), 02755u);
  Own("/d", 02777, 0, 50);
  ASSERT_THAT(Mknod(alice_, "/d/m", 02755), Succeeds());
  EXPECT_EQ(Mode("/d/m"), 02755u);
}

TEST_F(NamesTest, CreationNeedsWriteAndSearch) {
  Own("/d", 0755, 0, 0);
  EXPECT_THAT(Mkdir(alice_, "/d/x"), FailsWith(EACCES));
  EXPECT_THAT(Mknod(alice_, "/d/x", S_IFREG), FailsWith(EACCES));
  EXPECT_THAT(vfs_->MakeSymlink(As(alice_), At("/d/x"), "t"), FailsWith(EACCES));
  Own("/d", 0772, 0, 0);
  EXPECT_THAT(Mkdir(alice_, "/d/x"), FailsWith(EACCES)) << "write without search";
  Own("/d", 0773, 0, 0);
  EXPECT_THAT(Mkdir(alice_, "/d/x"), Succeeds());
  EXPECT_THAT(Mkdir(alice_, "/d/x"), FailsWith(EEXIST));
  Own("/d", 0775, 0, 0);
  EXPECT_THAT(Mkdir(alice_, "/d/x"), FailsWith(EEXIST)) << "before EACCES";
}

TEST_F(NamesTest, ReadOnlyMount) {
  ASSERT_THAT(mounts_->Remount(root_, MS_RDONLY), Succeeds());
  EXPECT_THAT(Mkdir(super_, "/d/x"), FailsWith(EROFS));
  EXPECT_THAT(Mkdir(super_, "/d"), FailsWith(EEXIST)) << "before EROFS";
  EXPECT_THAT(Mknod(super_, "/x", S_IFREG), FailsWith(EROFS));
  EXPECT_THAT(vfs_->MakeSymlink(As(super_), At("/x"), "t"), FailsWith(EROFS));
  EXPECT_THAT(Link(super_, "/f", "/x"), FailsWith(EROFS));
  EXPECT_THAT(Unlink(super_, "/f"), FailsWith(EROFS));
  EXPECT_THAT(Unlink(super_, "/absent"), FailsWith(EROFS)) << "unlink looks at the mount first";
  EXPECT_THAT(Rmdir(super_, "/d"), FailsWith(EROFS));
  EXPECT_THAT(vfs_->Rename(As(super_), At("/f"), At("/g"), 0), FailsWith(EROFS));
}

TEST_F(NamesTest, Mknod) {
  Own("/d", 0777, 0, 0);
  EXPECT_THAT(Mknod(alice_, "/d/c", S_IFCHR | 0666, makedev(1, 3)), FailsWith(EPERM));
  EXPECT_THAT(Mknod(alice_, "/d/b", S_IFBLK | 0666, makedev(1, 3)), FailsWith(EPERM));
  EXPECT_THAT(Mknod(alice_, "/d/w", S_IFCHR | 0666, 0), Succeeds()) << "a whiteout";
  EXPECT_THAT(Mknod(alice_, "/d/p", S_IFIFO | 0666), Succeeds());
  EXPECT_THAT(Mknod(alice_, "/d/s", S_IFSOCK | 0666), Succeeds());
  EXPECT_THAT(Mknod(super_, "/d/c", S_IFCHR | 0666, makedev(1, 3)), Succeeds());
  EXPECT_EQ(InodeAt("/d/c").attributes.rdev, makedev(1, 3));
  EXPECT_THAT(Mknod(super_, "/d/dir", S_IFDIR | 0666), FailsWith(EPERM));
  EXPECT_THAT(Mknod(super_, "/d/link", S_IFLNK | 0666), FailsWith(EINVAL));
  EXPECT_THAT(Mknod(super_, "/d/odd", 0030000 | 0666), FailsWith(EINVAL));
  EXPECT_THAT(Mknod(super_, "/d/slash/", S_IFREG | 0666), FailsWith(ENOENT));
  EXPECT_THAT(Mknod(super_, "/d/c/", S_IFREG | 0666), FailsWith(EEXIST));
}

TEST_F(NamesTest, SymlinkAndSocket) {
  EXPECT_THAT(vfs_->MakeSymlink(As(super_), At("/n"), ""), FailsWith(ENOENT));
  EXPECT_THAT(vfs_->MakeSymlink(As(super_), At("/n"), std::string(4096, 'x')), FailsWith(ENAMETOOLONG));
  EXPECT_THAT(vfs_->MakeSymlink(As(super_), At("/n"), std::string(4095, 'x')), Succeeds());
  EXPECT_THAT(vfs_->MakeSymlink(As(super_), At("/m/"), "x"), FailsWith(ENOENT));
  EXPECT_EQ(*vfs_->ReadLink(As(super_), PathAt("/l")), "absent");
  EXPECT_THAT(vfs_->ReadLink(As(super_), PathAt("/f")), FailsWith(EINVAL));
  EXPECT_THAT(vfs_->MakeSocket(As(super_), At("/sock"), 0777), Succeeds());
  EXPECT_EQ(Mode("/sock"), 0755u);
  EXPECT_THAT(vfs_->MakeSocket(As(super_), At("/sock"), 0777), FailsWith(EADDRINUSE));
  EXPECT_THAT(vfs_->MakeSocket(As(super_), At("/no/sock"), 0777), FailsWith(ENOENT));
}

TEST_F(NamesTest, Link) {
  EXPECT_THAT(Link(super_, "/f", "/g"), Succeeds());
  EXPECT_EQ(InodeAt("/g").attributes.nlink, 2u);
  EXPECT_EQ(PathAt("/g").inode(), PathAt("/f").inode());
  EXPECT_THAT(Link(super_, "/f", "/g"), FailsWith(EEXIST));
  EXPECT_THAT(Link(super_, "/f", "/h/"), FailsWith(ENOENT));
  EXPECT_THAT(Link(super_, "/f/", "/h"), FailsWith(ENOTDIR));
  EXPECT_THAT(Link(super_, "/d", "/h"), FailsWith(EPERM));
  EXPECT_THAT(Link(super_, "/no", "/h"), FailsWith(ENOENT));
  EXPECT_THAT(Link(super_, "/f", "/h", 0x8000), FailsWith(EINVAL));
  EXPECT_THAT(Link(super_, "/l", "/l2"), Succeeds());
  EXPECT_TRUE(InodeAt("/l2").IsSymlink());
  EXPECT_THAT(Link(super_, "/l", "/l3", AT_SYMLINK_FOLLOW), FailsWith(ENOENT));
  const Path file = PathAt("/f");
  auto by_handle = [&](const cred::Credentials& who, std::string_view to) {
    return vfs_->Link(As(who), {.at = file, .path = ""}, At(to), AT_EMPTY_PATH);
  };
  EXPECT_THAT(by_handle(super_, "/e"), Succeeds());
  Own("/d", 0777, 0, 0);
  EXPECT_THAT(by_handle(alice_, "/d/e"), FailsWith(ENOENT)) << "needs CAP_DAC_READ_SEARCH";
}

TEST_F(NamesTest, ProtectedHardLinks) {
  Directory("/pub", 0777);
  auto link = [&](mode_t mode, uid_t owner) {
    (void)Unlink(super_, "/pub/x");
    Own("/f", mode, owner, 0);
    return Link(alice_, "/f", "/pub/x");
  };
  EXPECT_THAT(link(0600, 1000), Succeeds());
  EXPECT_THAT(link(0600, 0), FailsWith(EPERM));
  EXPECT_THAT(link(0644, 0), FailsWith(EPERM)) << "not writable";
  EXPECT_THAT(link(0666, 0), Succeeds());
  EXPECT_THAT(link(04666, 0), FailsWith(EPERM));
  EXPECT_THAT(link(02676, 0), FailsWith(EPERM));
  EXPECT_THAT(link(02666, 0), Succeeds()) << "set-gid without execute means nothing";
  EXPECT_THAT(link(04666, 1000), Succeeds());
  EXPECT_THAT(Link(alice_, "/l", "/pub/l"), FailsWith(EPERM)) << "only regular files";
}

TEST_F(NamesTest, Unlink) {
  EXPECT_THAT(Unlink(super_, "/d"), FailsWith(EISDIR));
  EXPECT_THAT(Unlink(super_, "/d/"), FailsWith(EISDIR));
  EXPECT_THAT(Unlink(super_, "/f/"), FailsWith(ENOTDIR));
  EXPECT_THAT(Unlink(super_, "/no"), FailsWith(ENOENT));
  EXPECT_THAT(Unlink(super_, "/no/"), FailsWith(ENOENT));
  EXPECT_THAT(Unlink(super_, "/"), FailsWith(EISDIR));
  EXPECT_THAT(Unlink(super_, "/d/.."), FailsWith(EISDIR));
  const Path file = PathAt("/f");
  EXPECT_THAT(Unlink(super_, "/f"), Succeeds());
  EXPECT_THAT(Unlink(super_, "/f"), FailsWith(ENOENT));
  EXPECT_FALSE(file.dentry->IsLinked());
  EXPECT_EQ(vfs_->PathText(file, root_), "/f (deleted)");
  EXPECT_THAT(Unlink(super_, "/l"), Succeeds()) << "the link, not its target";
  File("/f");
  EXPECT_NE(PathAt("/f"), file);
}

TEST_F(NamesTest, Rmdir) {
  Directory("/d/sub");
  EXPECT_THAT(Rmdir(super_, "/f"), FailsWith(ENOTDIR));
  EXPECT_THAT(Rmdir(super_, "/d"), FailsWith(ENOTEMPTY));
  EXPECT_THAT(Rmdir(super_, "/d/."), FailsWith(EINVAL));
  EXPECT_THAT(Rmdir(super_, "/d/sub/.."), FailsWith(ENOTEMPTY));
  EXPECT_THAT(Rmdir(super_, "/"), FailsWith(EBUSY));
  EXPECT_THAT(Rmdir(super_, "/no"), FailsWith(ENOENT));
  Symlink("/dl", "d");
  EXPECT_THAT(Rmdir(super_, "/dl"), FailsWith(ENOTDIR));
  EXPECT_THAT(Rmdir(super_, "/dl/"), FailsWith(ENOTDIR));
  EXPECT_THAT(Rmdir(super_, "/d/sub/"), Succeeds());
  EXPECT_THAT(Rmdir(super_, "/d"), Succeeds());
}

TEST_F(NamesTest, StickyDirectories) {
  Directory("/tmp", 01777);
  File("/tmp/alices", 0666, 1000, 1000);
  File("/tmp/bobs", 0666, 1001, 1001);
  Directory("/tmp/bobs_dir", 0777, 1001, 1001);
  EXPECT_THAT(Unlink(alice_, "/tmp/bobs"), FailsWith(EPERM));
  EXPECT_THAT(Rmdir(alice_, "/tmp/bobs_dir"), FailsWith(EPERM));
  EXPECT_THAT(vfs_->Rename(As(alice_), At("/tmp/bobs"), At("/tmp/mine"), 0), FailsWith(EPERM));
  EXPECT_THAT(vfs_->Rename(As(alice_), At("/tmp/alices"), At("/tmp/bobs"), 0), FailsWith(EPERM));
  EXPECT_THAT(Unlink(alice_, "/tmp/alices"), Succeeds());
  cred::Credentials owner_like = alice_;
  owner_like.effective = uint64_t{1} << CAP_FOWNER;
  EXPECT_THAT(Unlink(owner_like, "/tmp/bobs"), Succeeds());
  Own("/tmp", 01777, 1000, 0);
  EXPECT_THAT(Rmdir(alice_, "/tmp/bobs_dir"), Succeeds()) << "the directory's owner";
}

TEST_F(NamesTest, MountPointsAreBusy) {
  auto other = MakeRef<TestFileSystem>();
  Directory("/d/m");
  ASSERT_THAT(mounts_->Attach(PathAt("/d/m"), other, vfs_->RootDentry(other), 0), Succeeds());
  EXPECT_THAT(Rmdir(super_, "/d/m"), FailsWith(EBUSY));
  EXPECT_THAT(vfs_->Rename(As(super_), At("/d/m"), At("/n"), 0), FailsWith(EBUSY));
  Directory("/empty");
  EXPECT_THAT(vfs_->Rename(As(super_), At("/empty"), At("/d/m"), 0), FailsWith(EBUSY));
  File("/d/m/inner");
  EXPECT_THAT(vfs_->Rename(As(super_), At("/d/m/inner"), At("/inner"), 0), FailsWith(EXDEV));
  EXPECT_THAT(Link(super_, "/d/m/inner", "/inner"), FailsWith(EXDEV));
  ASSERT_THAT(mounts_->Detach(PathAt("/d/m"), 0, Idle), Succeeds());
  EXPECT_THAT(Rmdir(super_, "/d/m"), Succeeds());
}

}  // namespace
}  // namespace usl::vfs
