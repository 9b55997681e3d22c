// open(2), openat(2), openat2(2), creat(2).
#include <limits.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

int OpenAt2(int dirfd, const char* path, const open_how& how, size_t size = sizeof(open_how)) {
  return static_cast<int>(syscall(SYS_openat2, dirfd, path, &how, size));
}

TEST(Open, ReadsAndWritesWhatWasAskedFor) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "hello");
  const Fd reader(open(path.c_str(), O_RDONLY));
  char buffer[8];
  EXPECT_THAT(read(reader.get(), buffer, sizeof buffer), SyscallSucceedsWithValue(5));
  EXPECT_THAT(write(reader.get(), "x", 1), SyscallFailsWithErrno(EBADF));
  const Fd writer(open(path.c_str(), O_WRONLY));
  EXPECT_THAT(write(writer.get(), "J", 1), SyscallSucceedsWithValue(1));
  EXPECT_THAT(read(writer.get(), buffer, 1), SyscallFailsWithErrno(EBADF));
  EXPECT_EQ(ReadFile(path), "Jello");
}

TEST(Open, BadPaths) {
  const TempDirectory dir;
  dir.File("f");
  EXPECT_THAT(open(kWildPointer, O_RDONLY), SyscallFailsWithErrno(EFAULT));
  EXPECT_THAT(open("", O_RDONLY), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(open((dir / "missing").c_str(), O_RDONLY), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(open((dir / "missing/x").c_str(), O_RDONLY | O_CREAT, 0600), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(open((dir / "f/x").c_str(), O_RDONLY), SyscallFailsWithErrno(ENOTDIR));
  EXPECT_THAT(open((dir / "f/").c_str(), O_RDONLY), SyscallFailsWithErrno(ENOTDIR));
  EXPECT_THAT(open((dir / "new/").c_str(), O_RDONLY | O_CREAT, 0600), SyscallFailsWithErrno(EISDIR));
  EXPECT_THAT(open((dir / std::string(256, 'n')).c_str(), O_RDONLY), SyscallFailsWithErrno(ENAMETOOLONG));
  const std::string just_fits = std::string(PATH_MAX - 1 - 1, '/') + ".";
  EXPECT_THAT(Fd(open(just_fits.c_str(), O_RDONLY)).get(), SyscallSucceeds());
  EXPECT_THAT(open((just_fits + "/").c_str(), O_RDONLY), SyscallFailsWithErrno(ENAMETOOLONG));
}

TEST(Open, APathMayEndAtTheLastMappedByte) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  auto* memory =
      static_cast<char*>(mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(memory, MAP_FAILED);
  ASSERT_THAT(munmap(memory + page, page), SyscallSucceeds());
  char* path = memory + page - 2;
  memcpy(path, "/", 2);
  EXPECT_THAT(Fd(open(path, O_RDONLY)).get(), SyscallSucceeds());
  path[1] = '/';
  EXPECT_THAT(open(path, O_RDONLY), SyscallFailsWithErrno(EFAULT));
  munmap(memory, page);
  EXPECT_THAT(syscall(SYS_openat, AT_FDCWD, nullptr, O_RDONLY), SyscallFailsWithErrno(EFAULT));
}

TEST(Open, CreateAndExclusive) {
  const TempDirectory dir;
  const std::string path = dir / "f";
  const ScopedUmask mask(027);
  EXPECT_THAT(Fd(open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY, 06777)).get(), SyscallSucceeds());
  EXPECT_EQ(ModeOf(path), 06750u);
  EXPECT_THAT(open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600), SyscallFailsWithErrno(EEXIST));
  EXPECT_THAT(Fd(open(path.c_str(), O_CREAT | O_WRONLY, 0600)).get(), SyscallSucceeds());
  ASSERT_THAT(symlink("nowhere", (dir / "dangling").c_str()), SyscallSucceeds());
  EXPECT_THAT(open((dir / "dangling").c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600), SyscallFailsWithErrno(EEXIST));
  EXPECT_THAT(Fd(open((dir / "dangling").c_str(), O_CREAT | O_WRONLY, 0600)).get(), SyscallSucceeds());
  EXPECT_TRUE(Exists(dir / "nowhere"));
}

TEST(Open, AFileWithoutPermissionsIsStillOpenToItsCreator) {
  const TempDirectory dir;
  const std::string path = dir / "f";
  EXPECT_EQ(ErrnoAs(kUser,
                    [&] {
                      const Fd fd(open(path.c_str(), O_CREAT | O_RDWR, 0));
                      if (!fd.ok()) return -1l;
                      return write(fd.get(), "x", 1);
                    }),
            0);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open(path.c_str(), O_RDONLY); }), EACCES);
}

TEST(Open, TruncateAndAppend) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "12345");
  {
    const Fd fd(open(path.c_str(), O_WRONLY | O_APPEND));
    ASSERT_THAT(lseek(fd.get(), 0, SEEK_SET), SyscallSucceedsWithValue(0));
    EXPECT_THAT(write(fd.get(), "6", 1), SyscallSucceedsWithValue(1));
    EXPECT_EQ(fcntl(fd.get(), F_GETFL) & (O_ACCMODE | O_APPEND), O_WRONLY | O_APPEND);
  }
  EXPECT_EQ(ReadFile(path), "123456");
  EXPECT_THAT(Fd(open(path.c_str(), O_WRONLY | O_TRUNC)).get(), SyscallSucceeds());
  EXPECT_EQ(StatOf(path).st_size, 0);
  EXPECT_THAT(Fd(creat(path.c_str(), 0600)).get(), SyscallSucceeds());
}

TEST(Open, Directories) {
  const TempDirectory dir;
  dir.File("f");
  EXPECT_THAT(open(dir.path().c_str(), O_WRONLY), SyscallFailsWithErrno(EISDIR));
  EXPECT_THAT(open(dir.path().c_str(), O_RDWR), SyscallFailsWithErrno(EISDIR));
  EXPECT_THAT(open(dir.path().c_str(), O_RDONLY | O_CREAT, 0600), SyscallFailsWithErrno(EISDIR));
  EXPECT_THAT(open((dir / "f").c_str(), O_RDONLY | O_DIRECTORY), SyscallFailsWithErrno(ENOTDIR));
  const Fd fd(open(dir.path().c_str(), O_RDONLY | O_DIRECTORY));
  ASSERT_TRUE(fd.ok());
  char byte;
  EXPECT_THAT(read(fd.get(), &byte, 1), SyscallFailsWithErrno(EISDIR));
}

TEST(Open, CloseOnExecIsWhatWasAskedFor) {
  const TempDirectory dir;
  dir.File("f");
  const Fd with(open((dir / "f").c_str(), O_RDONLY | O_CLOEXEC)), without(open((dir / "f").c_str(), O_RDONLY));
  EXPECT_EQ(fcntl(with.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fcntl(without.get(), F_GETFD), 0);
}

TEST(Open, TakesTheLowestFreeNumber) {
  const TempDirectory dir;
  dir.File("f");
  const int first = open((dir / "f").c_str(), O_RDONLY);
  const Fd second(open((dir / "f").c_str(), O_RDONLY));
  close(first);
  const Fd again(open((dir / "f").c_str(), O_RDONLY));
  EXPECT_EQ(again.get(), first);
}

TEST(Open, TooManyFiles) {
  const TempDirectory dir;
  dir.File("f");
  EXPECT_TRUE(InChild([&] {
    const rlimit limit{16, 16};
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) return false;
    for (int i = 0; i < 64; ++i) {
      if (open((dir / "f").c_str(), O_RDONLY) < 0) return errno == EMFILE;
    }
    return false;
  }));
}

TEST(Open, SymlinksAndNoFollow) {
  const TempDirectory dir;
  dir.File("f", "x");
  ASSERT_THAT(symlink("f", (dir / "link").c_str()), SyscallSucceeds());
  ASSERT_THAT(symlink("b", (dir / "a").c_str()), SyscallSucceeds());
  ASSERT_THAT(symlink("a", (dir / "b").c_str()), SyscallSucceeds());
  EXPECT_EQ(ReadFile(dir / "link"), "x");
  EXPECT_THAT(open((dir / "link").c_str(), O_RDONLY | O_NOFOLLOW), SyscallFailsWithErrno(ELOOP));
  EXPECT_THAT(open((dir / "a").c_str(), O_RDONLY), SyscallFailsWithErrno(ELOOP));
  EXPECT_THAT(Fd(open((dir / "link").c_str(), O_PATH | O_NOFOLLOW)).get(), SyscallSucceeds());
}

TEST(Open, FortySymlinksAreAllowedOneMoreIsNot) {
  const TempDirectory dir;
  dir.File("l0");
  for (int i = 1; i <= 41; ++i) {
    ASSERT_THAT(symlink(("l" + std::to_string(i - 1)).c_str(), (dir / ("l" + std::to_string(i))).c_str()),
                SyscallSucceeds());
  }
  EXPECT_THAT(Fd(open((dir / "l40").c_str(), O_RDONLY)).get(), SyscallSucceeds());
  EXPECT_THAT(open((dir / "l41").c_str(), O_RDONLY), SyscallFailsWithErrno(ELOOP));
}

TEST(Open, PathDescriptorsNameButDoNotOpen) {
  const TempDirectory dir;
  dir.File("f", "x", 0);
  const Fd fd(open((dir / "f").c_str(), O_PATH));
  ASSERT_TRUE(fd.ok());
  char byte;
  EXPECT_THAT(read(fd.get(), &byte, 1), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(fchmod(fd.get(), 0600), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(fchown(fd.get(), 0, 0), SyscallFailsWithErrno(EBADF));
  struct stat status;
  EXPECT_THAT(fstat(fd.get(), &status), SyscallSucceeds());
  const Fd directory(open(dir.path().c_str(), O_PATH));
  EXPECT_THAT(Fd(openat(directory.get(), "f", O_RDONLY)).get(), SyscallSucceeds());
}

TEST(Open, PathDescriptorsSayWhatTheyAre) {
  const Fd fd(open("/", O_PATH));
  EXPECT_EQ(fcntl(fd.get(), F_GETFL) & O_PATH, O_PATH);
  EXPECT_THAT(ioctl(fd.get(), 0), SyscallFailsWithErrno(EBADF));
}

TEST(Open, UnnamedFilesCanBeLinkedLater) {
  const TempDirectory dir;
  const Fd fd(open(dir.path().c_str(), O_TMPFILE | O_RDWR, 0640));
  ASSERT_THAT(fd.get(), SyscallSucceeds());
  ASSERT_THAT(write(fd.get(), "data", 4), SyscallSucceedsWithValue(4));
  struct stat status;
  ASSERT_THAT(fstat(fd.get(), &status), SyscallSucceeds());
  EXPECT_EQ(status.st_nlink, 0u);
  const std::string link = "/proc/self/fd/" + std::to_string(fd.get());
  ASSERT_THAT(linkat(AT_FDCWD, link.c_str(), AT_FDCWD, (dir / "named").c_str(), AT_SYMLINK_FOLLOW), SyscallSucceeds());
  EXPECT_EQ(ReadFile(dir / "named"), "data");
  EXPECT_THAT(open(dir.path().c_str(), O_TMPFILE | O_RDONLY, 0600), SyscallFailsWithErrno(EINVAL));
}

TEST(OpenAt, DirectoryDescriptors) {
  const TempDirectory dir;
  dir.File("f", "x");
  const Fd directory(open(dir.path().c_str(), O_RDONLY | O_DIRECTORY));
  const Fd file(open((dir / "f").c_str(), O_RDONLY));
  EXPECT_THAT(Fd(openat(directory.get(), "f", O_RDONLY)).get(), SyscallSucceeds());
  EXPECT_THAT(Fd(openat(directory.get(), "../", O_RDONLY)).get(), SyscallSucceeds());
  EXPECT_THAT(openat(file.get(), "f", O_RDONLY), SyscallFailsWithErrno(ENOTDIR));
  EXPECT_THAT(openat(12345, "f", O_RDONLY), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(openat(-1, "f", O_RDONLY), SyscallFailsWithErrno(EBADF));
  // An absolute path does not look at the descriptor.
  EXPECT_THAT(Fd(openat(12345, (dir / "f").c_str(), O_RDONLY)).get(), SyscallSucceeds());
  int pipes[2];
  ASSERT_THAT(pipe(pipes), SyscallSucceeds());
  EXPECT_THAT(openat(pipes[0], "f", O_RDONLY), SyscallFailsWithErrno(ENOTDIR));
  close(pipes[0]);
  close(pipes[1]);
}

TEST(OpenAt, FollowsARenamedDirectory) {
  const TempDirectory dir;
  dir.Directory("d");
  const Fd directory(open((dir / "d").c_str(), O_RDONLY | O_DIRECTORY));
  ASSERT_THAT(rename((dir / "d").c_str(), (dir / "e").c_str()), SyscallSucceeds());
  EXPECT_THAT(Fd(openat(directory.get(), "f", O_CREAT | O_WRONLY, 0600)).get(), SyscallSucceeds());
  EXPECT_TRUE(Exists(dir / "e/f"));
  ASSERT_THAT(unlink((dir / "e/f").c_str()), SyscallSucceeds());
  ASSERT_THAT(rmdir((dir / "e").c_str()), SyscallSucceeds());
  EXPECT_THAT(openat(directory.get(), "f", O_CREAT | O_WRONLY, 0600), SyscallFailsWithErrno(ENOENT));
}

TEST(OpenAt2, ChecksItsArgument) {
  EXPECT_THAT(OpenAt2(AT_FDCWD, "/", {}, 23), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(OpenAt2(AT_FDCWD, "/", {}, 5000), SyscallFailsWithErrno(E2BIG));
  EXPECT_THAT(OpenAt2(AT_FDCWD, "/", {.flags = 1ull << 40}), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(OpenAt2(AT_FDCWD, "/", {.resolve = 1ull << 40}), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(OpenAt2(AT_FDCWD, "/", {.mode = 0600}), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(OpenAt2(AT_FDCWD, "/", {.resolve = RESOLVE_BENEATH | RESOLVE_IN_ROOT}), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(SYS_openat2, AT_FDCWD, "/", kWildPointer, sizeof(open_how)), SyscallFailsWithErrno(EFAULT));
  char longer[64] = {};
  EXPECT_THAT(Fd(static_cast<int>(syscall(SYS_openat2, AT_FDCWD, "/", longer, sizeof longer))).get(),
              SyscallSucceeds());
  longer[60] = 1;
  EXPECT_THAT(syscall(SYS_openat2, AT_FDCWD, "/", longer, sizeof longer), SyscallFailsWithErrno(E2BIG));
}

TEST(OpenAt2, ResolveRestrictsTheWalk) {
  const TempDirectory dir;
  dir.Directory("d");
  dir.File("d/f", "inner");
  dir.File("f", "outer");
  ASSERT_THAT(symlink("f", (dir / "d/link").c_str()), SyscallSucceeds());
  ASSERT_THAT(symlink("/f", (dir / "d/absolute").c_str()), SyscallSucceeds());
  const Fd d(open((dir / "d").c_str(), O_RDONLY | O_DIRECTORY));
  EXPECT_THAT(OpenAt2(d.get(), "../f", {.resolve = RESOLVE_BENEATH}), SyscallFailsWithErrno(EXDEV));
  EXPECT_THAT(OpenAt2(d.get(), "/f", {.resolve = RESOLVE_BENEATH}), SyscallFailsWithErrno(EXDEV));
  EXPECT_THAT(OpenAt2(d.get(), "absolute", {.resolve = RESOLVE_BENEATH}), SyscallFailsWithErrno(EXDEV));
  EXPECT_THAT(OpenAt2(d.get(), "link", {.resolve = RESOLVE_NO_SYMLINKS}), SyscallFailsWithErrno(ELOOP));
  EXPECT_THAT(Fd(OpenAt2(d.get(), "link", {.resolve = RESOLVE_BENEATH})).get(), SyscallSucceeds());
  for (const char* path : {"../f", "/f", "absolute", "../../../f"}) {
    const Fd fd(OpenAt2(d.get(), path, {.resolve = RESOLVE_IN_ROOT}));
    ASSERT_THAT(fd.get(), SyscallSucceeds()) << path;
    char content[8] = {};
    EXPECT_THAT(read(fd.get(), content, sizeof content), SyscallSucceedsWithValue(5));
    EXPECT_STREQ(content, "inner") << path;
  }
  const std::string magic = "/proc/self/fd/" + std::to_string(d.get());
  EXPECT_THAT(OpenAt2(AT_FDCWD, magic.c_str(), {.resolve = RESOLVE_NO_MAGICLINKS}), SyscallFailsWithErrno(ELOOP));
}

TEST(Open, ThroughProcSelfFd) {
  const TempDirectory dir;
  dir.File("f", "abc", 0600);
  const Fd path_fd(open((dir / "f").c_str(), O_PATH));
  EXPECT_EQ(ReadFile("/proc/self/fd/" + std::to_string(path_fd.get())), "abc");
  const Fd reader(open((dir / "f").c_str(), O_RDONLY));
  const Fd writer(open(("/proc/self/fd/" + std::to_string(reader.get())).c_str(), O_WRONLY));
  EXPECT_THAT(write(writer.get(), "X", 1), SyscallSucceedsWithValue(1));
  ASSERT_THAT(unlink((dir / "f").c_str()), SyscallSucceeds());
  EXPECT_EQ(ReadFile("/proc/self/fd/" + std::to_string(reader.get())), "Xbc");
}

TEST(Open, APathDescriptorKeepsARemovedFile) {
  const TempDirectory dir;
  dir.File("f", "abc");
  const Fd path_fd(open((dir / "f").c_str(), O_PATH));
  ASSERT_THAT(unlink((dir / "f").c_str()), SyscallSucceeds());
  EXPECT_EQ(ReadFile("/proc/self/fd/" + std::to_string(path_fd.get())), "abc");
}

// nd_jump_root() of Linux: a relative walk has no root to compare with before its first "..".
TEST(OpenAt2, AnAbsoluteLinkIsAnotherMountToARelativeWalk) {
  const TempDirectory dir;
  dir.Directory("d");
  dir.File("f", "");
  ASSERT_THAT(symlink((dir / "f").c_str(), (dir / "link").c_str()), SyscallSucceeds());
  const Fd d(open(dir.path().c_str(), O_RDONLY | O_DIRECTORY));
  EXPECT_THAT(OpenAt2(d.get(), "link", {.resolve = RESOLVE_NO_XDEV}), SyscallFailsWithErrno(EXDEV));
  struct stat root {
  }, here{};
  ASSERT_THAT(stat("/", &root), SyscallSucceeds());
  ASSERT_THAT(fstat(d.get(), &here), SyscallSucceeds());
  const int fd = OpenAt2(d.get(), "d/../link", {.resolve = RESOLVE_NO_XDEV});
  if (root.st_dev == here.st_dev) {
    EXPECT_THAT(Fd(fd).get(), SyscallSucceeds());
  } else {
    EXPECT_THAT(fd, SyscallFailsWithErrno(EXDEV));
  }
}

TEST(Open, NothingIsMadeInARemovedDirectoryWhoeverAsks) {
  const TempDirectory dir;
  dir.Directory("d");
  ASSERT_THAT(chmod((dir / "d").c_str(), 0555), SyscallSucceeds());
  const Fd fd(open((dir / "d").c_str(), O_RDONLY | O_DIRECTORY));
  // Looked up before, so that the name is known to be absent.
  EXPECT_THAT(openat(fd.get(), "f", O_RDONLY), SyscallFailsWithErrno(ENOENT));
  ASSERT_THAT(rmdir((dir / "d").c_str()), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return openat(fd.get(), "f", O_CREAT | O_WRONLY, 0600); }), ENOENT);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return mkdirat(fd.get(), "f", 0700); }), ENOENT);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return symlinkat("t", fd.get(), "f"); }), ENOENT);
}

TEST(Open, NothingIsMadeInProcWhoeverAsks) {
  EXPECT_EQ(ErrnoAs(kUser, [] { return open("/proc/self/fd/999", O_CREAT | O_WRONLY, 0600); }), ENOENT);
  EXPECT_EQ(ErrnoAs(kUser, [] { return open("/proc/sys/kernel/absent", O_CREAT | O_WRONLY, 0600); }), ENOENT);
  EXPECT_EQ(ErrnoAs(kUser, [] { return mkdir("/proc/absent", 0700); }), ENOENT);
  EXPECT_THAT(mkdir("/proc/absent", 0700), SyscallFailsWithErrno(ENOENT));
}

TEST(Open, NoAtimeIsForOwners) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "", 0644);
  EXPECT_THAT(Fd(open(path.c_str(), O_RDONLY | O_NOATIME)).get(), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open(path.c_str(), O_RDONLY | O_NOATIME); }), EPERM);
}

TEST(Open, SetIdBitsGoWhenAnOrdinaryUserWrites) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "", 0755);
  ASSERT_THAT(chown(path.c_str(), kUser, kGroup), SyscallSucceeds());
  ASSERT_THAT(chmod(path.c_str(), 06755), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return write(open(path.c_str(), O_WRONLY), "x", 1); }), 0);
  EXPECT_EQ(ModeOf(path), 0755u);
}

}  // namespace
}  // namespace usl::conformance
