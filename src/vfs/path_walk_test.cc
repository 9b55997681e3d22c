#include "vfs/path_walk.h"

#include <linux/openat2.h>

#include "base/format.h"
#include "vfs/vfs_fixture.h"

namespace usl::vfs {
namespace {

using ::testing::Optional;

class PathWalkTest : public VfsFixture {
 protected:
  PathWalkTest() {
    Directory("/a");
    Directory("/a/b");
    Directory("/a/b/c");
    File("/a/b/file");
    Symlink("/to_b", "a/b");
    Symlink("/abs", "/a/b/file");
    Symlink("/a/up", "../a/b");
    Symlink("/dangling", "nowhere");
    Symlink("/loop1", "loop2");
    Symlink("/loop2", "loop1");
    Symlink("/slash", "a/b/");
    Symlink("/file_slash", "a/b/file/");
  }
  void ExpectWalk(std::string_view path, std::string_view place) {
    auto found = Walk(path);
    ASSERT_THAT(found, Succeeds()) << path;
    EXPECT_EQ(*found, place) << path;
  }
};

TEST_F(PathWalkTest, Components) {
  ExpectWalk("/", "/");
  ExpectWalk("//", "/");
  ExpectWalk(".", "/");
  ExpectWalk("..", "/");
  ExpectWalk("/../..", "/");
  ExpectWalk("/a/b", "/a/b");
  ExpectWalk("a//b///c//", "/a/b/c");
  ExpectWalk("/a/./b/.", "/a/b");
  ExpectWalk("/a/b/../b/c/..", "/a/b");
  EXPECT_THAT(Walk(""), FailsWith(ENOENT));
  EXPECT_THAT(Walk("/a/x"), FailsWith(ENOENT));
  EXPECT_THAT(Walk("/x/y"), FailsWith(ENOENT));
  EXPECT_THAT(Walk("/a/b/file/"), FailsWith(ENOTDIR));
  EXPECT_THAT(Walk("/a/b/file/."), FailsWith(ENOTDIR));
  EXPECT_THAT(Walk("/a/b/file/x"), FailsWith(ENOTDIR));
  EXPECT_THAT(Walk("/a/b/file/.."), FailsWith(ENOTDIR));
  EXPECT_THAT(Walk("/a/b/file", 0, Vfs::kDirectory), FailsWith(ENOTDIR));
}

TEST_F(PathWalkTest, Lengths) {
  const std::string longest(255, 'n');
  Directory("/" + longest);
  ExpectWalk("/" + longest, "/" + longest);
  EXPECT_THAT(Walk("/" + longest + "n"), FailsWith(ENAMETOOLONG));
  EXPECT_THAT(Walk("/" + longest + "n/x"), FailsWith(ENAMETOOLONG));
  std::string path = "/a/b/file";
  path.insert(0, 4095 - path.size(), '/');
  ExpectWalk(path, "/a/b/file");
  EXPECT_THAT(Walk("/" + path), FailsWith(ENAMETOOLONG));
}

TEST_F(PathWalkTest, Symlinks) {
  ExpectWalk("/to_b", "/a/b");
  ExpectWalk("/to_b/file", "/a/b/file");
  ExpectWalk("/to_b/../b/c", "/a/b/c");
  ExpectWalk("/a/up/c", "/a/b/c");
  ExpectWalk("/abs", "/a/b/file");
  ExpectWalk("/slash", "/a/b");
  ExpectWalk("/slash/c", "/a/b/c");
  EXPECT_THAT(Walk("/abs/"), FailsWith(ENOTDIR));
  EXPECT_THAT(Walk("/file_slash"), FailsWith(ENOTDIR));
  EXPECT_THAT(Walk("/dangling"), FailsWith(ENOENT));
  EXPECT_THAT(Walk("/loop1"), FailsWith(ELOOP));
  EXPECT_THAT(Walk("/loop1/x"), FailsWith(ELOOP));
  EXPECT_EQ(WalkText("/to_b", 0, Vfs::kNoFollow), "/to_b");
  EXPECT_EQ(WalkText("/to_b/", 0, Vfs::kNoFollow), "/a/b") << "a trailing slash follows";
  EXPECT_EQ(WalkText("/loop1", 0, Vfs::kNoFollow), "/loop1");
  EXPECT_THAT(Walk("/dangling/", 0, Vfs::kNoFollow), FailsWith(ENOENT));
}

TEST_F(PathWalkTest, FortyLinksAreTheLimit) {
  Symlink("/l1", "a");
  for (int i = 2; i <= 41; ++i) Symlink(format("/l{}", i), format("l{}", i - 1));
  ExpectWalk("/l40", "/a");
  ExpectWalk("/l40/b", "/a/b");
  EXPECT_THAT(Walk("/l41"), FailsWith(ELOOP));
  std::string path;
  for (int i = 0; i < 40; ++i) path += "/l1/..";
  ExpectWalk(path, "/");
  EXPECT_THAT(Walk(path + "/l1"), FailsWith(ELOOP));
}

TEST_F(PathWalkTest, LongTargetsMayJoinBeyondPathMax) {
  Symlink("/long", std::string(4000, '/') + "a");
  std::string rest;
  for (int i = 0; i < 1000; ++i) rest += "/.";
  ExpectWalk("/long" + rest, "/a");
}

TEST_F(PathWalkTest, NegativeAndParent) {
  auto absent = vfs_->Walk(As(super_), At("/a/new"), Vfs::kAllowNegative);
  ASSERT_THAT(absent, Succeeds());
  EXPECT_TRUE(absent->dentry->IsNegative());
  EXPECT_EQ(absent->dentry->name(), "new");
  auto through_link = vfs_->Walk(As(super_), At("/dangling"), Vfs::kAllowNegative);
  ASSERT_THAT(through_link, Succeeds());
  EXPECT_EQ(through_link->dentry->name(), "nowhere");
  EXPECT_THAT(vfs_->Walk(As(super_), At("/x/new"), Vfs::kAllowNegative), FailsWith(ENOENT));
  EXPECT_EQ(WalkText("/a/b/c", 0, Vfs::kParent), "/a/b");
  EXPECT_EQ(WalkText("/a/b/zzz", 0, Vfs::kParent), "/a/b");
}

TEST_F(PathWalkTest, RelativeToDirectoryAndEmptyPath) {
  Path b = PathAt("/a/b");
  EXPECT_EQ(vfs_->Walk(As(super_), {.at = b, .path = "c"}, 0)->dentry->name(), "c");
  EXPECT_EQ(vfs_->Walk(As(super_), {.at = b, .path = "/a"}, 0)->dentry->name(), "a");
  EXPECT_THAT(vfs_->Walk(As(super_), {.at = b, .path = ""}, 0), FailsWith(ENOENT));
  EXPECT_EQ(*vfs_->Walk(As(super_), {.at = b, .path = "", .allow_empty = true}, 0), b);
  Path file = PathAt("/a/b/file");
  EXPECT_EQ(*vfs_->Walk(As(super_), {.at = file, .path = "", .allow_empty = true}, 0), file);
  EXPECT_THAT(vfs_->Walk(As(super_), {.at = file, .path = "x"}, 0), FailsWith(ENOTDIR));
}

TEST_F(PathWalkTest, RootDirectoryHolds) {
  root_ = PathAt("/a/b");
  cwd_ = root_;
  ExpectWalk("/..", "/");
  ExpectWalk("../../..", "/");
  ExpectWalk("/c/../..", "/");
  ExpectWalk("/file", "/file");
  EXPECT_THAT(Walk("/a"), FailsWith(ENOENT));
}

TEST_F(PathWalkTest, SearchPermission) {
  Own("/a", 0700, 1000, 1000);
  Own("/a/b", 0755, 0, 0);
  EXPECT_THAT(vfs_->Walk(As(alice_), At("/a/b/file"), 0), Succeeds());
  EXPECT_THAT(vfs_->Walk(As(bob_), At("/a"), 0), Succeeds());
  EXPECT_THAT(vfs_->Walk(As(bob_), At("/a/b"), 0), FailsWith(EACCES));
  EXPECT_THAT(vfs_->Walk(As(bob_), At("/a/."), 0), FailsWith(EACCES));
  EXPECT_THAT(vfs_->Walk(As(bob_), At("/a/absent/x"), 0), FailsWith(EACCES));
  EXPECT_THAT(vfs_->Walk(As(bob_), At("/a/b"), Vfs::kParent), FailsWith(EACCES));
  Own("/a", 0600, 1000, 1000);
  EXPECT_THAT(vfs_->Walk(As(alice_), At("/a/b"), 0), FailsWith(EACCES));
}

TEST_F(PathWalkTest, CachesPositiveAndNegativeNames) {
  ExpectWalk("/a/b/file", "/a/b/file");
  EXPECT_THAT(Walk("/a/zero"), FailsWith(ENOENT));
  const int before = tests_->lookups;
  ExpectWalk("/a/b/file", "/a/b/file");
  EXPECT_THAT(Walk("/a/zero"), FailsWith(ENOENT));
  EXPECT_EQ(tests_->lookups, before);
  File("/a/zero");
  ExpectWalk("/a/zero", "/a/zero");
}

TEST_F(PathWalkTest, UncacheableDirectoriesAreAskedEachTime) {
  tests_->cacheable = false;
  ExpectWalk("/a/b/file", "/a/b/file");
  const int before = tests_->lookups;
  Path first = PathAt("/a/b");
  ExpectWalk("/a/b/file", "/a/b/file");
  EXPECT_EQ(tests_->lookups, before + 5);
  EXPECT_EQ(PathAt("/a/b"), first) << "the dentry stays the same while the inode does";
  // The host takes a name away and makes another.
  TestInode& b = InodeAt("/a/b");
  b.children.erase("file");
  EXPECT_THAT(Walk("/a/b/file"), FailsWith(ENOENT));
  b.children["file"] = MakeRef<TestInode>(*tests_, NewInode{.mode = S_IFDIR | 0755});
  ExpectWalk("/a/b/file/.", "/a/b/file");
}

TEST_F(PathWalkTest, HostMovesADirectory) {
  tests_->cacheable = false;
  Path c = PathAt("/a/b/c");
  TestInode& root = tests_->root_inode();
  auto inode = Ref<TestInode>(&InodeAt("/a/b/c"));
  InodeAt("/a/b").children.erase("c");
  root.children["moved"] = inode;
  ExpectWalk("/moved", "/moved");
  EXPECT_EQ(PathAt("/moved"), c);
  EXPECT_EQ(vfs_->PathText(c, root_), "/moved");
}

TEST_F(PathWalkTest, RemovedDirectory) {
  Path c = PathAt("/a/b/c");
  EXPECT_THAT(vfs_->RemoveDirectory(As(super_), At("/a/b/c")), Succeeds());
  cwd_ = c;
  EXPECT_THAT(Walk("x"), FailsWith(ENOENT));
  EXPECT_THAT(vfs_->MakeDirectory(As(super_), At("x"), 0755), FailsWith(ENOENT));
  EXPECT_THAT(Open(super_, "x", O_CREAT | O_RDWR), FailsWith(ENOENT));
  EXPECT_EQ(WalkText(".."), "/a/b");
  EXPECT_EQ(WalkText("."), "/a/b/c (deleted)");
  EXPECT_THAT(vfs_->WorkingDirectoryText(c, root_), FailsWith(ENOENT));
}

TEST_F(PathWalkTest, ProtectedSymlinks) {
  Directory("/tmp", 01777);
  Symlink("/tmp/bobs", "/a/b/file", 1001);
  Symlink("/tmp/alices", "/a/b/file", 1000);
  Symlink("/tmp/roots", "/a/b/file", 0);
  auto walk = [&](std::string_view path) { return vfs_->Walk(As(alice_), At(path), 0); };
  EXPECT_THAT(walk("/tmp/bobs"), FailsWith(EACCES));
  EXPECT_THAT(walk("/tmp/alices"), Succeeds());
  EXPECT_THAT(walk("/tmp/roots"), Succeeds()) << "the directory's owner's links are followed";
  EXPECT_THAT(Walk("/tmp/bobs"), FailsWith(EACCES)) << "root too";
  EXPECT_THAT(vfs_->Walk(As(alice_), At("/tmp/bobs"), Vfs::kNoFollow), Succeeds());
  Symlink("/tmp/dir", "/a/b", 1001);
  EXPECT_THAT(walk("/tmp/dir/file"), Succeeds()) << "only the last component is protected";
  Own("/tmp", 0777, 0, 0);
  EXPECT_THAT(walk("/tmp/bobs"), Succeeds());
}

TEST_F(PathWalkTest, ResolveNoSymlinks) {
  EXPECT_THAT(Walk("/to_b", RESOLVE_NO_SYMLINKS), FailsWith(ELOOP));
  EXPECT_THAT(Walk("/to_b/c", RESOLVE_NO_SYMLINKS), FailsWith(ELOOP));
  EXPECT_THAT(Walk("/to_b", RESOLVE_NO_SYMLINKS, Vfs::kNoFollow), Succeeds());
  EXPECT_THAT(Walk("/a/b/c", RESOLVE_NO_SYMLINKS), Succeeds());
}

TEST_F(PathWalkTest, ResolveBeneath) {
  cwd_ = PathAt("/a");
  EXPECT_EQ(WalkText("b/c", RESOLVE_BENEATH), "/a/b/c");
  EXPECT_EQ(WalkText("b/../b", RESOLVE_BENEATH), "/a/b");
  EXPECT_THAT(Walk("..", RESOLVE_BENEATH), FailsWith(EXDEV));
  EXPECT_THAT(Walk("b/../..", RESOLVE_BENEATH), FailsWith(EXDEV));
  EXPECT_THAT(Walk("/a", RESOLVE_BENEATH), FailsWith(EXDEV));
  EXPECT_THAT(Walk("up", RESOLVE_BENEATH), FailsWith(EXDEV)) << "the link leads out first";
  Symlink("/a/absolute", "/a/b");
  EXPECT_THAT(Walk("absolute", RESOLVE_BENEATH), FailsWith(EXDEV));
}

TEST_F(PathWalkTest, ResolveInRoot) {
  cwd_ = PathAt("/a");
  EXPECT_EQ(WalkText("/b/c", RESOLVE_IN_ROOT), "/a/b/c");
  EXPECT_EQ(WalkText("../../..", RESOLVE_IN_ROOT), "/a");
  EXPECT_EQ(WalkText("../b", RESOLVE_IN_ROOT), "/a/b");
  Symlink("/a/absolute", "/b/c");
  EXPECT_EQ(WalkText("absolute", RESOLVE_IN_ROOT), "/a/b/c");
  EXPECT_THAT(Walk("/a", RESOLVE_IN_ROOT), FailsWith(ENOENT));
}

TEST_F(PathWalkTest, ResolveCached) {
  EXPECT_THAT(Walk("/a/b/unseen", RESOLVE_CACHED), FailsWith(EAGAIN));
  EXPECT_THAT(Walk("/a/b/unseen"), FailsWith(ENOENT));
  EXPECT_THAT(Walk("/a/b/unseen", RESOLVE_CACHED), FailsWith(ENOENT));
  EXPECT_THAT(Walk("/a/b/file", RESOLVE_CACHED), Succeeds());
}

TEST_F(PathWalkTest, MountsAndNoXdev) {
  auto other = MakeRef<TestFileSystem>();
  ASSERT_THAT(mounts_->Attach(PathAt("/a/b"), other, vfs_->RootDentry(other), 0), Succeeds());
  EXPECT_THAT(Walk("/a/b/c"), FailsWith(ENOENT));
  Directory("/a/b/inner");
  ExpectWalk("/a/b/inner", "/a/b/inner");
  ExpectWalk("/a/b/inner/../..", "/a");
  ExpectWalk("/a/b/..", "/a");
  EXPECT_EQ(vfs_->Walk(As(super_), At("/a/b"), 0)->mount->parent(), root_.mount.get());
  EXPECT_EQ(vfs_->Walk(As(super_), At("/a/b"), Vfs::kNoMountPoint)->mount, root_.mount);
  EXPECT_THAT(Walk("/a/b", RESOLVE_NO_XDEV), FailsWith(EXDEV));
  EXPECT_THAT(Walk("/a/b/inner", RESOLVE_NO_XDEV), FailsWith(EXDEV));
  EXPECT_THAT(Walk("/a", RESOLVE_NO_XDEV), Succeeds());
  cwd_ = PathAt("/a/b/inner");
  EXPECT_THAT(Walk("../..", RESOLVE_NO_XDEV), FailsWith(EXDEV));
  EXPECT_THAT(Walk("..", RESOLVE_NO_XDEV), Succeeds());
  EXPECT_THAT(Walk("/a", RESOLVE_NO_XDEV), Succeeds()) << "where an absolute path starts does not count";
}

TEST_F(PathWalkTest, NoSymfollowMount) {
  ASSERT_THAT(mounts_->Remount(root_, MS_NOSYMFOLLOW), Succeeds());
  EXPECT_THAT(Walk("/to_b"), FailsWith(ELOOP));
  EXPECT_THAT(Walk("/to_b/c"), FailsWith(ELOOP));
  EXPECT_THAT(Walk("/to_b", 0, Vfs::kNoFollow), Succeeds());
  EXPECT_THAT(vfs_->ReadLink(As(super_), PathAt("/to_b")), Succeeds());
}

TEST_F(PathWalkTest, MagicLinks) {
  Symlink("/magic", "shown:[1]");
  const Path c = PathAt("/a/b/c");
  InodeAt("/magic").follow = [&c](Path& path) -> Result<UniqueFd> {
    path = c;
    return UniqueFd();
  };
  ExpectWalk("/magic", "/a/b/c");
  ExpectWalk("/magic/..", "/a/b");
  EXPECT_THAT(Walk("/magic", RESOLVE_NO_MAGICLINKS), FailsWith(ELOOP));
  EXPECT_THAT(Walk("/magic", RESOLVE_NO_SYMLINKS), FailsWith(ELOOP));
  EXPECT_THAT(Walk("magic", RESOLVE_BENEATH), FailsWith(EXDEV));
  EXPECT_THAT(Walk("magic", RESOLVE_IN_ROOT), FailsWith(EXDEV));
  EXPECT_EQ(*vfs_->ReadLink(As(super_), PathAt("/magic")), "shown:[1]");
}

TEST_F(PathWalkTest, MagicLinkToNativeObject) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  UniqueFd reader(ends[0]), writer(ends[1]);
  Symlink("/pipe", "pipe:[5]");
  InodeAt("/pipe").follow = [&](Path&) -> Result<UniqueFd> { return UniqueFd(::dup(writer.get())); };
  auto found = vfs_->Walk(As(alice_), At("/pipe"), 0);
  ASSERT_THAT(found, Succeeds());
  EXPECT_EQ(found->inode()->type(), uint32_t{S_IFIFO});
  auto status = vfs_->Stat(*found);
  ASSERT_THAT(status, Succeeds());
  EXPECT_EQ(status->st_uid, 1000u);
  EXPECT_THAT(vfs_->PathText(*found, root_), ::testing::StartsWith("pipe:["));
  auto opened = Open(alice_, "/pipe", O_WRONLY);
  ASSERT_THAT(opened, Succeeds());
  EXPECT_FALSE(opened->path);
  ASSERT_EQ(::write(opened->fd.get(), "x", 1), 1);
  char byte;
  EXPECT_EQ(::read(reader.get(), &byte, 1), 1);
  EXPECT_THAT(Open(alice_, "/pipe", O_RDONLY), FailsWith(EACCES)) << "the other end was not given";
}

TEST_F(PathWalkTest, ReopeningAHostFileGivesNoMoreRights) {
  UniqueFd read_only(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  Symlink("/stdin", "x");
  InodeAt("/stdin").follow = [&](Path&) -> Result<UniqueFd> { return UniqueFd(::dup(read_only.get())); };
  EXPECT_THAT(Open(super_, "/stdin", O_RDONLY), Succeeds());
  EXPECT_THAT(Open(super_, "/stdin", O_RDWR), FailsWith(EACCES));
  EXPECT_THAT(Open(super_, "/stdin", O_RDONLY | O_TRUNC), FailsWith(EACCES));
}

}  // namespace
}  // namespace usl::vfs
