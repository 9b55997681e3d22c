#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <sys/sysmacros.h>

#include <cstring>

#include "vfs/device_table.h"
#include "vfs/handle_table.h"
#include "vfs/vfs_fixture.h"

namespace usl::vfs {
namespace {

class OpenTest : public VfsFixture {
 protected:
  OpenTest() {
    Directory("/d");
    File("/f");
    Symlink("/l", "f");
    Symlink("/dangling", "d/made");
    Symlink("/to_d", "d");
  }
  static int StatusFlags(const OpenedFile& file) { return ::fcntl(file.fd.get(), F_GETFL); }
};

TEST_F(OpenTest, ReadAndWriteTheFile) {
  auto writer = Open(super_, "/f", O_WRONLY);
  ASSERT_THAT(writer, Succeeds());
  EXPECT_EQ(StatusFlags(*writer) & O_ACCMODE, O_WRONLY);
  ASSERT_EQ(::write(writer->fd.get(), "hello", 5), 5);
  auto reader = Open(super_, "/l", O_RDONLY);
  ASSERT_THAT(reader, Succeeds());
  char text[8];
  EXPECT_EQ(::read(reader->fd.get(), text, sizeof text), 5);
  EXPECT_EQ(vfs_->PathText(reader->path, root_), "/f");
  EXPECT_EQ(vfs_->Stat(PathAt("/f"))->st_size, 5);
  ASSERT_THAT(Open(super_, "/f", O_RDONLY | O_TRUNC), Succeeds());
  EXPECT_EQ(vfs_->Stat(PathAt("/f"))->st_size, 0);
  EXPECT_NE(::fcntl(reader->fd.get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(OpenTest, Create) {
  umask_ = 026;
  auto made = Open(super_, "/d/new", O_CREAT | O_RDWR, 0666);
  ASSERT_THAT(made, Succeeds());
  EXPECT_EQ(Mode("/d/new"), 0640u);
  EXPECT_THAT(Open(super_, "/d/new", O_CREAT | O_RDWR), Succeeds());
  EXPECT_THAT(Open(super_, "/d/new", O_CREAT | O_EXCL | O_RDWR), FailsWith(EEXIST));
  EXPECT_THAT(Open(super_, "/d", O_CREAT | O_EXCL | O_RDWR), FailsWith(EEXIST));
  EXPECT_THAT(Open(super_, "/d", O_CREAT), FailsWith(EISDIR));
  EXPECT_THAT(Open(super_, "/d/x/", O_CREAT), FailsWith(EISDIR));
  EXPECT_THAT(Open(super_, "/d/.", O_CREAT), FailsWith(EISDIR));
  EXPECT_THAT(Open(super_, "/", O_CREAT), FailsWith(EISDIR));
  EXPECT_THAT(Open(super_, "/d/no", O_RDWR), FailsWith(ENOENT));
  EXPECT_THAT(Open(super_, "/no/new", O_CREAT), FailsWith(ENOENT));
  EXPECT_THAT(Open(super_, "/f/new", O_CREAT), FailsWith(ENOTDIR));
  EXPECT_THAT(Open(super_, "/d", O_CREAT | O_DIRECTORY), FailsWith(EINVAL));
  EXPECT_THAT(Open(super_, "/d/read_only", O_CREAT | O_RDWR, 0), Succeeds())
      << "the creator's fd is not held to the mode";
}

TEST_F(OpenTest, CreateThroughLinks) {
  EXPECT_THAT(Open(super_, "/dangling", O_CREAT | O_EXCL), FailsWith(EEXIST));
  EXPECT_THAT(Open(super_, "/dangling", O_CREAT | O_NOFOLLOW), FailsWith(ELOOP));
  EXPECT_THAT(Open(super_, "/dangling", O_RDONLY), FailsWith(ENOENT));
  EXPECT_THAT(Open(super_, "/dangling", O_CREAT | O_RDWR), Succeeds());
  EXPECT_THAT(Walk("/d/made"), Succeeds());
  EXPECT_THAT(Open(super_, "/to_d/other", O_CREAT | O_EXCL | O_RDWR), Succeeds());
  EXPECT_THAT(Open(super_, "/l", O_CREAT | O_EXCL), FailsWith(EEXIST));
}

TEST_F(OpenTest, CreationPermission) {
  EXPECT_THAT(Open(alice_, "/d/new", O_CREAT | O_RDWR), FailsWith(EACCES));
  EXPECT_THAT(Open(alice_, "/f", O_CREAT | O_RDONLY), Succeeds()) << "exists: nothing is made";
  Own("/d", 0777, 0, 0);
  EXPECT_THAT(Open(alice_, "/d/new", O_CREAT | O_RDWR, 0400), Succeeds());
  EXPECT_THAT(Open(alice_, "/d/new", O_RDWR), FailsWith(EACCES));
  EXPECT_EQ(InodeAt("/d/new").attributes.uid, 1000u);
}

TEST_F(OpenTest, TypesAndNoFollow) {
  EXPECT_THAT(Open(super_, "/f", O_DIRECTORY), FailsWith(ENOTDIR));
  EXPECT_THAT(Open(super_, "/d", O_WRONLY), FailsWith(EISDIR));
  EXPECT_THAT(Open(super_, "/d", O_RDWR), FailsWith(EISDIR));
  EXPECT_THAT(Open(super_, "/d", O_RDONLY | O_TRUNC), FailsWith(EISDIR));
  EXPECT_THAT(Open(super_, "/d", O_RDONLY), Succeeds());
  EXPECT_THAT(Open(super_, "/d/", O_RDONLY | O_DIRECTORY), Succeeds());
  EXPECT_THAT(Open(super_, "/f/", O_RDONLY), FailsWith(ENOTDIR));
  EXPECT_THAT(Open(super_, "/l", O_RDONLY | O_NOFOLLOW), FailsWith(ELOOP));
  EXPECT_THAT(Open(super_, "/l", O_RDONLY | O_NOFOLLOW | O_DIRECTORY), FailsWith(ENOTDIR));
  EXPECT_THAT(Open(super_, "/to_d/", O_RDONLY | O_NOFOLLOW), Succeeds());
  Node("/sock", S_IFSOCK | 0777);
  EXPECT_THAT(Open(super_, "/sock", O_RDWR), FailsWith(ENXIO));
  EXPECT_THAT(Open(super_, "/sock", O_PATH), Succeeds());
}

TEST_F(OpenTest, Permission) {
  Own("/f", 0640, 1000, 50);
  EXPECT_THAT(Open(alice_, "/f", O_RDWR), Succeeds());
  EXPECT_THAT(Open(bob_, "/f", O_RDONLY), FailsWith(EACCES));
  const auto group = cred::UserCredentials(2000, 50, {});
  EXPECT_THAT(Open(group, "/f", O_RDONLY), Succeeds());
  EXPECT_THAT(Open(group, "/f", O_RDWR), FailsWith(EACCES));
  EXPECT_THAT(Open(group, "/f", O_RDONLY | O_TRUNC), FailsWith(EACCES));
  EXPECT_THAT(Open(group, "/f", O_ACCMODE), FailsWith(EACCES)) << "access mode 3 asks for both";
  EXPECT_THAT(Open(bob_, "/f", O_PATH), Succeeds()) << "O_PATH needs no permission on the file";
  EXPECT_THAT(Open(group, "/f", O_RDONLY | O_NOATIME), FailsWith(EPERM));
  EXPECT_THAT(Open(alice_, "/f", O_RDONLY | O_NOATIME), Succeeds());
  EXPECT_THAT(Open(super_, "/f", O_RDONLY | O_NOATIME), Succeeds());
}

TEST_F(OpenTest, ReadOnlyMountAndNodev) {
  Node("/null", S_IFCHR | 0666, makedev(1, 3));
  vfs_->devices().Register(S_IFCHR, makedev(1, 3), [](const Path&, int flags, const Context&) -> Result<UniqueFd> {
    return UniqueFd(::open("/dev/null", (flags & O_ACCMODE) | O_CLOEXEC));
  });
  ASSERT_THAT(mounts_->Remount(root_, MS_RDONLY), Succeeds());
  EXPECT_THAT(Open(super_, "/f", O_RDONLY), Succeeds());
  EXPECT_THAT(Open(super_, "/f", O_WRONLY), FailsWith(EROFS));
  EXPECT_THAT(Open(super_, "/f", O_RDONLY | O_TRUNC), FailsWith(EROFS));
  EXPECT_THAT(Open(bob_, "/f", O_WRONLY), FailsWith(EACCES)) << "before EROFS";
  EXPECT_THAT(Open(super_, "/d/new", O_CREAT | O_RDWR), FailsWith(EROFS));
  EXPECT_THAT(Open(super_, "/f", O_CREAT | O_RDONLY), Succeeds());
  EXPECT_THAT(Open(super_, "/null", O_RDWR), Succeeds()) << "devices are not files of the mount";
  ASSERT_THAT(mounts_->Remount(root_, MS_NODEV), Succeeds());
  EXPECT_THAT(Open(super_, "/null", O_RDWR), FailsWith(EACCES));
  EXPECT_THAT(Open(super_, "/null", O_PATH), Succeeds());
}

TEST_F(OpenTest, Devices) {
  Node("/c", S_IFCHR | 0600, makedev(9, 9));
  EXPECT_THAT(Open(super_, "/c", O_RDONLY), FailsWith(ENXIO));
  Path seen;
  vfs_->devices().Register(S_IFCHR, makedev(9, 9), [&](const Path& path, int, const Context&) -> Result<UniqueFd> {
    seen = path;
    return UniqueFd(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  });
  EXPECT_THAT(Open(alice_, "/c", O_RDONLY), FailsWith(EACCES));
  EXPECT_THAT(Open(super_, "/c", O_RDONLY | O_TRUNC), Succeeds()) << "O_TRUNC means nothing to a device";
  EXPECT_EQ(seen, PathAt("/c"));
  Node("/b", S_IFBLK | 0600, makedev(9, 9));
  EXPECT_THAT(Open(super_, "/b", O_RDONLY), FailsWith(ENXIO)) << "block devices have numbers of their own";
  vfs_->devices().Register(S_IFCHR, makedev(9, 9), {});
  EXPECT_THAT(Open(super_, "/c", O_RDONLY), FailsWith(ENXIO));
}

TEST_F(OpenTest, WritersLosePrivilegeBits) {
  auto after_open = [&](const cred::Credentials& who, mode_t mode, int flags) {
    Own("/f", mode, 0, 50);
    EXPECT_THAT(Open(who, "/f", flags), Succeeds());
    return Mode("/f");
  };
  EXPECT_EQ(after_open(bob_, 06777, O_WRONLY), 0777u);
  EXPECT_EQ(after_open(bob_, 06777, O_RDONLY), 06777u);
  EXPECT_EQ(after_open(bob_, 06777, O_RDONLY | O_TRUNC), 0777u);
  EXPECT_EQ(after_open(super_, 06777, O_RDWR), 06777u) << "CAP_FSETID";
  EXPECT_EQ(after_open(alice_, 02767, O_WRONLY), 02767u) << "no group execute, and in the group";
  EXPECT_EQ(after_open(bob_, 02767, O_WRONLY), 0767u);
  InodeAt("/f").xattrs["security.capability"] = std::vector<std::byte>(20);
  ASSERT_THAT(Open(super_, "/f", O_WRONLY), Succeeds());
  EXPECT_FALSE(InodeAt("/f").xattrs.contains("security.capability"));
}

TEST_F(OpenTest, TmpFile) {
  Own("/d", 0777, 0, 0);
  auto file = Open(alice_, "/d", O_TMPFILE | O_RDWR, 0666);
  ASSERT_THAT(file, Succeeds());
  EXPECT_EQ(file->path.inode()->GetAttributes()->mode, uint32_t{S_IFREG | 0644});
  EXPECT_THAT(vfs_->PathText(file->path, root_), ::testing::MatchesRegex("/d/#[0-9]+ \\(deleted\\)"));
  EXPECT_THAT(Open(alice_, "/d", O_TMPFILE | O_RDONLY), FailsWith(EINVAL));
  EXPECT_THAT(Open(alice_, "/f", O_TMPFILE | O_RDWR), FailsWith(ENOTDIR));
  EXPECT_THAT(Open(alice_, "/no", O_TMPFILE | O_RDWR), FailsWith(ENOENT));
  EXPECT_THAT(Open(alice_, "/", O_TMPFILE | O_RDWR), FailsWith(EACCES));
  EXPECT_THAT(Open(alice_, "/d", (O_TMPFILE & ~O_DIRECTORY) | O_RDWR), FailsWith(EINVAL));

  const FileIdentity identity = vfs_->Identify(file->fd.get());
  ASSERT_EQ(identity.inode, file->path.dentry->inode());
  EXPECT_THAT(vfs_->LinkInode(As(alice_), identity, At("/d/named")), FailsWith(ENOENT));
  EXPECT_THAT(vfs_->LinkInode(As(super_), identity, At("/d/named")), Succeeds());
  EXPECT_EQ(PathAt("/d/named").inode(), identity.inode.get());
  auto exclusive = Open(super_, "/d", O_TMPFILE | O_RDWR | O_EXCL);
  ASSERT_THAT(exclusive, Succeeds());
  EXPECT_THAT(vfs_->LinkInode(As(super_), vfs_->Identify(exclusive->fd.get()), At("/d/x")), FailsWith(ENOENT));
}

TEST_F(OpenTest, TmpFileGetsANameThroughProc) {
  auto file = Open(super_, "/d", O_TMPFILE | O_RDWR);
  ASSERT_THAT(file, Succeeds());
  Symlink("/fd3", "x");
  InodeAt("/fd3").follow = [&](Path& path) -> Result<UniqueFd> {
    path = file->path;
    return UniqueFd();
  };
  EXPECT_THAT(vfs_->Link(As(super_), At("/fd3"), At("/d/named"), AT_SYMLINK_FOLLOW), Succeeds());
  EXPECT_THAT(Walk("/d/named"), Succeeds());
}

TEST_F(OpenTest, RemovedFileCannotBeLinkedAgain) {
  const FileIdentity identity = Identity("/f");
  ASSERT_THAT(vfs_->Unlink(As(super_), At("/f")), Succeeds());
  EXPECT_THAT(vfs_->LinkInode(As(super_), identity, At("/back")), FailsWith(ENOENT));
}

TEST_F(OpenTest, RemovedFileIsReopenedByItsDescriptor) {
  auto file = Open(super_, "/f", O_RDWR);
  ASSERT_THAT(file, Succeeds());
  Symlink("/fd3", "x");
  InodeAt("/fd3").follow = [&](Path& path) -> Result<UniqueFd> {
    path = file->path;
    return UniqueFd(::dup(file->fd.get()));
  };
  Own("/f", 0600, 0, 0);
  ASSERT_THAT(vfs_->Unlink(As(super_), At("/f")), Succeeds());
  EXPECT_THAT(Open(super_, "/fd3", O_RDWR), Succeeds());
  EXPECT_THAT(Open(bob_, "/fd3", O_RDONLY), FailsWith(EACCES));
}

TEST_F(OpenTest, ProtectedRegularAndFifos) {
  Directory("/tmp", 01777);
  File("/tmp/bobs", 0666, 1001, 1001);
  File("/tmp/roots", 0666, 0, 0);
  EXPECT_THAT(Open(alice_, "/tmp/bobs", O_RDWR | O_CREAT), FailsWith(EACCES));
  EXPECT_THAT(Open(alice_, "/tmp/bobs", O_RDWR), Succeeds());
  EXPECT_THAT(Open(alice_, "/tmp/roots", O_RDWR | O_CREAT), Succeeds());
  EXPECT_THAT(Open(super_, "/tmp/bobs", O_RDWR | O_CREAT), FailsWith(EACCES)) << "root too";
  Node("/tmp/fifo", S_IFIFO | 0666);
  Own("/tmp/fifo", 0666, 1001, 1001);
  EXPECT_THAT(Open(alice_, "/tmp/fifo", O_RDWR | O_CREAT), FailsWith(EACCES));
  Own("/tmp", 01770, 0, 1000);
  EXPECT_THAT(Open(alice_, "/tmp/bobs", O_RDWR | O_CREAT), FailsWith(EACCES)) << "group-writable: regular files";
  EXPECT_THAT(Open(alice_, "/tmp/fifo", O_RDWR | O_CREAT), Succeeds()) << "but not FIFOs at level 1";
}

TEST_F(OpenTest, OpenHowIsChecked) {
  auto check = [](uint64_t flags, uint64_t mode, uint64_t resolve) {
    open_how how{.flags = flags, .mode = mode, .resolve = resolve};
    return Vfs::CheckOpenHow(how);
  };
  EXPECT_THAT(check(O_RDONLY | O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_XDEV), Succeeds());
  EXPECT_THAT(check(uint64_t{1} << 32, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(check(uint64_t{1} << 27, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(check(O_RDONLY, 0, 0x40), FailsWith(EINVAL));
  EXPECT_THAT(check(O_RDONLY, 0, RESOLVE_BENEATH | RESOLVE_IN_ROOT), FailsWith(EINVAL));
  EXPECT_THAT(check(O_RDONLY, 0644, 0), FailsWith(EINVAL));
  EXPECT_THAT(check(O_CREAT, 0644, 0), Succeeds());
  EXPECT_THAT(check(O_CREAT, 010644, 0), FailsWith(EINVAL));
  EXPECT_THAT(check(O_CREAT | O_DIRECTORY, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(check(O_PATH | O_RDWR, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(check(O_PATH | O_NOFOLLOW | O_DIRECTORY, 0, 0), Succeeds());
  EXPECT_THAT(check(O_TMPFILE | O_RDWR, 0600, 0), Succeeds());
  EXPECT_THAT(check(O_TMPFILE, 0600, 0), FailsWith(EINVAL));
  EXPECT_THAT(Open(super_, "/f", O_RDWR | O_TRUNC, 0, RESOLVE_CACHED), FailsWith(EAGAIN));
  EXPECT_THAT(Open(super_, "/f", O_RDWR | (1 << 30)), Succeeds()) << "open(2) ignores unknown bits";
  EXPECT_THAT(Open(super_, "/f", O_PATH | O_RDWR | O_CREAT | O_EXCL), Succeeds()) << "and what O_PATH does not know";
}

TEST_F(OpenTest, PathDescriptorsOfAnything) {
  Node("/fifo", S_IFIFO | 0600);
  for (std::string_view name : {"/f", "/d", "/fifo", "/l"}) {
    auto opened = Open(bob_, name, O_PATH | O_NOFOLLOW);
    ASSERT_THAT(opened, Succeeds()) << name;
    EXPECT_NE(StatusFlags(*opened) & O_PATH, 0) << name;
    EXPECT_EQ(vfs_->Identify(opened->fd.get()).path, PathAt(name)) << name;
  }
}

TEST_F(OpenTest, IdentifyFiles) {
  auto file = Open(super_, "/f", O_RDONLY);
  ASSERT_THAT(file, Succeeds());
  FileIdentity identity = vfs_->Identify(file->fd.get());
  EXPECT_EQ(identity.path, PathAt("/f"));
  EXPECT_EQ(identity.inode.get(), PathAt("/f").inode());
  ASSERT_THAT(vfs_->Unlink(As(super_), At("/f")), Succeeds());
  identity = vfs_->Identify(file->fd.get(), mounts_.get());
  ASSERT_TRUE(identity.inode);
  EXPECT_THAT(vfs_->PathText(identity.path, root_), ::testing::EndsWith(" (deleted)"));
  EXPECT_FALSE(vfs_->Identify(0).inode);
  EXPECT_FALSE(vfs_->Identify(-1).inode);
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  UniqueFd reader(ends[0]), writer(ends[1]);
  EXPECT_FALSE(vfs_->Identify(reader.get()).inode);
}

TEST_F(OpenTest, DirectoryHandles) {
  File("/d/one");
  File("/d/two");
  auto opened = Open(super_, "/d", O_RDONLY | O_DIRECTORY);
  ASSERT_THAT(opened, Succeeds());
  const FileIdentity identity = vfs_->Identify(opened->fd.get());
  EXPECT_EQ(identity.path, PathAt("/d"));
  EXPECT_EQ(vfs_->handles().size(), 1u);

  struct Names : DirectorySink {
    bool Add(std::string_view name, uint64_t, unsigned char, int64_t) override {
      if (names.size() == room) return false;
      names.emplace_back(name);
      return true;
    }
    size_t room = 3;
    std::vector<std::string> names;
  };
  Names first, second, end;
  ASSERT_THAT(vfs_->ReadDirectory(identity, opened->fd.get(), first), Succeeds());
  ASSERT_THAT(vfs_->ReadDirectory(identity, opened->fd.get(), second), Succeeds());
  ASSERT_THAT(vfs_->ReadDirectory(identity, opened->fd.get(), end), Succeeds());
  EXPECT_THAT(first.names, ::testing::ElementsAre(".", "..", "one"));
  EXPECT_THAT(second.names, ::testing::ElementsAre("two"));
  EXPECT_TRUE(end.names.empty());

  auto second_open = Open(super_, "/d", O_RDONLY | O_DIRECTORY);
  ASSERT_THAT(second_open, Succeeds());
  EXPECT_EQ(vfs_->handles().size(), 1u) << "one host directory for each place";
  EXPECT_EQ(::lseek(second_open->fd.get(), 0, SEEK_CUR), 0) << "but a cursor for each open";
  second_open->fd.Reset();

  // The entry ends with the last duplicate, wherever that is.
  UniqueFd duplicate(::dup(opened->fd.get()));
  opened->fd.Reset();
  vfs_->handles().Trim(0);
  EXPECT_EQ(vfs_->handles().size(), 1u);
  EXPECT_EQ(vfs_->Identify(duplicate.get()).path, PathAt("/d"));
  duplicate.Reset();
  vfs_->handles().Collect();
  EXPECT_EQ(vfs_->handles().size(), 0u);
  EXPECT_TRUE(std::filesystem::is_empty(runtime_ + "/handles"));
}

TEST_F(OpenTest, HandlesKeepTheirMount) {
  tests_->has_host_directories = true;
  Directory("/bound");
  ASSERT_THAT(mounts_->Bind(PathAt("/d"), PathAt("/bound"), false), Succeeds());
  auto direct = Open(super_, "/d", O_RDONLY);
  ASSERT_THAT(direct, Succeeds());
  EXPECT_EQ(vfs_->handles().size(), 0u) << "the primary mount's directories are the file system's own";
  auto opened = Open(super_, "/bound", O_RDONLY);
  ASSERT_THAT(opened, Succeeds());
  EXPECT_EQ(vfs_->handles().size(), 1u);
  const FileIdentity identity = vfs_->Identify(opened->fd.get());
  EXPECT_EQ(vfs_->PathText(identity.path, root_), "/bound");
  EXPECT_EQ(vfs_->PathText(vfs_->Walk(As(super_), {.at = identity.path, .path = ".."}, 0).value(), root_), "/");
}

TEST_F(OpenTest, ManyHandles) {
  std::vector<UniqueFd> open;
  for (int i = 0; i < 1500; ++i) {
    Directory("/d/" + std::to_string(i));
    auto opened = Open(super_, "/d/" + std::to_string(i), O_RDONLY);
    ASSERT_THAT(opened, Succeeds());
    if (i % 3 == 0) open.push_back(std::move(opened->fd));
  }
  EXPECT_LE(vfs_->handles().size(), 512u + 500u);
  for (size_t i = 0; i < open.size(); ++i) {
    EXPECT_EQ(vfs_->Identify(open[i].get()).path, PathAt("/d/" + std::to_string(3 * i)));
  }
  open.clear();
  vfs_->handles().Trim(0);
  EXPECT_EQ(vfs_->handles().size(), 0u);
}

TEST_F(OpenTest, LeftoversOfAKilledInstanceAreRemoved) {
  const std::string runtime = runtime_ + "/again";
  ASSERT_TRUE(std::filesystem::create_directories(runtime + "/handles/1"));
  ASSERT_EQ(::mkdir((runtime + "/fifos").c_str(), 0700), 0);
  ASSERT_EQ(::mkfifo((runtime + "/fifos/1").c_str(), 0600), 0);
  auto second = Vfs::Create(runtime);
  ASSERT_THAT(second, Succeeds());
  EXPECT_TRUE(std::filesystem::is_empty(runtime + "/handles"));
  EXPECT_TRUE(std::filesystem::is_empty(runtime + "/fifos"));
  second->reset();
  ASSERT_EQ(::rename((runtime + "/fifos").c_str(), (runtime + "/x").c_str()), 0);
  ASSERT_EQ(::symlink("x", (runtime + "/fifos").c_str()), 0);
  EXPECT_THAT(Vfs::Create(runtime), FailsWith(ENOTDIR));
}

TEST_F(OpenTest, HandlesOfWhatIsGone) {
  auto opened = Open(super_, "/d", O_RDONLY);
  ASSERT_THAT(opened, Succeeds());
  const Path removed = opened->path;
  ASSERT_THAT(vfs_->RemoveDirectory(As(super_), At("/d")), Succeeds());
  Directory("/d");
  EXPECT_EQ(vfs_->Identify(opened->fd.get()).path, removed);
  auto again = Open(super_, "/d", O_RDONLY);
  ASSERT_THAT(again, Succeeds());
  EXPECT_NE(vfs_->Identify(again->fd.get()).path, removed) << "a new directory of the same name";
  opened->fd.Reset();
  vfs_->CollectUnused();
  EXPECT_EQ(vfs_->handles().size(), 1u);
}

}  // namespace
}  // namespace usl::vfs
