// Names and paths: their lengths, and the bytes that they may have.
#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>

#include <set>
#include <string>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

// A symlink may have several names, and an owner.
TEST(Names, AnOwnerOfALinkWithTwoNames) {
  const TempDirectory dir;
  ASSERT_THAT(symlink("target", (dir / "a").c_str()), SyscallSucceeds());
  ASSERT_THAT(link((dir / "a").c_str(), (dir / "b").c_str()), SyscallSucceeds());
  ASSERT_THAT(lchown((dir / "b").c_str(), 12, 34), SyscallSucceeds());
  struct stat a, b;
  ASSERT_THAT(lstat((dir / "a").c_str(), &a), SyscallSucceeds());
  ASSERT_THAT(lstat((dir / "b").c_str(), &b), SyscallSucceeds());
  EXPECT_EQ(a.st_ino, b.st_ino);
  EXPECT_EQ(a.st_nlink, 2u);
  EXPECT_EQ(a.st_uid, 12u);
  EXPECT_EQ(a.st_gid, 34u);
  char text[16] = {};
  EXPECT_THAT(readlink((dir / "a").c_str(), text, sizeof text), SyscallSucceedsWithValue(6));
  ASSERT_THAT(unlink((dir / "b").c_str()), SyscallSucceeds());
  ASSERT_THAT(lstat((dir / "a").c_str(), &a), SyscallSucceeds());
  EXPECT_EQ(a.st_nlink, 1u);
  EXPECT_EQ(a.st_uid, 12u);
}

TEST(Names, AnyBytesButSlashAndNul) {
  const TempDirectory dir;
  std::set<std::string> made;
  for (int byte = 1; byte < 256; ++byte) {
    if (byte == '/' || byte == '.') continue;
    const std::string name(1, static_cast<char>(byte));
    ASSERT_THAT(mknod((dir / name).c_str(), S_IFREG | 0644, 0), SyscallSucceeds()) << byte;
    made.insert(name);
  }
  for (const char* name :
       {"...", " ", "a ", "a.", "\xff\xfe", "con", "a\nb", "\\", "a:b", "e\xcc\x81", "\xc3\xa9", "*?\"<>|"}) {
    if (!made.insert(name).second) continue;
    ASSERT_THAT(mknod((dir / name).c_str(), S_IFREG | 0644, 0), SyscallSucceeds()) << name;
  }
  std::set<std::string> listed;
  DIR* listing = opendir(dir.path().c_str());
  while (const dirent* entry = readdir(listing)) listed.insert(entry->d_name);
  closedir(listing);
  listed.erase(".");
  listed.erase("..");
  EXPECT_EQ(listed, made);
}

TEST(Names, NamesOf255Bytes) {
  const TempDirectory dir;
  const std::string longest(255, 'n'), longer(256, 'n');
  EXPECT_THAT(mkdir((dir / longest).c_str(), 0755), SyscallSucceeds());
  EXPECT_THAT(rename((dir / longest).c_str(), (dir / longer).c_str()), SyscallFailsWithErrno(ENAMETOOLONG));
  struct stat status;
  EXPECT_THAT(stat((dir / longer).c_str(), &status), SyscallFailsWithErrno(ENAMETOOLONG));
  EXPECT_THAT(mkdir((dir / longer).c_str(), 0755), SyscallFailsWithErrno(ENAMETOOLONG));
  EXPECT_THAT(mknod((dir / longer).c_str(), S_IFREG | 0644, 0), SyscallFailsWithErrno(ENAMETOOLONG));
  EXPECT_THAT(symlink("x", (dir / longer).c_str()), SyscallFailsWithErrno(ENAMETOOLONG));
  EXPECT_THAT(link((dir / longest).c_str(), (dir / longer).c_str()), SyscallFailsWithErrno(ENAMETOOLONG));
  EXPECT_THAT(open((dir / longer).c_str(), O_CREAT | O_WRONLY, 0644), SyscallFailsWithErrno(ENAMETOOLONG));
  EXPECT_THAT(unlink((dir / longer).c_str()), SyscallFailsWithErrno(ENAMETOOLONG));
  EXPECT_THAT(rmdir((dir / longer).c_str()), SyscallFailsWithErrno(ENAMETOOLONG));
  EXPECT_THAT(stat((dir / (longer + "/x")).c_str(), &status), SyscallFailsWithErrno(ENAMETOOLONG));
}

TEST(Names, PathsOf4095Bytes) {
  const TempDirectory dir;
  dir.File("f");
  // The same file by a path of the wanted length.
  const auto padded = [&](size_t length) {
    std::string path = dir.path() + "/";
    const size_t left = length - path.size() - 1;
    path += std::string(left % 2, '/');
    for (size_t i = 0; i < left / 2; ++i) path += "./";
    return path + "f";
  };
  struct stat status;
  EXPECT_THAT(stat(padded(PATH_MAX - 1).c_str(), &status), SyscallSucceeds());
  EXPECT_THAT(stat(padded(PATH_MAX).c_str(), &status), SyscallFailsWithErrno(ENAMETOOLONG));
  EXPECT_THAT(open(padded(PATH_MAX).c_str(), O_RDONLY), SyscallFailsWithErrno(ENAMETOOLONG));
  EXPECT_THAT(unlink(padded(PATH_MAX).c_str()), SyscallFailsWithErrno(ENAMETOOLONG));
  EXPECT_THAT(rename(padded(PATH_MAX - 1).c_str(), padded(PATH_MAX).c_str()), SyscallFailsWithErrno(ENAMETOOLONG));
  EXPECT_THAT(unlink(padded(PATH_MAX - 1).c_str()), SyscallSucceeds());
}

TEST(Names, SymlinkTargetsOf4095Bytes) {
  const TempDirectory dir;
  const std::string longest(PATH_MAX - 1, 't');
  EXPECT_THAT(symlink((longest + "t").c_str(), (dir / "l").c_str()), SyscallFailsWithErrno(ENAMETOOLONG));
  EXPECT_THAT(symlink("", (dir / "l").c_str()), SyscallFailsWithErrno(ENOENT));
  ASSERT_THAT(symlink(longest.c_str(), (dir / "l").c_str()), SyscallSucceeds());
  char buffer[PATH_MAX];
  ASSERT_THAT(readlink((dir / "l").c_str(), buffer, sizeof buffer), SyscallSucceedsWithValue(PATH_MAX - 1));
  struct stat status;
  EXPECT_THAT(stat((dir / "l").c_str(), &status), SyscallFailsWithErrno(ENAMETOOLONG));
  EXPECT_THAT(lstat((dir / "l").c_str(), &status), SyscallSucceeds());
  EXPECT_EQ(status.st_size, PATH_MAX - 1);
}

}  // namespace
}  // namespace usl::conformance
