// open(2)'s flags one by one, openat2(2)'s RESOLVE_*, O_TMPFILE, O_PATH, and what may not be opened.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

int Open2(int dirfd, const std::string& path, uint64_t flags, uint64_t resolve, uint64_t mode = 0) {
  open_how how{.flags = flags, .mode = mode, .resolve = resolve};
  return static_cast<int>(syscall(SYS_openat2, dirfd, path.c_str(), &how, sizeof how));
}

TEST(OpenFlags, ThatDoNotGoTogether) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  EXPECT_THAT(open(path.c_str(), O_CREAT | O_DIRECTORY, 0600), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(open((dir / "new").c_str(), O_CREAT | O_DIRECTORY, 0600), SyscallFailsWithErrno(EINVAL));
  EXPECT_FALSE(Exists(dir / "new"));
  EXPECT_THAT(open(dir.path().c_str(), O_TMPFILE | O_RDONLY, 0600), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(open(dir.path().c_str(), (O_TMPFILE & ~O_DIRECTORY) | O_RDWR, 0600), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(open(path.c_str(), O_TMPFILE | O_RDWR, 0600), SyscallFailsWithErrno(ENOTDIR));
  EXPECT_THAT(open((dir / "missing").c_str(), O_TMPFILE | O_RDWR, 0600), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(openat(900, "x", O_CREAT | O_DIRECTORY, 0600), SyscallFailsWithErrno(EINVAL)) << "before the descriptor";
  // Unknown bits are ignored by open and refused by openat2.
  EXPECT_THAT(Fd(open(path.c_str(), O_RDONLY | (1 << 30))).get(), SyscallSucceeds());
  EXPECT_THAT(Open2(AT_FDCWD, path, 1u << 30, 0), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(Open2(AT_FDCWD, path, O_PATH | O_RDWR, 0), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(Open2(AT_FDCWD, path, O_RDONLY, 0, 0600), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(Open2(AT_FDCWD, dir / "new", O_CREAT | O_WRONLY, 0, 0170000), SyscallFailsWithErrno(EINVAL));
}

TEST(OpenFlags, AreToldAgain) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  constexpr int kLargeFile = 0100000;
  for (int flags : {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_APPEND, O_RDONLY | O_NONBLOCK, O_RDWR | O_DSYNC,
                    O_RDWR | O_SYNC, O_RDONLY | O_NOATIME, 3}) {
    const Fd fd(open(path.c_str(), flags));
    ASSERT_THAT(fd.get(), SyscallSucceeds());
    EXPECT_EQ(fcntl(fd.get(), F_GETFL) & ~kLargeFile, flags) << std::oct << flags;
  }
  const Fd created(open((dir / "new").c_str(), O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | O_RDWR, 0600));
  EXPECT_EQ(fcntl(created.get(), F_GETFL) & ~kLargeFile, O_RDWR);
  const Fd directory(open(dir.path().c_str(), O_RDONLY | O_DIRECTORY | O_NONBLOCK));
  EXPECT_EQ(fcntl(directory.get(), F_GETFL) & ~kLargeFile, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
}

TEST(OpenFlags, AppendAndTruncate) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "0123456789");
  const Fd append(open(path.c_str(), O_RDWR | O_APPEND));
  ASSERT_THAT(pwrite(append.get(), "ab", 2, 0), SyscallSucceedsWithValue(2));
  EXPECT_EQ(ReadFile(path), "0123456789ab") << "pwrite appends too, on Linux";
  ASSERT_THAT(fcntl(append.get(), F_SETFL, 0), SyscallSucceeds());
  ASSERT_THAT(pwrite(append.get(), "X", 1, 0), SyscallSucceedsWithValue(1));
  EXPECT_EQ(ReadFile(path), "X123456789ab");
  EXPECT_THAT(Fd(open(path.c_str(), O_RDONLY | O_TRUNC)).get(), SyscallSucceeds());
  EXPECT_EQ(StatOf(path).st_size, 0);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open(path.c_str(), O_RDONLY | O_TRUNC); }), EACCES);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open((dir / "n").c_str(), O_CREAT | O_RDWR, 0); }), 0);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open((dir / "n").c_str(), O_CREAT | O_RDWR, 0); }), EACCES);
  EXPECT_THAT(open(dir.path().c_str(), O_RDONLY | O_TRUNC), SyscallFailsWithErrno(EISDIR));
  EXPECT_THAT(open(dir.path().c_str(), O_RDONLY | O_CREAT, 0600), SyscallFailsWithErrno(EISDIR));
  EXPECT_THAT(open(dir.path().c_str(), 3), SyscallFailsWithErrno(EISDIR));
}

TEST(OpenFlags, CreatingThroughLinks) {
  const TempDirectory dir;
  ASSERT_THAT(symlink("made", (dir / "l").c_str()), SyscallSucceeds());
  ASSERT_THAT(symlink("missing/x", (dir / "bad").c_str()), SyscallSucceeds());
  EXPECT_THAT(open((dir / "l").c_str(), O_CREAT | O_EXCL | O_RDWR, 0600), SyscallFailsWithErrno(EEXIST));
  EXPECT_THAT(open((dir / "l").c_str(), O_CREAT | O_NOFOLLOW | O_RDWR, 0600), SyscallFailsWithErrno(ELOOP));
  EXPECT_THAT(open((dir / "bad").c_str(), O_CREAT | O_RDWR, 0600), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(Fd(open((dir / "l").c_str(), O_CREAT | O_RDWR, 0600)).get(), SyscallSucceeds());
  EXPECT_TRUE(S_ISREG(StatOf(dir / "made").st_mode));
  EXPECT_THAT(open((dir / "l").c_str(), O_NOFOLLOW | O_RDONLY), SyscallFailsWithErrno(ELOOP));
  EXPECT_THAT(open((dir / "l").c_str(), O_NOFOLLOW | O_DIRECTORY), SyscallFailsWithErrno(ENOTDIR));
}

TEST(OpenFlags, NodesWithoutADevice) {
  const TempDirectory dir;
  ASSERT_THAT(mknod((dir / "s").c_str(), S_IFSOCK | 0666, 0), SyscallSucceeds());
  EXPECT_THAT(open((dir / "s").c_str(), O_RDONLY), SyscallFailsWithErrno(ENXIO));
  EXPECT_THAT(Fd(open((dir / "s").c_str(), O_PATH)).get(), SyscallSucceeds());
  ASSERT_THAT(mkfifo((dir / "p").c_str(), 0600), SyscallSucceeds());
  EXPECT_THAT(open((dir / "p").c_str(), O_WRONLY | O_NONBLOCK), SyscallFailsWithErrno(ENXIO));
  EXPECT_THAT(open((dir / "p").c_str(), O_RDONLY | O_DIRECTORY), SyscallFailsWithErrno(ENOTDIR));
}

// Two nodes of one device are two files, also for who has them open.
TEST(OpenFlags, ADescriptorOfADeviceIsOfItsNode) {
  const TempDirectory dir;
  ASSERT_THAT(mknod((dir / "null").c_str(), S_IFCHR | 0644, makedev(1, 3)), SyscallSucceeds());
  ASSERT_THAT(mknod((dir / "other").c_str(), S_IFCHR | 0600, makedev(1, 3)), SyscallSucceeds());
  const Fd fd(open((dir / "null").c_str(), O_RDWR));
  if (fd.get() < 0 && errno == EACCES) GTEST_SKIP() << "mounted nodev";
  ASSERT_THAT(fd.get(), SyscallSucceeds());
  const Fd other(open((dir / "other").c_str(), O_RDWR)), usual(open("/dev/null", O_RDWR));
  struct stat of_fd, of_other, of_usual;
  ASSERT_THAT(fstat(fd.get(), &of_fd), SyscallSucceeds());
  ASSERT_THAT(fstat(other.get(), &of_other), SyscallSucceeds());
  ASSERT_THAT(fstat(usual.get(), &of_usual), SyscallSucceeds());
  EXPECT_EQ(of_fd.st_ino, StatOf(dir / "null").st_ino);
  EXPECT_EQ(of_other.st_ino, StatOf(dir / "other").st_ino);
  EXPECT_EQ(of_usual.st_ino, StatOf("/dev/null").st_ino);
  EXPECT_EQ(of_fd.st_rdev, makedev(1, 3));
  // A duplicate is of the same one, and changes go to it.
  const Fd same(dup(fd.get()));
  ASSERT_THAT(fchmod(same.get(), 0640), SyscallSucceeds());
  EXPECT_EQ(StatOf(dir / "null").st_mode & 07777, 0640u);
  EXPECT_EQ(StatOf(dir / "other").st_mode & 07777, 0600u);
  EXPECT_EQ(StatOf("/dev/null").st_mode, of_usual.st_mode);
}

TEST(OpenFlags, ARunningProgramIsBusy) {
  const TempDirectory dir;
  const std::string program = dir / "program";
  const std::string image = ReadFile("/proc/self/exe");
  dir.File("program", image, 0755);
  // The copy of this binary lists its tests into a pipe that is full; the other pipe ends when it has started.
  int full[2], started[2];
  ASSERT_THAT(pipe(full), SyscallSucceeds());
  ASSERT_THAT(pipe2(started, O_CLOEXEC), SyscallSucceeds());
  const std::string filling(static_cast<size_t>(fcntl(full[1], F_GETPIPE_SZ)), 'x');
  ASSERT_THAT(write(full[1], filling.data(), filling.size()), SyscallSucceedsWithValue(filling.size()));
  const pid_t child = fork();
  if (child == 0) {
    dup2(full[1], 1);
    close(full[0]);
    execl(program.c_str(), "program", "--gtest_list_tests", nullptr);
    _exit(127);
  }
  close(full[1]);
  close(started[1]);
  char byte;
  ASSERT_THAT(read(started[0], &byte, 1), SyscallSucceedsWithValue(0));
  EXPECT_THAT(open(program.c_str(), O_WRONLY), SyscallFailsWithErrno(ETXTBSY));
  EXPECT_THAT(truncate(program.c_str(), 0), SyscallFailsWithErrno(ETXTBSY));
  EXPECT_THAT(Fd(open(program.c_str(), O_RDONLY)).get(), SyscallSucceeds());
  EXPECT_THAT(unlink(program.c_str()), SyscallSucceeds());
  close(full[0]);
  close(started[0]);
  waitpid(child, nullptr, 0);
  // And what is open for writing does not run.
  const std::string other = dir.File("other", image, 0755);
  const Fd writer(open(other.c_str(), O_WRONLY));
  EXPECT_EQ(ErrnoAs(kUser, [&] { return execl(other.c_str(), "other", "--gtest_list_tests", nullptr); }), ETXTBSY);
}

TEST(UnnamedFiles, AreNowhereUntilLinked) {
  const TempDirectory dir;
  const ScopedUmask mask(022);
  const Fd fd(open(dir.path().c_str(), O_TMPFILE | O_RDWR, 0666));
  ASSERT_THAT(fd.get(), SyscallSucceeds());
  struct stat status;
  ASSERT_THAT(fstat(fd.get(), &status), SyscallSucceeds());
  EXPECT_EQ(status.st_nlink, 0u);
  EXPECT_EQ(status.st_mode, S_IFREG | 0644u);
  EXPECT_EQ(StatOf(dir.path()).st_nlink, 2u);
  ASSERT_THAT(write(fd.get(), "data", 4), SyscallSucceedsWithValue(4));
  ASSERT_THAT(fsetxattr(fd.get(), "user.a", "1", 1, 0), SyscallSucceeds());
  ASSERT_THAT(fchown(fd.get(), kUser, kGroup), SyscallSucceeds());
  const std::string magic = "/proc/self/fd/" + std::to_string(fd.get());
  ASSERT_THAT(linkat(AT_FDCWD, magic.c_str(), AT_FDCWD, (dir / "f").c_str(), AT_SYMLINK_FOLLOW), SyscallSucceeds());
  EXPECT_EQ(ReadFile(dir / "f"), "data");
  EXPECT_EQ(StatOf(dir / "f").st_uid, kUser);
  EXPECT_EQ(StatOf(dir / "f").st_ino, status.st_ino);
  EXPECT_THAT(getxattr((dir / "f").c_str(), "user.a", nullptr, 0), SyscallSucceedsWithValue(1));
  ASSERT_THAT(linkat(fd.get(), "", AT_FDCWD, (dir / "g").c_str(), AT_EMPTY_PATH), SyscallSucceeds());
  EXPECT_EQ(StatOf(dir / "g").st_nlink, 2u);
  EXPECT_THAT(linkat(fd.get(), "", AT_FDCWD, (dir / "g").c_str(), AT_EMPTY_PATH), SyscallFailsWithErrno(EEXIST));
  // All names gone again: now it is removed for good.
  ASSERT_THAT(unlink((dir / "f").c_str()), SyscallSucceeds());
  ASSERT_THAT(unlink((dir / "g").c_str()), SyscallSucceeds());
  EXPECT_THAT(linkat(fd.get(), "", AT_FDCWD, (dir / "h").c_str(), AT_EMPTY_PATH), SyscallFailsWithErrno(ENOENT));
}

TEST(UnnamedFiles, ExclusiveOnesNeverGetAName) {
  const TempDirectory dir;
  const Fd fd(open(dir.path().c_str(), O_TMPFILE | O_EXCL | O_RDWR, 0600));
  ASSERT_THAT(fd.get(), SyscallSucceeds());
  const std::string magic = "/proc/self/fd/" + std::to_string(fd.get());
  EXPECT_THAT(linkat(AT_FDCWD, magic.c_str(), AT_FDCWD, (dir / "f").c_str(), AT_SYMLINK_FOLLOW),
              SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(linkat(fd.get(), "", AT_FDCWD, (dir / "f").c_str(), AT_EMPTY_PATH), SyscallFailsWithErrno(ENOENT));
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open(dir.path().c_str(), O_TMPFILE | O_RDWR, 0600); }), 0);
  const std::string closed = dir.Directory("closed", 0755);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open(closed.c_str(), O_TMPFILE | O_RDWR, 0600); }), EACCES);
}

TEST(PathOnly, IsForNamingOnly) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "x", 0);
  const Fd fd(open(path.c_str(), O_PATH));
  ASSERT_THAT(fd.get(), SyscallSucceeds());
  char byte;
  struct stat status;
  EXPECT_THAT(read(fd.get(), &byte, 1), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(write(fd.get(), &byte, 1), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(fchmod(fd.get(), 0600), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(fchown(fd.get(), 1, 1), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(fgetxattr(fd.get(), "user.a", nullptr, 0), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(fsetxattr(fd.get(), "user.a", "1", 1, 0), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(futimens(fd.get(), nullptr), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(fstat(fd.get(), &status), SyscallSucceeds());
  EXPECT_EQ(status.st_ino, StatOf(path).st_ino);
  EXPECT_THAT(fchownat(fd.get(), "", kUser, -1, AT_EMPTY_PATH), SyscallSucceeds());
  EXPECT_EQ(StatOf(path).st_uid, kUser);
  const std::string magic = "/proc/self/fd/" + std::to_string(fd.get());
  EXPECT_THAT(chmod(magic.c_str(), 0640), SyscallSucceeds());
  EXPECT_EQ(ModeOf(path), 0640u);
  EXPECT_EQ(ReadFile(magic), "x");
  // Permission is asked when it is reopened.
  EXPECT_EQ(ErrnoAs(kOtherUser, [&] { return open(magic.c_str(), O_RDONLY); }), EACCES);
}

TEST(PathOnly, OfALinkItself) {
  const TempDirectory dir;
  ASSERT_THAT(symlink("target", (dir / "l").c_str()), SyscallSucceeds());
  const Fd fd(open((dir / "l").c_str(), O_PATH | O_NOFOLLOW));
  ASSERT_THAT(fd.get(), SyscallSucceeds());
  struct stat status;
  ASSERT_THAT(fstat(fd.get(), &status), SyscallSucceeds());
  EXPECT_TRUE(S_ISLNK(status.st_mode));
  char text[16];
  EXPECT_THAT(readlinkat(fd.get(), "", text, sizeof text), SyscallSucceedsWithValue(6));
  EXPECT_THAT(fchownat(fd.get(), "", kUser, kGroup, AT_EMPTY_PATH), SyscallSucceeds());
  EXPECT_EQ(StatOf(dir / "l").st_uid, kUser);
  EXPECT_THAT(open((dir / "l").c_str(), O_PATH), SyscallFailsWithErrno(ENOENT));
}

class Resolve : public ::testing::Test {
 protected:
  Resolve() {
    dir_.Directory("root");
    dir_.Directory("root/d");
    dir_.File("root/f", "inside");
    dir_.File("f", "outside");
    Link("/f", "root/absolute");
    Link("../f", "root/up");
    Link("f", "root/link");
    Link("d/../f", "root/around");
    Link("d", "root/to_d");
    Link("../root/f", "root/out_and_in");
    root_ = Fd(open((dir_ / "root").c_str(), O_RDONLY | O_DIRECTORY));
  }
  void Link(const char* target, const std::string& name) {
    EXPECT_THAT(symlink(target, (dir_ / name).c_str()), SyscallSucceeds());
  }
  int Errno(const std::string& path, uint64_t resolve, uint64_t flags = O_RDONLY) {
    return Fd(Open2(root_.get(), path, flags, resolve)).ok() ? 0 : errno;
  }
  std::string Content(const std::string& path, uint64_t resolve) {
    const Fd fd(Open2(root_.get(), path, O_RDONLY, resolve));
    char text[16] = {};
    return read(fd.get(), text, sizeof text) < 0 ? "" : text;
  }
  const TempDirectory dir_;
  Fd root_;
};

TEST_F(Resolve, Beneath) {
  EXPECT_EQ(Content("f", RESOLVE_BENEATH), "inside");
  EXPECT_EQ(Content("d/../f", RESOLVE_BENEATH), "inside");
  EXPECT_EQ(Content("link", RESOLVE_BENEATH), "inside");
  EXPECT_EQ(Content("around", RESOLVE_BENEATH), "inside");
  for (const char* path : {"..", "../f", "up", "absolute", "/", "/etc", "d/../../f", "out_and_in", "d/../.."}) {
    EXPECT_EQ(Errno(path, RESOLVE_BENEATH), EXDEV) << path;
  }
  EXPECT_EQ(Errno(dir_ / "root/f", RESOLVE_BENEATH), EXDEV);
  EXPECT_EQ(Errno("missing", RESOLVE_BENEATH), ENOENT);
  EXPECT_EQ(Errno(".", RESOLVE_BENEATH), 0);
}

TEST_F(Resolve, InRoot) {
  EXPECT_EQ(Content("f", RESOLVE_IN_ROOT), "inside");
  EXPECT_EQ(Content("/f", RESOLVE_IN_ROOT), "inside");
  EXPECT_EQ(Content("absolute", RESOLVE_IN_ROOT), "inside");
  EXPECT_EQ(Content("up", RESOLVE_IN_ROOT), "inside");
  EXPECT_EQ(Content("../../../f", RESOLVE_IN_ROOT), "inside");
  EXPECT_EQ(Errno("/../root/f", RESOLVE_IN_ROOT), ENOENT);
  EXPECT_EQ(Errno("f", RESOLVE_IN_ROOT | RESOLVE_BENEATH), EINVAL);
}

TEST_F(Resolve, NoSymlinks) {
  for (const char* path : {"link", "up", "absolute", "to_d/../f", "around"}) {
    EXPECT_EQ(Errno(path, RESOLVE_NO_SYMLINKS), ELOOP) << path;
  }
  EXPECT_EQ(Errno("f", RESOLVE_NO_SYMLINKS), 0);
  EXPECT_EQ(Errno("link", RESOLVE_NO_SYMLINKS, O_PATH | O_NOFOLLOW), 0);
  EXPECT_EQ(Errno("to_d", RESOLVE_NO_SYMLINKS, O_DIRECTORY), ELOOP);
  EXPECT_EQ(Errno("/proc/self/fd/0", RESOLVE_NO_SYMLINKS, O_PATH | O_NOFOLLOW), ELOOP) << "self";
}

TEST_F(Resolve, NoMagicLinks) {
  const std::string magic = "/proc/self/fd/" + std::to_string(root_.get());
  EXPECT_EQ(Errno(magic, RESOLVE_NO_MAGICLINKS), ELOOP);
  EXPECT_EQ(Errno(magic + "/f", RESOLVE_NO_MAGICLINKS), ELOOP);
  EXPECT_EQ(Errno("/proc/self/cwd", RESOLVE_NO_MAGICLINKS), ELOOP);
  EXPECT_EQ(Errno(magic, RESOLVE_NO_MAGICLINKS, O_PATH | O_NOFOLLOW), 0);
  EXPECT_EQ(Errno("/proc/self/status", RESOLVE_NO_MAGICLINKS), 0) << "an ordinary link of proc";
  EXPECT_EQ(Errno("link", RESOLVE_NO_MAGICLINKS), 0);
  EXPECT_EQ(Errno(magic, 0), 0);
}

TEST_F(Resolve, NoXdev) {
  const Fd slash(open("/", O_RDONLY | O_DIRECTORY));
  EXPECT_THAT(Open2(slash.get(), "proc/self", O_RDONLY, RESOLVE_NO_XDEV), SyscallFailsWithErrno(EXDEV));
  EXPECT_THAT(Open2(slash.get(), "proc", O_PATH, RESOLVE_NO_XDEV), SyscallFailsWithErrno(EXDEV));
  const Fd proc(open("/proc", O_RDONLY | O_DIRECTORY));
  EXPECT_THAT(Open2(proc.get(), "..", O_PATH, RESOLVE_NO_XDEV), SyscallFailsWithErrno(EXDEV));
  EXPECT_THAT(Fd(Open2(proc.get(), "/", O_PATH, RESOLVE_NO_XDEV)).get(), SyscallSucceeds()) << "it starts there";
  EXPECT_THAT(Fd(Open2(proc.get(), "self/status", O_RDONLY, RESOLVE_NO_XDEV)).get(), SyscallSucceeds());
  EXPECT_EQ(Errno("f", RESOLVE_NO_XDEV), 0);
}

TEST_F(Resolve, Cached) {
  EXPECT_EQ(Content("f", 0), "inside");
  const int error = Errno("f", RESOLVE_CACHED);
  EXPECT_TRUE(error == 0 || error == EAGAIN) << error;
  EXPECT_EQ(Errno("f", RESOLVE_CACHED, O_RDWR | O_TRUNC), EAGAIN);
  EXPECT_EQ(Errno("f", RESOLVE_CACHED, O_RDWR | O_CREAT), EAGAIN);
  EXPECT_EQ(Errno("f", 0x80), EINVAL);
}

TEST_F(Resolve, CreatesWhereItLeads) {
  EXPECT_THAT(Fd(Open2(root_.get(), "/new", O_CREAT | O_RDWR, RESOLVE_IN_ROOT, 0600)).get(), SyscallSucceeds());
  EXPECT_TRUE(Exists(dir_ / "root/new"));
  EXPECT_THAT(Open2(root_.get(), "../new", O_CREAT | O_RDWR, RESOLVE_BENEATH, 0600), SyscallFailsWithErrno(EXDEV));
  EXPECT_FALSE(Exists(dir_ / "new"));
}

// In a mount namespace of its own: a read-only bind mount, and a busy mount point.
TEST(Mounts, ReadOnlyAndBusy) {
  const TempDirectory dir;
  const std::string mounted = dir.Directory("m");
  dir.File("m/f", "x");
  dir.Directory("m/d");
  ASSERT_THAT(symlink("f", (dir / "m/l").c_str()), SyscallSucceeds());
  const std::string file = dir / "m/f", missing = dir / "m/missing";
  int errors[24] = {};
  int pipe_ends[2];
  ASSERT_THAT(pipe(pipe_ends), SyscallSucceeds());
  const bool ran = InChild([&] {
    if (unshare(CLONE_NEWNS) < 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) return false;
    if (mount(mounted.c_str(), mounted.c_str(), nullptr, MS_BIND, nullptr) < 0) return false;
    if (mount(nullptr, mounted.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) < 0) return false;
    int* at = errors;
    const auto note = [&](long result) { *at++ = result == -1 ? errno : 0; };
    note(open(file.c_str(), O_WRONLY));
    note(open(missing.c_str(), O_CREAT | O_RDWR, 0600));
    note(open(mounted.c_str(), O_TMPFILE | O_RDWR, 0600));
    note(open(file.c_str(), O_RDONLY | O_TRUNC));
    note(mkdir(missing.c_str(), 0700));
    note(mknod(missing.c_str(), S_IFIFO | 0600, 0));
    note(symlink("t", missing.c_str()));
    note(link(file.c_str(), missing.c_str()));
    note(unlink(file.c_str()));
    note(rmdir((mounted + "/d").c_str()));
    note(rename(file.c_str(), missing.c_str()));
    note(chmod(file.c_str(), 0600));
    note(lchown(file.c_str(), 1, 1));
    note(utimensat(AT_FDCWD, file.c_str(), nullptr, 0));
    note(truncate(file.c_str(), 0));
    note(setxattr(file.c_str(), "user.a", "1", 1, 0));
    note(removexattr(file.c_str(), "user.a"));
    note(access(file.c_str(), W_OK));
    note(open(file.c_str(), O_RDONLY));
    note(access(file.c_str(), R_OK));
    note(rmdir(mounted.c_str()));
    note(rename(mounted.c_str(), (dir / "n").c_str()));
    note(link(file.c_str(), (dir / "other").c_str()));
    note(rename(file.c_str(), (dir / "other").c_str()));
    return write(pipe_ends[1], errors, sizeof errors) == sizeof errors;
  });
  ASSERT_TRUE(ran);
  ASSERT_THAT(read(pipe_ends[0], errors, sizeof errors), SyscallSucceedsWithValue(sizeof errors));
  close(pipe_ends[0]);
  close(pipe_ends[1]);
  for (int i = 0; i < 18; ++i) EXPECT_EQ(errors[i], EROFS) << "call " << i;
  EXPECT_EQ(errors[18], 0);
  EXPECT_EQ(errors[19], 0);
  EXPECT_EQ(errors[20], EBUSY);
  EXPECT_EQ(errors[21], EBUSY);
  EXPECT_EQ(errors[22], EXDEV);
  EXPECT_EQ(errors[23], EXDEV);
}

}  // namespace
}  // namespace usl::conformance
