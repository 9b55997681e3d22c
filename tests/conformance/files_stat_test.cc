// stat(2), statx(2), access(2), readlink(2), statfs(2).
#include <limits.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <cstring>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

TEST(Stat, TellsTypeModeOwnerLinksAndSize) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "12345", 0640);
  ASSERT_THAT(chown(path.c_str(), kUser, kGroup), SyscallSucceeds());
  ASSERT_THAT(link(path.c_str(), (dir / "g").c_str()), SyscallSucceeds());
  struct stat status;
  ASSERT_THAT(stat(path.c_str(), &status), SyscallSucceeds());
  EXPECT_EQ(status.st_mode, static_cast<mode_t>(S_IFREG | 0640));
  EXPECT_EQ(status.st_uid, kUser);
  EXPECT_EQ(status.st_gid, kGroup);
  EXPECT_EQ(status.st_nlink, 2u);
  EXPECT_EQ(status.st_size, 5);
  struct stat other;
  ASSERT_THAT(stat((dir / "g").c_str(), &other), SyscallSucceeds());
  EXPECT_EQ(other.st_ino, status.st_ino);
  EXPECT_EQ(other.st_dev, status.st_dev);
  const Fd fd(open(path.c_str(), O_RDONLY));
  ASSERT_THAT(fstat(fd.get(), &other), SyscallSucceeds());
  EXPECT_EQ(other.st_ino, status.st_ino);
  EXPECT_EQ(other.st_mode, status.st_mode);
  EXPECT_EQ(other.st_uid, kUser);
}

TEST(Stat, BadArguments) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  struct stat status;
  EXPECT_THAT(stat((dir / "missing").c_str(), &status), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(stat("", &status), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(syscall(SYS_stat, path.c_str(), nullptr), SyscallFailsWithErrno(EFAULT));
  EXPECT_THAT(syscall(SYS_stat, kWildPointer, &status), SyscallFailsWithErrno(EFAULT));
  EXPECT_THAT(syscall(SYS_fstat, 12345, &status), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(syscall(SYS_newfstatat, AT_FDCWD, path.c_str(), &status, 0x10000), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(SYS_newfstatat, AT_FDCWD, "", &status, 0), SyscallFailsWithErrno(ENOENT));
}

TEST(Stat, ResultsNeverGoIntoReadOnlyMemory) {
  // A string of the program itself.
  EXPECT_THAT(syscall(SYS_stat, "/",
                      "read-only memory of the program, which is certainly long enough for a struct stat "
                      "and a bit more than that ................................................."),
              SyscallFailsWithErrno(EFAULT));
}

TEST(Stat, LinksAndTheirTargets) {
  const TempDirectory dir;
  dir.File("f", "123");
  ASSERT_THAT(symlink("f", (dir / "link").c_str()), SyscallSucceeds());
  struct stat status;
  ASSERT_THAT(stat((dir / "link").c_str(), &status), SyscallSucceeds());
  EXPECT_TRUE(S_ISREG(status.st_mode));
  ASSERT_THAT(lstat((dir / "link").c_str(), &status), SyscallSucceeds());
  EXPECT_TRUE(S_ISLNK(status.st_mode));
  EXPECT_EQ(status.st_mode & 0777, 0777u);
  EXPECT_EQ(status.st_size, 1);
  ASSERT_THAT(fstatat(AT_FDCWD, (dir / "link").c_str(), &status, AT_SYMLINK_NOFOLLOW), SyscallSucceeds());
  EXPECT_TRUE(S_ISLNK(status.st_mode));
  ASSERT_THAT(symlink("f/", (dir / "slash").c_str()), SyscallSucceeds());
  EXPECT_THAT(stat((dir / "slash").c_str(), &status), SyscallFailsWithErrno(ENOTDIR));
}

TEST(Stat, EmptyPathMeansTheDescriptor) {
  const TempDirectory dir;
  dir.File("f", "123");
  const Fd fd(open((dir / "f").c_str(), O_RDONLY));
  struct stat status;
  EXPECT_THAT(fstatat(fd.get(), "", &status, AT_EMPTY_PATH), SyscallSucceeds());
  EXPECT_EQ(status.st_size, 3);
  EXPECT_THAT(fstatat(AT_FDCWD, "", &status, AT_EMPTY_PATH), SyscallSucceeds());
  EXPECT_TRUE(S_ISDIR(status.st_mode));
  int pipes[2];
  ASSERT_THAT(pipe(pipes), SyscallSucceeds());
  EXPECT_THAT(fstatat(pipes[0], "", &status, AT_EMPTY_PATH), SyscallSucceeds());
  EXPECT_TRUE(S_ISFIFO(status.st_mode));
  close(pipes[0]);
  close(pipes[1]);
}

TEST(Stat, NamelessObjects) {
  int pipes[2];
  ASSERT_THAT(pipe(pipes), SyscallSucceeds());
  struct stat status;
  ASSERT_THAT(fstat(pipes[1], &status), SyscallSucceeds());
  EXPECT_TRUE(S_ISFIFO(status.st_mode));
  EXPECT_EQ(status.st_uid, geteuid());
  EXPECT_THAT(fchmod(pipes[1], 0600), SyscallSucceeds());
  EXPECT_THAT(fchown(pipes[1], geteuid(), getegid()), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser,
                    [] {
                      int own[2];
                      return pipe(own) < 0 ? -1l : fchown(own[0], 0, 0);
                    }),
            EPERM);
  const Fd socket_fd(socket(AF_UNIX, SOCK_STREAM, 0));
  ASSERT_THAT(fstat(socket_fd.get(), &status), SyscallSucceeds());
  EXPECT_TRUE(S_ISSOCK(status.st_mode));
  struct statfs fs;
  EXPECT_THAT(fstatfs(pipes[0], &fs), SyscallSucceeds());
  EXPECT_EQ(fs.f_type, 0x50495045);  // PIPEFS_MAGIC
  close(pipes[0]);
  close(pipes[1]);
}

TEST(Stat, AnUnlinkedFileLivesOn) {
  const TempDirectory dir;
  dir.File("f", "123");
  const Fd fd(open((dir / "f").c_str(), O_RDWR));
  ASSERT_THAT(unlink((dir / "f").c_str()), SyscallSucceeds());
  struct stat status;
  ASSERT_THAT(fstat(fd.get(), &status), SyscallSucceeds());
  EXPECT_EQ(status.st_nlink, 0u);
  EXPECT_EQ(status.st_size, 3);
  EXPECT_THAT(fchmod(fd.get(), 0604), SyscallSucceeds());
  ASSERT_THAT(fstat(fd.get(), &status), SyscallSucceeds());
  EXPECT_EQ(status.st_mode & 07777, 0604u);
}

TEST(Stat, DirectoriesCountTheirChildren) {
  const TempDirectory dir;
  dir.Directory("d");
  EXPECT_EQ(StatOf(dir / "d").st_nlink, 2u);
  dir.Directory("d/e");
  EXPECT_EQ(StatOf(dir / "d").st_nlink, 3u);
}

TEST(Stat, SizesAndBlocksOfASparseFile) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  ASSERT_THAT(truncate(path.c_str(), 1 << 20), SyscallSucceeds());
  EXPECT_EQ(StatOf(path).st_size, 1 << 20);
  EXPECT_LT(StatOf(path).st_blocks, 2048);
}

TEST(Stat, Devices) {
  struct stat status;
  ASSERT_THAT(stat("/dev/null", &status), SyscallSucceeds());
  EXPECT_TRUE(S_ISCHR(status.st_mode));
  EXPECT_EQ(status.st_rdev, makedev(1, 3));
  EXPECT_EQ(status.st_uid, 0u);
  const Fd fd(open("/dev/null", O_RDWR));
  ASSERT_THAT(fstat(fd.get(), &status), SyscallSucceeds());
  EXPECT_EQ(status.st_rdev, makedev(1, 3));
}

TEST(Statx, GivesTheSameAsStat) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "12345", 0604);
  const struct stat expected = StatOf(path);
  struct statx status;
  memset(&status, 0xff, sizeof status);
  ASSERT_THAT(statx(AT_FDCWD, path.c_str(), 0, STATX_ALL, &status), SyscallSucceeds());
  EXPECT_EQ(status.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
  EXPECT_EQ(status.stx_mode, expected.st_mode);
  EXPECT_EQ(status.stx_ino, expected.st_ino);
  EXPECT_EQ(status.stx_size, 5u);
  EXPECT_EQ(status.stx_nlink, 1u);
  EXPECT_EQ(makedev(status.stx_dev_major, status.stx_dev_minor), expected.st_dev);
  EXPECT_EQ(status.stx_mtime.tv_sec, expected.st_mtim.tv_sec);
  EXPECT_EQ(status.stx_mtime.tv_nsec, expected.st_mtim.tv_nsec);
  // What the kernel does not know is zero, the spare members too.
  const auto* bytes = reinterpret_cast<const unsigned char*>(&status);
  for (size_t i = sizeof status - 64; i < sizeof status; ++i) EXPECT_EQ(bytes[i], 0) << i;
}

TEST(Statx, BadArguments) {
  struct statx status;
  EXPECT_THAT(statx(AT_FDCWD, "/", 0, 0x80000000u, &status), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(statx(AT_FDCWD, "/", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, 0, &status),
              SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(statx(AT_FDCWD, "/", 0x100000, 0, &status), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(SYS_statx, AT_FDCWD, "/", 0, 0, nullptr), SyscallFailsWithErrno(EFAULT));
  EXPECT_THAT(statx(-1, "x", 0, 0, &status), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(statx(-1, "/", 0, 0, &status), SyscallSucceeds());
}

TEST(Statx, TellsTheMountRoot) {
  const TempDirectory dir;
  struct statx status;
  ASSERT_THAT(statx(AT_FDCWD, "/proc", 0, STATX_BASIC_STATS, &status), SyscallSucceeds());
  EXPECT_TRUE(status.stx_attributes & STATX_ATTR_MOUNT_ROOT);
  ASSERT_THAT(statx(AT_FDCWD, dir.path().c_str(), 0, STATX_BASIC_STATS, &status), SyscallSucceeds());
  EXPECT_FALSE(status.stx_attributes & STATX_ATTR_MOUNT_ROOT);
  EXPECT_TRUE(status.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT);
}

TEST(Access, UsesRealIds) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "", 0600);
  EXPECT_THAT(access(path.c_str(), R_OK | W_OK), SyscallSucceeds());
  EXPECT_THAT(access(path.c_str(), X_OK), SyscallFailsWithErrno(EACCES));
  EXPECT_THAT(access(path.c_str(), 8), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(access((dir / "missing").c_str(), F_OK), SyscallFailsWithErrno(ENOENT));
  EXPECT_TRUE(InChild([&] {
    // Real id: an ordinary user; effective: root.
    if (setresuid(kUser, 0, 0) < 0) return false;
    const bool real = access(path.c_str(), R_OK) == -1 && errno == EACCES;
    const bool effective = syscall(SYS_faccessat2, AT_FDCWD, path.c_str(), R_OK, AT_EACCESS) == 0;
    return real && effective;
  }));
}

TEST(Access, TheWayThereCountsToo) {
  const TempDirectory dir;
  dir.Directory("closed", 0700);
  dir.File("closed/f", "", 0777);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return access((dir / "closed/f").c_str(), F_OK); }), EACCES);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return access((dir / "closed").c_str(), F_OK); }), 0);
}

TEST(Access, ByDescriptorAndFlags) {
  const TempDirectory dir;
  dir.File("f", "", 0600);
  const Fd fd(open((dir / "f").c_str(), O_PATH));
  EXPECT_THAT(syscall(SYS_faccessat2, fd.get(), "", R_OK, AT_EMPTY_PATH), SyscallSucceeds());
  EXPECT_THAT(syscall(SYS_faccessat2, fd.get(), "", R_OK, 0), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(syscall(SYS_faccessat2, fd.get(), "", R_OK, 0x8000), SyscallFailsWithErrno(EINVAL));
  ASSERT_THAT(symlink("missing", (dir / "link").c_str()), SyscallSucceeds());
  EXPECT_THAT(syscall(SYS_faccessat2, AT_FDCWD, (dir / "link").c_str(), F_OK, AT_SYMLINK_NOFOLLOW), SyscallSucceeds());
  EXPECT_THAT(syscall(SYS_faccessat, AT_FDCWD, (dir / "link").c_str(), F_OK), SyscallFailsWithErrno(ENOENT));
}

TEST(ReadLink, GivesTheTargetWithoutANul) {
  const TempDirectory dir;
  ASSERT_THAT(symlink("some/where", (dir / "link").c_str()), SyscallSucceeds());
  char buffer[32];
  memset(buffer, '#', sizeof buffer);
  EXPECT_THAT(readlink((dir / "link").c_str(), buffer, sizeof buffer), SyscallSucceedsWithValue(10));
  EXPECT_EQ(buffer[10], '#');
  EXPECT_THAT(readlink((dir / "link").c_str(), buffer, 4), SyscallSucceedsWithValue(4));
  EXPECT_EQ(std::string(buffer, 4), "some");
  EXPECT_THAT(syscall(SYS_readlink, (dir / "link").c_str(), buffer, 0), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(SYS_readlink, (dir / "link").c_str(), buffer, -1), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(SYS_readlink, (dir / "link").c_str(), kWildPointer, 10), SyscallFailsWithErrno(EFAULT));
}

TEST(ReadLink, WhatIsNoLink) {
  const TempDirectory dir;
  dir.File("f");
  char buffer[32];
  EXPECT_THAT(readlink((dir / "f").c_str(), buffer, sizeof buffer), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(readlink(dir.path().c_str(), buffer, sizeof buffer), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(readlink((dir / "missing").c_str(), buffer, sizeof buffer), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(readlink((dir / "f/x").c_str(), buffer, sizeof buffer), SyscallFailsWithErrno(ENOTDIR));
}

TEST(ReadLink, OfADescriptor) {
  const TempDirectory dir;
  ASSERT_THAT(symlink("target", (dir / "link").c_str()), SyscallSucceeds());
  const Fd fd(open((dir / "link").c_str(), O_PATH | O_NOFOLLOW));
  char buffer[32];
  EXPECT_THAT(readlinkat(fd.get(), "", buffer, sizeof buffer), SyscallSucceedsWithValue(6));
  const Fd directory(open(dir.path().c_str(), O_RDONLY));
  EXPECT_THAT(readlinkat(directory.get(), "", buffer, sizeof buffer), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(readlinkat(directory.get(), "link", buffer, sizeof buffer), SyscallSucceedsWithValue(6));
}

TEST(ReadLink, ProcSelfFdShowsTheGuestsPath) {
  const TempDirectory dir;
  dir.File("f");
  const Fd fd(open((dir / "f").c_str(), O_RDONLY));
  const std::string magic = "/proc/self/fd/" + std::to_string(fd.get());
  char buffer[PATH_MAX];
  ssize_t length = readlink(magic.c_str(), buffer, sizeof buffer);
  ASSERT_GT(length, 0);
  EXPECT_EQ(std::string(buffer, length), dir / "f");
  ASSERT_THAT(rename((dir / "f").c_str(), (dir / "g").c_str()), SyscallSucceeds());
  length = readlink(magic.c_str(), buffer, sizeof buffer);
  EXPECT_EQ(std::string(buffer, length), dir / "g");
  ASSERT_THAT(unlink((dir / "g").c_str()), SyscallSucceeds());
  length = readlink(magic.c_str(), buffer, sizeof buffer);
  EXPECT_EQ(std::string(buffer, length), (dir / "g") + " (deleted)");
}

TEST(StatFs, ByPathAndDescriptor) {
  const TempDirectory dir;
  dir.File("f");
  struct statfs by_path, by_fd;
  ASSERT_THAT(statfs(dir.path().c_str(), &by_path), SyscallSucceeds());
  const Fd fd(open((dir / "f").c_str(), O_RDONLY));
  ASSERT_THAT(fstatfs(fd.get(), &by_fd), SyscallSucceeds());
  EXPECT_EQ(by_path.f_type, by_fd.f_type);
  EXPECT_GT(by_path.f_bsize, 0);
  EXPECT_EQ(by_path.f_namelen, 255);
  EXPECT_THAT(statfs((dir / "missing").c_str(), &by_path), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(syscall(SYS_statfs, "/", nullptr), SyscallFailsWithErrno(EFAULT));
  EXPECT_THAT(fstatfs(12345, &by_fd), SyscallFailsWithErrno(EBADF));
  ASSERT_THAT(statfs("/proc", &by_path), SyscallSucceeds());
  EXPECT_EQ(by_path.f_type, 0x9fa0);  // PROC_SUPER_MAGIC
}

}  // namespace
}  // namespace usl::conformance
