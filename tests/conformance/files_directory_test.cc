// mkdir(2), rmdir(2), unlink(2), link(2), symlink(2), mknod(2), chdir(2), getcwd(2), chroot(2), getdents(2).
#include <dirent.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

TEST(MakeDirectory, ModesAndErrors) {
  const TempDirectory dir;
  const ScopedUmask mask(022);
  EXPECT_THAT(mkdir((dir / "d").c_str(), 0777), SyscallSucceeds());
  EXPECT_EQ(ModeOf(dir / "d"), 0755u);
  EXPECT_THAT(mkdir((dir / "sticky").c_str(), 07777), SyscallSucceeds());
  EXPECT_EQ(ModeOf(dir / "sticky"), 01755u);
  EXPECT_THAT(mkdir((dir / "d").c_str(), 0777), SyscallFailsWithErrno(EEXIST));
  EXPECT_THAT(mkdir((dir / "d/.").c_str(), 0777), SyscallFailsWithErrno(EEXIST));
  EXPECT_THAT(mkdir("/", 0777), SyscallFailsWithErrno(EEXIST));
  EXPECT_THAT(mkdir((dir / "slash/").c_str(), 0777), SyscallSucceeds());
  EXPECT_THAT(mkdir((dir / "no/d").c_str(), 0777), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(mkdir("", 0777), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(mkdir((dir / std::string(256, 'n')).c_str(), 0777), SyscallFailsWithErrno(ENAMETOOLONG));
  EXPECT_THAT(mkdir((dir / std::string(255, 'n')).c_str(), 0777), SyscallSucceeds());
  ASSERT_THAT(symlink("nowhere", (dir / "dangling").c_str()), SyscallSucceeds());
  EXPECT_THAT(mkdir((dir / "dangling").c_str(), 0777), SyscallFailsWithErrno(EEXIST));
  EXPECT_EQ(ErrnoAs(kUser, [&] { return mkdir((dir / "d/x").c_str(), 0777); }), EACCES);
}

TEST(MakeDirectory, SetgidIsInherited) {
  const TempDirectory dir;
  dir.Directory("d", 0777);
  ASSERT_THAT(chown((dir / "d").c_str(), 0, kOtherGroup), SyscallSucceeds());
  ASSERT_THAT(chmod((dir / "d").c_str(), 02777), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return mkdir((dir / "d/sub").c_str(), 0755); }), 0);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open((dir / "d/file").c_str(), O_CREAT | O_WRONLY, 0644); }), 0);
  EXPECT_EQ(StatOf(dir / "d/sub").st_gid, kOtherGroup);
  EXPECT_EQ(ModeOf(dir / "d/sub") & 02000, 02000u);
  EXPECT_EQ(StatOf(dir / "d/file").st_gid, kOtherGroup);
  EXPECT_EQ(StatOf(dir / "d/file").st_uid, kUser);
}

TEST(RemoveDirectory, OnlyEmptyOnes) {
  const TempDirectory dir;
  dir.Directory("d");
  dir.File("d/f");
  EXPECT_THAT(rmdir((dir / "d").c_str()), SyscallFailsWithErrno(ENOTEMPTY));
  EXPECT_THAT(rmdir((dir / "d/f").c_str()), SyscallFailsWithErrno(ENOTDIR));
  EXPECT_THAT(rmdir((dir / "d/.").c_str()), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(rmdir((dir / "d/..").c_str()), SyscallFailsWithErrno(ENOTEMPTY));
  ASSERT_THAT(unlink((dir / "d/f").c_str()), SyscallSucceeds());
  EXPECT_THAT(rmdir((dir / "d/").c_str()), SyscallSucceeds());
  EXPECT_THAT(rmdir((dir / "d").c_str()), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(rmdir("/"), SyscallFailsWithErrno(EBUSY));
}

TEST(Unlink, FilesLinksAndDirectories) {
  const TempDirectory dir;
  dir.File("f");
  dir.Directory("d");
  ASSERT_THAT(symlink("f", (dir / "link").c_str()), SyscallSucceeds());
  EXPECT_THAT(unlink((dir / "link").c_str()), SyscallSucceeds());
  EXPECT_TRUE(Exists(dir / "f"));
  EXPECT_THAT(unlink((dir / "d").c_str()), SyscallFailsWithErrno(EISDIR));
  EXPECT_THAT(unlink((dir / "f/").c_str()), SyscallFailsWithErrno(ENOTDIR));
  EXPECT_THAT(unlink((dir / "f").c_str()), SyscallSucceeds());
  EXPECT_THAT(unlink((dir / "f").c_str()), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(unlink(""), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(unlinkat(AT_FDCWD, (dir / "d").c_str(), 0x1000), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(unlinkat(AT_FDCWD, (dir / "d").c_str(), AT_REMOVEDIR), SyscallSucceeds());
}

TEST(Unlink, StickyDirectoriesProtectOthersFiles) {
  const TempDirectory dir;
  dir.Directory("sticky", 01777);
  dir.File("sticky/f");
  ASSERT_THAT(chown((dir / "sticky/f").c_str(), kUser, kGroup), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kOtherUser, [&] { return unlink((dir / "sticky/f").c_str()); }), EPERM);
  EXPECT_EQ(ErrnoAs(kOtherUser, [&] { return rename((dir / "sticky/f").c_str(), (dir / "sticky/g").c_str()); }), EPERM);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return unlink((dir / "sticky/f").c_str()); }), 0);
}

TEST(Link, AnotherNameForTheSameFile) {
  const TempDirectory dir;
  dir.File("f", "x");
  dir.Directory("d");
  EXPECT_THAT(link((dir / "f").c_str(), (dir / "d/g").c_str()), SyscallSucceeds());
  EXPECT_EQ(StatOf(dir / "f").st_ino, StatOf(dir / "d/g").st_ino);
  EXPECT_THAT(link((dir / "f").c_str(), (dir / "d/g").c_str()), SyscallFailsWithErrno(EEXIST));
  EXPECT_THAT(link((dir / "d").c_str(), (dir / "e").c_str()), SyscallFailsWithErrno(EPERM));
  EXPECT_THAT(link((dir / "missing").c_str(), (dir / "e").c_str()), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(link((dir / "f").c_str(), "/dev/conformance-link"), SyscallFailsWithErrno(EXDEV));
  ASSERT_THAT(unlink((dir / "f").c_str()), SyscallSucceeds());
  EXPECT_EQ(ReadFile(dir / "d/g"), "x");
}

TEST(Link, SymlinksAreLinkedThemselvesUnlessFollowed) {
  const TempDirectory dir;
  dir.File("f");
  ASSERT_THAT(symlink("f", (dir / "link").c_str()), SyscallSucceeds());
  EXPECT_THAT(link((dir / "link").c_str(), (dir / "a").c_str()), SyscallSucceeds());
  EXPECT_TRUE(S_ISLNK(StatOf(dir / "a").st_mode));
  EXPECT_THAT(linkat(AT_FDCWD, (dir / "link").c_str(), AT_FDCWD, (dir / "b").c_str(), AT_SYMLINK_FOLLOW),
              SyscallSucceeds());
  EXPECT_TRUE(S_ISREG(StatOf(dir / "b").st_mode));
  EXPECT_THAT(linkat(AT_FDCWD, (dir / "f").c_str(), AT_FDCWD, (dir / "c").c_str(), 0x40),
              SyscallFailsWithErrno(EINVAL));
}

TEST(Link, ByDescriptorNeedsACapability) {
  const TempDirectory dir;
  dir.File("f", "x", 0666);
  const Fd fd(open((dir / "f").c_str(), O_RDONLY));
  EXPECT_THAT(linkat(fd.get(), "", AT_FDCWD, (dir / "g").c_str(), AT_EMPTY_PATH), SyscallSucceeds());
  EXPECT_EQ(ReadFile(dir / "g"), "x");
  EXPECT_EQ(ErrnoAs(kUser, [&] { return linkat(fd.get(), "", AT_FDCWD, (dir / "h").c_str(), AT_EMPTY_PATH); }), ENOENT);
}

TEST(Symlink, HoldsAnyText) {
  const TempDirectory dir;
  EXPECT_THAT(symlink("/does//not/../exist", (dir / "a").c_str()), SyscallSucceeds());
  EXPECT_THAT(symlink("x", (dir / "a").c_str()), SyscallFailsWithErrno(EEXIST));
  EXPECT_THAT(symlink("", (dir / "b").c_str()), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(symlink("x", ""), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(symlink(kWildPointer, (dir / "b").c_str()), SyscallFailsWithErrno(EFAULT));
  const std::string longest(PATH_MAX - 1, 't');
  EXPECT_THAT(symlink((longest + "t").c_str(), (dir / "b").c_str()), SyscallFailsWithErrno(ENAMETOOLONG));
  EXPECT_THAT(symlink("x", (dir / "c/").c_str()), SyscallFailsWithErrno(ENOENT));
}

TEST(Symlink, OwnersOfLinksAreKept) {
  const TempDirectory dir;
  EXPECT_EQ(ErrnoAs(kUser, [&] { return symlink("x", (dir / "link").c_str()); }), 0);
  EXPECT_EQ(StatOf(dir / "link").st_uid, kUser);
  EXPECT_THAT(lchown((dir / "link").c_str(), kOtherUser, kOtherGroup), SyscallSucceeds());
  EXPECT_EQ(StatOf(dir / "link").st_uid, kOtherUser);
  char buffer[8];
  EXPECT_THAT(readlink((dir / "link").c_str(), buffer, sizeof buffer), SyscallSucceedsWithValue(1));
}

TEST(MakeNode, AllTypes) {
  const TempDirectory dir;
  const ScopedUmask mask(022);
  EXPECT_THAT(mknod((dir / "regular").c_str(), 0666, 0), SyscallSucceeds());
  EXPECT_EQ(StatOf(dir / "regular").st_mode, static_cast<mode_t>(S_IFREG | 0644));
  EXPECT_THAT(mknod((dir / "fifo").c_str(), S_IFIFO | 0666, 0), SyscallSucceeds());
  EXPECT_TRUE(S_ISFIFO(StatOf(dir / "fifo").st_mode));
  EXPECT_THAT(mknod((dir / "socket").c_str(), S_IFSOCK | 0600, 0), SyscallSucceeds());
  EXPECT_TRUE(S_ISSOCK(StatOf(dir / "socket").st_mode));
  EXPECT_THAT(mknod((dir / "null").c_str(), S_IFCHR | 0666, makedev(1, 3)), SyscallSucceeds());
  EXPECT_TRUE(S_ISCHR(StatOf(dir / "null").st_mode));
  EXPECT_EQ(StatOf(dir / "null").st_rdev, makedev(1, 3));
  EXPECT_THAT(mknod((dir / "block").c_str(), S_IFBLK | 0600, makedev(240, 70000)), SyscallSucceeds());
  EXPECT_EQ(StatOf(dir / "block").st_rdev, makedev(240, 70000));
  EXPECT_THAT(mknod((dir / "d").c_str(), S_IFDIR | 0600, 0), SyscallFailsWithErrno(EPERM));
  EXPECT_THAT(mknod((dir / "l").c_str(), S_IFLNK | 0600, 0), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(mknod((dir / "fifo").c_str(), S_IFIFO | 0600, 0), SyscallFailsWithErrno(EEXIST));
  EXPECT_EQ(ErrnoAs(kUser, [&] { return mknod((dir / "zero").c_str(), S_IFCHR | 0666, makedev(1, 5)); }), EPERM);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return mknod((dir / "pipe").c_str(), S_IFIFO | 0666, 0); }), 0);
}

TEST(WorkingDirectory, ChangesAndIsTold) {
  const TempDirectory dir;
  dir.Directory("d");
  dir.File("f");
  EXPECT_TRUE(InChild([&] {
    char buffer[PATH_MAX];
    if (chdir((dir / "d").c_str()) < 0) return false;
    const long length = syscall(SYS_getcwd, buffer, sizeof buffer);
    if (length != static_cast<long>((dir / "d").size() + 1) || (dir / "d") != buffer) return false;
    if (syscall(SYS_getcwd, buffer, length - 1) != -1 || errno != ERANGE) return false;
    if (syscall(SYS_getcwd, kWildPointer, 4096) != -1 || errno != EFAULT) return false;
    if (!Exists("../f")) return false;
    if (rename((dir / "d").c_str(), (dir / "e").c_str()) < 0) return false;
    if (syscall(SYS_getcwd, buffer, sizeof buffer) < 0 || (dir / "e") != buffer) return false;
    if (rmdir((dir / "e").c_str()) < 0) return false;
    if (syscall(SYS_getcwd, buffer, sizeof buffer) != -1 || errno != ENOENT) return false;
    return open("new", O_CREAT | O_WRONLY, 0600) == -1 && errno == ENOENT && Exists("..");
  }));
}

TEST(WorkingDirectory, Errors) {
  const TempDirectory dir;
  dir.File("f");
  dir.Directory("closed", 0600);
  EXPECT_THAT(chdir((dir / "f").c_str()), SyscallFailsWithErrno(ENOTDIR));
  EXPECT_THAT(chdir((dir / "missing").c_str()), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(chdir(""), SyscallFailsWithErrno(ENOENT));
  const Fd file(open((dir / "f").c_str(), O_RDONLY));
  EXPECT_THAT(fchdir(file.get()), SyscallFailsWithErrno(ENOTDIR));
  EXPECT_THAT(fchdir(-1), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(fchdir(AT_FDCWD), SyscallFailsWithErrno(EBADF));
  EXPECT_EQ(ErrnoAs(kUser, [&] { return chdir((dir / "closed").c_str()); }), EACCES);
  EXPECT_TRUE(InChild([&] {
    const int fd = open(dir.path().c_str(), O_PATH);
    return fchdir(fd) == 0 && Exists("f");
  }));
}

TEST(ChangeRoot, HidesWhatIsAbove) {
  const TempDirectory dir;
  dir.Directory("root");
  dir.File("root/f", "inside");
  dir.File("f", "outside");
  ASSERT_THAT(symlink("/f", (dir / "root/link").c_str()), SyscallSucceeds());
  EXPECT_TRUE(InChild([&] {
    if (chroot((dir / "root").c_str()) < 0 || chdir("/") < 0) return false;
    char buffer[16];
    return ReadFile("/f") == "inside" && ReadFile("/../f") == "inside" && ReadFile("../../f") == "inside" &&
           ReadFile("/link") == "inside" && syscall(SYS_getcwd, buffer, sizeof buffer) == 2 && buffer[0] == '/';
  }));
  EXPECT_EQ(ErrnoAs(kUser, [&] { return chroot((dir / "root").c_str()); }), EPERM);
  EXPECT_THAT(chroot((dir / "f").c_str()), SyscallFailsWithErrno(ENOTDIR));
}

std::set<std::string> Names(DIR* directory) {
  std::set<std::string> names;
  while (const dirent* entry = readdir(directory)) EXPECT_TRUE(names.insert(entry->d_name).second) << entry->d_name;
  return names;
}

TEST(ReadDirectory, ListsEachNameOnce) {
  const TempDirectory dir;
  std::set<std::string> expected = {".", ".."};
  for (int i = 0; i < 500; ++i) {
    const std::string name = "file-with-a-longer-name-" + std::to_string(i);
    dir.File(name);
    expected.insert(name);
  }
  DIR* directory = opendir(dir.path().c_str());
  ASSERT_NE(directory, nullptr);
  EXPECT_EQ(Names(directory), expected);
  rewinddir(directory);
  EXPECT_EQ(Names(directory), expected);
  closedir(directory);
}

TEST(ReadDirectory, TypesAndInodeNumbers) {
  const TempDirectory dir;
  dir.File("f");
  dir.Directory("d");
  ASSERT_THAT(symlink("f", (dir / "l").c_str()), SyscallSucceeds());
  ASSERT_THAT(mkfifo((dir / "p").c_str(), 0600), SyscallSucceeds());
  DIR* directory = opendir(dir.path().c_str());
  int seen = 0;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name == "..") continue;
    EXPECT_EQ(entry->d_ino, StatOf(name == "." ? dir.path() : dir / name).st_ino) << name;
    const unsigned char expected = name == "f" ? DT_REG : name == "l" ? DT_LNK : name == "p" ? DT_FIFO : DT_DIR;
    EXPECT_EQ(entry->d_type, expected) << name;
    ++seen;
  }
  EXPECT_EQ(seen, 5);
  closedir(directory);
}

TEST(ReadDirectory, PositionsCanBeComeBackTo) {
  const TempDirectory dir;
  for (int i = 0; i < 50; ++i) dir.File("f" + std::to_string(i));
  DIR* directory = opendir(dir.path().c_str());
  for (int i = 0; i < 20; ++i) readdir(directory);
  const long position = telldir(directory);
  const std::string next = readdir(directory)->d_name;
  Names(directory);
  seekdir(directory, position);
  EXPECT_EQ(readdir(directory)->d_name, next);
  closedir(directory);
}

TEST(ReadDirectory, DuplicatesShareThePosition) {
  const TempDirectory dir;
  for (int i = 0; i < 30; ++i) dir.File("f" + std::to_string(i));
  const Fd fd(open(dir.path().c_str(), O_RDONLY | O_DIRECTORY));
  const Fd copy(dup(fd.get()));
  char buffer[256];
  long total = 0, count;
  for (bool odd = false; (count = syscall(SYS_getdents64, odd ? copy.get() : fd.get(), buffer, sizeof buffer)) > 0;
       odd = !odd) {
    for (long at = 0; at < count; at += reinterpret_cast<dirent64*>(buffer + at)->d_reclen) ++total;
  }
  EXPECT_EQ(total, 32);
  ASSERT_THAT(lseek(copy.get(), 0, SEEK_SET), SyscallSucceedsWithValue(0));
  EXPECT_GT(syscall(SYS_getdents64, fd.get(), buffer, sizeof buffer), 0);
}

TEST(ReadDirectory, RemovingWhileReadingLosesNothing) {
  const TempDirectory dir;
  for (int i = 0; i < 300; ++i) dir.File("f" + std::to_string(i));
  DIR* directory = opendir(dir.path().c_str());
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] != 'f') continue;
    EXPECT_THAT(unlink((dir / entry->d_name).c_str()), SyscallSucceeds());
  }
  rewinddir(directory);
  EXPECT_EQ(Names(directory).size(), 2u);
  closedir(directory);
}

TEST(ReadDirectory, BadArguments) {
  const TempDirectory dir;
  dir.File("f");
  const Fd fd(open(dir.path().c_str(), O_RDONLY | O_DIRECTORY));
  const Fd file(open((dir / "f").c_str(), O_RDONLY));
  const Fd path(open(dir.path().c_str(), O_PATH));
  char buffer[1024];
  EXPECT_THAT(syscall(SYS_getdents64, fd.get(), buffer, 8), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(SYS_getdents64, fd.get(), kWildPointer, 1024), SyscallFailsWithErrno(EFAULT));
  EXPECT_THAT(syscall(SYS_getdents64, file.get(), buffer, sizeof buffer), SyscallFailsWithErrno(ENOTDIR));
  EXPECT_THAT(syscall(SYS_getdents64, path.get(), buffer, sizeof buffer), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(syscall(SYS_getdents64, -1, buffer, sizeof buffer), SyscallFailsWithErrno(EBADF));
  // The failures took nothing away.
  long total = 0;
  for (long count; (count = syscall(SYS_getdents64, fd.get(), buffer, sizeof buffer)) > 0;) {
    for (long at = 0; at < count; at += reinterpret_cast<dirent64*>(buffer + at)->d_reclen) ++total;
  }
  EXPECT_EQ(total, 3);
}

TEST(ReadDirectory, OfARemovedDirectory) {
  const TempDirectory dir;
  dir.Directory("d");
  const Fd fd(open((dir / "d").c_str(), O_RDONLY | O_DIRECTORY));
  ASSERT_THAT(rmdir((dir / "d").c_str()), SyscallSucceeds());
  char buffer[1024];
  EXPECT_THAT(syscall(SYS_getdents64, fd.get(), buffer, sizeof buffer), SyscallFailsWithErrno(ENOENT));
}

TEST(ReadDirectory, OldLayout) {
  const TempDirectory dir;
  dir.File("f");
  const Fd fd(open(dir.path().c_str(), O_RDONLY | O_DIRECTORY));
  char buffer[1024];
  const long count = syscall(SYS_getdents, fd.get(), buffer, sizeof buffer);
  ASSERT_GT(count, 0);
  bool found = false;
  for (long at = 0; at < count;) {
    unsigned short length;
    memcpy(&length, buffer + at + 16, sizeof length);
    if (std::string(buffer + at + 18) == "f") {
      found = true;
      EXPECT_EQ(buffer[at + length - 1], DT_REG);
    }
    at += length;
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace usl::conformance
