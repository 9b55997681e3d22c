// Calls that are made again and again from one place: every answer is today's, whatever changed since the one before.
// (USL answers such calls inside the guest, src/kernel/README-fast-path.md; on Linux there is nothing special here.)
#include <limits.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

constexpr int kOften = 12;

// What a path is now, asked so often that a cache would have answered the last ones.
struct stat Often(const std::string& path) {
  struct stat status {};
  for (int i = 0; i < kOften; ++i) EXPECT_THAT(stat(path.c_str(), &status), SyscallSucceeds()) << path;
  return status;
}
struct stat OftenLink(const std::string& path) {
  struct stat status {};
  for (int i = 0; i < kOften; ++i) EXPECT_THAT(lstat(path.c_str(), &status), SyscallSucceeds()) << path;
  return status;
}
void ExpectMissing(const std::string& path) {
  struct stat status;
  for (int i = 0; i < kOften; ++i) ASSERT_THAT(stat(path.c_str(), &status), SyscallFailsWithErrno(ENOENT)) << path;
  for (int i = 0; i < kOften; ++i) ASSERT_THAT(access(path.c_str(), F_OK), SyscallFailsWithErrno(ENOENT)) << path;
  for (int i = 0; i < kOften; ++i) ASSERT_THAT(open(path.c_str(), O_RDONLY), SyscallFailsWithErrno(ENOENT)) << path;
}
std::string TextOf(const std::string& path) {
  char text[PATH_MAX];
  const ssize_t length = readlink(path.c_str(), text, sizeof text);
  return length < 0 ? "errno " + std::to_string(errno) : std::string(text, static_cast<size_t>(length));
}

TEST(RepeatedCalls, AllFieldsAreThoseOfTheDescriptor) {
  const TempDirectory dir;
  const std::string path = dir.File("f", std::string(5000, 'x'), 0640);
  ASSERT_THAT(chown(path.c_str(), kUser, kGroup), SyscallSucceeds());
  const struct stat seen = Often(path);
  struct statx wide {};
  for (int i = 0; i < kOften; ++i) {
    ASSERT_THAT(statx(AT_FDCWD, path.c_str(), 0, STATX_ALL, &wide), SyscallSucceeds());
  }
  const Fd fd(open(path.c_str(), O_PATH));
  struct stat status;
  ASSERT_THAT(fstat(fd.get(), &status), SyscallSucceeds());
  EXPECT_EQ(memcmp(&seen, &status, sizeof status), 0);
  struct statx exact {};
  ASSERT_THAT(statx(fd.get(), "", AT_EMPTY_PATH, STATX_ALL, &exact), SyscallSucceeds());
  EXPECT_EQ(memcmp(&wide, &exact, sizeof exact), 0);
}

TEST(RepeatedCalls, NamesComeAndGo) {
  const TempDirectory dir;
  const std::string path = dir / "name", other = dir / "other";
  ExpectMissing(path);
  dir.File("name", "1");
  const ino_t first = Often(path).st_ino;
  ASSERT_THAT(rename(path.c_str(), other.c_str()), SyscallSucceeds());
  ExpectMissing(path);
  EXPECT_EQ(Often(other).st_ino, first);
  dir.File("name", "22");
  EXPECT_EQ(Often(path).st_size, 2);
  ASSERT_THAT(rename(other.c_str(), path.c_str()), SyscallSucceeds());
  EXPECT_EQ(Often(path).st_ino, first);
  EXPECT_EQ(Often(path).st_size, 1);
  ExpectMissing(other);
  ASSERT_THAT(unlink(path.c_str()), SyscallSucceeds());
  ExpectMissing(path);
  ASSERT_THAT(mkdir(path.c_str(), 0700), SyscallSucceeds());
  EXPECT_TRUE(S_ISDIR(Often(path).st_mode));
  ASSERT_THAT(rmdir(path.c_str()), SyscallSucceeds());
  ExpectMissing(path);
}

TEST(RepeatedCalls, AttributesChange) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "123", 0644);
  EXPECT_EQ(Often(path).st_mode & 07777, 0644u);
  ASSERT_THAT(chmod(path.c_str(), 04750), SyscallSucceeds());
  EXPECT_EQ(Often(path).st_mode & 07777, 04750u);
  ASSERT_THAT(chown(path.c_str(), kUser, kGroup), SyscallSucceeds());
  EXPECT_EQ(Often(path).st_uid, kUser);
  ASSERT_THAT(truncate(path.c_str(), 9), SyscallSucceeds());
  EXPECT_EQ(Often(path).st_size, 9);
  const timespec times[2] = {{.tv_sec = 1000, .tv_nsec = 5}, {.tv_sec = 2000, .tv_nsec = 7}};
  ASSERT_THAT(utimensat(AT_FDCWD, path.c_str(), times, 0), SyscallSucceeds());
  EXPECT_EQ(Often(path).st_mtim.tv_sec, 2000);
  EXPECT_EQ(Often(path).st_atim.tv_nsec, 5);
  ASSERT_THAT(link(path.c_str(), (dir / "g").c_str()), SyscallSucceeds());
  EXPECT_EQ(Often(path).st_nlink, 2u);
  EXPECT_EQ(Often(dir / "g").st_nlink, 2u);
  ASSERT_THAT(chmod((dir / "g").c_str(), 0600), SyscallSucceeds());
  EXPECT_EQ(Often(path).st_mode & 07777, 0600u) << "by its other name";
  ASSERT_THAT(unlink((dir / "g").c_str()), SyscallSucceeds());
  EXPECT_EQ(Often(path).st_nlink, 1u);
}

TEST(RepeatedCalls, DirectoriesChangeWithTheirMembers) {
  const TempDirectory dir;
  const std::string path = dir.Directory("d");
  const timespec old[2] = {{.tv_sec = 1000, .tv_nsec = 0}, {.tv_sec = 1000, .tv_nsec = 0}};
  ASSERT_THAT(utimensat(AT_FDCWD, path.c_str(), old, 0), SyscallSucceeds());
  EXPECT_EQ(Often(path).st_mtim.tv_sec, 1000);
  ASSERT_THAT(mkdir((path + "/sub").c_str(), 0755), SyscallSucceeds());
  EXPECT_NE(Often(path).st_mtim.tv_sec, 1000);
  ASSERT_THAT(utimensat(AT_FDCWD, path.c_str(), old, 0), SyscallSucceeds());
  EXPECT_EQ(Often(path).st_mtim.tv_sec, 1000);
  ASSERT_THAT(rmdir((path + "/sub").c_str()), SyscallSucceeds());
  EXPECT_NE(Often(path).st_mtim.tv_sec, 1000);
}

TEST(RepeatedCalls, WritesThroughDescriptorsAreSeenAtOnce) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "1");
  EXPECT_EQ(Often(path).st_size, 1);
  Fd fd(open(path.c_str(), O_WRONLY | O_APPEND));
  ASSERT_TRUE(fd.ok());
  for (int i = 2; i < 8; ++i) {
    ASSERT_EQ(write(fd.get(), "x", 1), 1);
    EXPECT_EQ(Often(path).st_size, i);
  }
  // A mapping outlives the descriptor, and so does a duplicate in a child.
  const Fd shared(open(path.c_str(), O_RDWR));
  pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 3; ++i) {
      char go;
      (void)!read(STDIN_FILENO, &go, 0);
      if (write(fd.get(), "y", 1) != 1) _exit(1);
    }
    _exit(0);
  }
  fd.Close();
  int status = 0;
  ASSERT_THAT(waitpid(child, &status, 0), SyscallSucceedsWithValue(child));
  EXPECT_EQ(Often(path).st_size, 10);
  ASSERT_THAT(ftruncate(shared.get(), 3), SyscallSucceeds());
  EXPECT_EQ(Often(path).st_size, 3);
}

TEST(RepeatedCalls, ReadingSetsTheAccessTime) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "123");
  // Older than its last change, so that relatime sets it at the next read.
  const timespec times[2] = {{.tv_sec = 1000, .tv_nsec = 0}, {.tv_sec = 0, .tv_nsec = UTIME_NOW}};
  ASSERT_THAT(utimensat(AT_FDCWD, path.c_str(), times, 0), SyscallSucceeds());
  const Fd fd(open(path.c_str(), O_RDONLY));
  EXPECT_EQ(Often(path).st_atim.tv_sec, 1000);
  char byte;
  ASSERT_EQ(read(fd.get(), &byte, 1), 1);
  struct stat by_descriptor;
  ASSERT_THAT(fstat(fd.get(), &by_descriptor), SyscallSucceeds());
  EXPECT_EQ(Often(path).st_atim.tv_sec, by_descriptor.st_atim.tv_sec);
}

TEST(RepeatedCalls, LinksLeadElsewhere) {
  const TempDirectory dir;
  dir.File("one", "1");
  dir.File("two", "22");
  const std::string link = dir / "a-link-with-a-name";
  ASSERT_THAT(symlink("one", link.c_str()), SyscallSucceeds());
  EXPECT_EQ(Often(link).st_size, 1);
  EXPECT_TRUE(S_ISLNK(OftenLink(link).st_mode));
  EXPECT_EQ(Often(link).st_size, 1);
  for (int i = 0; i < kOften; ++i) EXPECT_EQ(TextOf(link), "one");
  for (int i = 0; i < kOften; ++i) EXPECT_EQ(TextOf(dir / "one"), "errno " + std::to_string(EINVAL));
  ASSERT_THAT(unlink(link.c_str()), SyscallSucceeds());
  ExpectMissing(link);
  ASSERT_THAT(symlink("two", link.c_str()), SyscallSucceeds());
  EXPECT_EQ(Often(link).st_size, 2);
  ASSERT_THAT(unlink((dir / "two").c_str()), SyscallSucceeds());
  ExpectMissing(link);
  EXPECT_TRUE(S_ISLNK(OftenLink(link).st_mode)) << "it is there itself";
  ASSERT_THAT(symlink("not-there-either", (dir / "two").c_str()), SyscallSucceeds());
  ExpectMissing(link);
}

TEST(RepeatedCalls, DirectoriesOnTheWayMove) {
  const TempDirectory dir;
  dir.Directory("a");
  dir.Directory("a/b");
  dir.File("a/b/f", "1");
  const std::string path = dir / "a/b/f", missing = dir / "z/b/f";
  EXPECT_EQ(Often(path).st_size, 1);
  ExpectMissing(missing);
  ASSERT_THAT(rename((dir / "a").c_str(), (dir / "z").c_str()), SyscallSucceeds());
  ExpectMissing(path);
  EXPECT_EQ(Often(missing).st_size, 1);
  dir.Directory("a");
  dir.Directory("a/b");
  ExpectMissing(path);
  dir.File("a/b/f", "333");
  EXPECT_EQ(Often(path).st_size, 3);
  ASSERT_THAT(unlink(path.c_str()), SyscallSucceeds());
  ASSERT_THAT(rmdir((dir / "a/b").c_str()), SyscallSucceeds());
  ExpectMissing(path);
  ASSERT_THAT(symlink("../z/b", (dir / "a/b").c_str()), SyscallSucceeds());
  EXPECT_EQ(Often(path).st_size, 1);
}

TEST(RepeatedCalls, SearchPermissionIsAskedEachTime) {
  const TempDirectory dir;
  const std::string closed = dir.Directory("closed", 0711);
  const std::string path = dir.File("closed/f", "1");
  auto as_user = [&] {
    return ErrnoAs(kUser, [&] {
      struct stat status;
      long last = 0;
      for (int i = 0; i < kOften; ++i) last = stat(path.c_str(), &status);
      return last;
    });
  };
  EXPECT_EQ(Often(path).st_size, 1);
  EXPECT_EQ(as_user(), 0);
  ASSERT_THAT(chmod(closed.c_str(), 0700), SyscallSucceeds());
  EXPECT_EQ(Often(path).st_size, 1);
  EXPECT_EQ(as_user(), EACCES);
  ASSERT_THAT(chmod(closed.c_str(), 0711), SyscallSucceeds());
  EXPECT_EQ(as_user(), 0);
  ASSERT_THAT(chown(closed.c_str(), kOtherUser, kOtherGroup), SyscallSucceeds());
  ASSERT_THAT(chmod(closed.c_str(), 0710), SyscallSucceeds());
  EXPECT_EQ(as_user(), EACCES);
}

TEST(RepeatedCalls, TheWorkingDirectoryCounts) {
  const TempDirectory dir;
  dir.Directory("one");
  dir.Directory("two");
  dir.File("one/f", "1");
  dir.File("two/f", "22");
  EXPECT_TRUE(InChild([&] {
    if (chdir((dir / "one").c_str()) < 0 || Often("f").st_size != 1) return false;
    if (chdir("../two") < 0 || Often("f").st_size != 2) return false;
    const Fd one(open((dir / "one").c_str(), O_RDONLY | O_DIRECTORY));
    if (fchdir(one.get()) < 0 || Often("f").st_size != 1) return false;
    // A child of vfork shares the memory, not the place.
    if (const pid_t child = vfork(); child == 0) {
      struct stat status;
      const bool moved = chdir("../two") == 0 && stat("f", &status) == 0 && status.st_size == 2;
      _exit(moved ? 0 : 1);
    } else {
      int result = 1;
      waitpid(child, &result, 0);
      if (result != 0 || Often("f").st_size != 1) return false;
    }
    const pid_t child = fork();
    if (child == 0) _exit(chdir("../two") == 0 && Often("f").st_size == 2 ? 0 : 1);
    int result = 1;
    waitpid(child, &result, 0);
    return result == 0 && Often("f").st_size == 1;
  }));
}

TEST(RepeatedCalls, TheRootCounts) {
  const TempDirectory dir;
  dir.Directory("root");
  dir.File("root/only-here-in-the-new-root", "1");
  EXPECT_TRUE(InChild([&] {
    ExpectMissing("/only-here-in-the-new-root");
    if (chroot((dir / "root").c_str()) < 0 || chdir("/") < 0) return false;
    return Often("/only-here-in-the-new-root").st_size == 1 && !testing::Test::HasFailure();
  }));
}

TEST(RepeatedCalls, BadPointersAreErrors) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "1");
  struct stat status;
  char text[64];
  char* const page =
      static_cast<char*>(mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(page, MAP_FAILED);
  ASSERT_EQ(mprotect(page + 4096, 4096, PROT_NONE), 0);
  Often(path);
  for (int i = 0; i < kOften; ++i) {
    EXPECT_THAT(stat(kWildPointer, &status), SyscallFailsWithErrno(EFAULT));
    EXPECT_THAT(stat(page + 4096, &status), SyscallFailsWithErrno(EFAULT));
    EXPECT_THAT(stat(path.c_str(), reinterpret_cast<struct stat*>(kWildPointer)), SyscallFailsWithErrno(EFAULT));
    EXPECT_THAT(stat(path.c_str(), reinterpret_cast<struct stat*>(page + 4096 - 64)), SyscallFailsWithErrno(EFAULT));
    EXPECT_THAT(readlink(kWildPointer, text, sizeof text), SyscallFailsWithErrno(EFAULT));
    EXPECT_THAT(access(page + 4096, F_OK), SyscallFailsWithErrno(EFAULT));
    EXPECT_THAT(open(page + 4096, O_RDONLY), SyscallFailsWithErrno(EFAULT));
    EXPECT_THAT(getxattr(path.c_str(), kWildPointer, text, sizeof text), SyscallFailsWithErrno(EFAULT));
    EXPECT_THAT(stat("", &status), SyscallFailsWithErrno(ENOENT));
  }
  // A path that ends with its page is whole.
  char* const at_end = page + 4096 - path.size() - 1;
  memcpy(at_end, path.c_str(), path.size() + 1);
  for (int i = 0; i < kOften; ++i) EXPECT_THAT(stat(at_end, &status), SyscallSucceeds());
  page[4095] = 'x';  // and now it goes on where nothing is
  for (int i = 0; i < kOften; ++i) EXPECT_THAT(stat(at_end, &status), SyscallFailsWithErrno(EFAULT));
  munmap(page, 8192);
}

TEST(RepeatedCalls, FlagsCount) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "1");
  struct stat status;
  Often(path);
  for (int i = 0; i < kOften; ++i) {
    EXPECT_THAT(fstatat(AT_FDCWD, path.c_str(), &status, 0x40000), SyscallFailsWithErrno(EINVAL));
    EXPECT_THAT(fstatat(-5, path.c_str(), &status, 0), SyscallSucceeds()) << "an absolute path";
    EXPECT_THAT(fstatat(-5, "f", &status, 0), SyscallFailsWithErrno(EBADF));
    EXPECT_THAT(access(path.c_str(), 8), SyscallFailsWithErrno(EINVAL));
    const Fd made(open((dir / ("new" + std::to_string(i))).c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
    EXPECT_TRUE(made.ok());
  }
  const std::string missing = dir / "missing";
  ExpectMissing(missing);
  const Fd made(open(missing.c_str(), O_RDWR | O_CREAT, 0600));
  EXPECT_TRUE(made.ok());
  EXPECT_EQ(Often(missing).st_size, 0);
}

TEST(RepeatedCalls, ExtendedAttributesComeAndGo) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "1");
  char value[16];
  if (setxattr(path.c_str(), "security.usl-test", "x", 1, 0) < 0) GTEST_SKIP() << "no such attributes here";
  ASSERT_THAT(removexattr(path.c_str(), "security.usl-test"), SyscallSucceeds());
  Often(path);
  for (int i = 0; i < kOften; ++i) {
    EXPECT_THAT(getxattr(path.c_str(), "security.usl-test", value, sizeof value), SyscallFailsWithErrno(ENODATA));
    EXPECT_THAT(getxattr(path.c_str(), "nonsense", value, sizeof value), SyscallFailsWithErrno(EOPNOTSUPP));
  }
  ASSERT_THAT(setxattr(path.c_str(), "security.usl-test", "abc", 3, 0), SyscallSucceeds());
  for (int i = 0; i < kOften; ++i) {
    EXPECT_THAT(getxattr(path.c_str(), "security.usl-test", value, sizeof value), SyscallSucceedsWithValue(3));
  }
  ASSERT_THAT(removexattr(path.c_str(), "security.usl-test"), SyscallSucceeds());
  for (int i = 0; i < kOften; ++i) {
    EXPECT_THAT(getxattr(path.c_str(), "security.usl-test", value, sizeof value), SyscallFailsWithErrno(ENODATA));
  }
}

// Whatever a thread is told was true at some moment of the call.
TEST(RepeatedCalls, AnotherThreadChangesThings) {
  const TempDirectory dir;
  const std::string path = dir / "f";
  dir.File("f", "1");
  Often(path);  // while there is one thread only
  std::atomic<bool> done = false;
  std::thread changer([&] {
    for (int i = 0; i < 300; ++i) {
      unlink(path.c_str());
      dir.File("f", i % 2 ? "1" : "22");
    }
    done = true;
  });
  struct stat status;
  while (!done) {
    if (stat(path.c_str(), &status) == 0) {
      ASSERT_TRUE(S_ISREG(status.st_mode));
      ASSERT_LE(status.st_size, 2);
    } else {
      ASSERT_EQ(errno, ENOENT);
    }
  }
  changer.join();
  EXPECT_EQ(Often(path).st_size, 1);
}

}  // namespace
}  // namespace usl::conformance
