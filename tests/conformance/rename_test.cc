// rename(2), renameat(2), renameat2(2).
#include <linux/fs.h>
#include <sys/syscall.h>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

int Rename(const std::string& from, const std::string& to) {
  return rename(from.c_str(), to.c_str());
}

long Rename2(const std::string& from, const std::string& to, unsigned flags) {
  return syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags);
}

// What stands at the source or the target: - nothing, f file, d empty directory, D directory with content, l symlink.
void Put(const TempDirectory& dir, const std::string& name, char what) {
  switch (what) {
    case 'f': dir.File(name, name); break;
    case 'd': dir.Directory(name); break;
    case 'D':
      dir.Directory(name);
      dir.File(name + "/content");
      break;
    case 'l': ASSERT_THAT(symlink("nowhere", (dir / name).c_str()), SyscallSucceeds()); break;
    default: break;
  }
}

struct RenameCase {
  char from, to;
  int error;
};

class RenameMatrix : public ::testing::TestWithParam<RenameCase> {};

TEST_P(RenameMatrix, GivesWhatLinuxGives) {
  const TempDirectory dir;
  const auto [from, to, error] = GetParam();
  Put(dir, "from", from);
  Put(dir, "to", to);
  const ino_t inode = from == '-' ? 0 : StatOf(dir / "from").st_ino;
  if (error) {
    EXPECT_THAT(Rename(dir / "from", dir / "to"), SyscallFailsWithErrno(error));
    EXPECT_EQ(Exists(dir / "from"), from != '-');
    EXPECT_EQ(Exists(dir / "to"), to != '-');
  } else {
    EXPECT_THAT(Rename(dir / "from", dir / "to"), SyscallSucceeds());
    EXPECT_FALSE(Exists(dir / "from"));
    EXPECT_EQ(StatOf(dir / "to").st_ino, inode);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, RenameMatrix,
    ::testing::Values(RenameCase{'-', '-', ENOENT}, RenameCase{'-', 'f', ENOENT}, RenameCase{'f', '-', 0},
                      RenameCase{'f', 'f', 0}, RenameCase{'f', 'l', 0}, RenameCase{'f', 'd', EISDIR},
                      RenameCase{'f', 'D', EISDIR}, RenameCase{'l', '-', 0}, RenameCase{'l', 'f', 0},
                      RenameCase{'l', 'd', EISDIR}, RenameCase{'d', '-', 0}, RenameCase{'d', 'f', ENOTDIR},
                      RenameCase{'d', 'l', ENOTDIR}, RenameCase{'d', 'd', 0}, RenameCase{'d', 'D', ENOTEMPTY},
                      RenameCase{'D', '-', 0}, RenameCase{'D', 'd', 0}, RenameCase{'D', 'D', ENOTEMPTY}));

TEST(Rename, ToItselfOrAnotherNameOfItselfDoesNothing) {
  const TempDirectory dir;
  dir.File("f");
  ASSERT_THAT(link((dir / "f").c_str(), (dir / "g").c_str()), SyscallSucceeds());
  EXPECT_THAT(Rename(dir / "f", dir / "f"), SyscallSucceeds());
  EXPECT_THAT(Rename(dir / "f", dir / "g"), SyscallSucceeds());
  EXPECT_TRUE(Exists(dir / "f"));
  EXPECT_TRUE(Exists(dir / "g"));
}

TEST(Rename, BadPlaces) {
  const TempDirectory dir;
  dir.File("f");
  dir.Directory("d");
  dir.Directory("d/e");
  EXPECT_THAT(Rename(dir / "d", dir / "d/e/x"), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(Rename(dir / "d/e", dir / "d"), SyscallFailsWithErrno(ENOTEMPTY));
  EXPECT_THAT(Rename(dir / "f", dir / "no/x"), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(Rename(dir / "f", dir / "f/x"), SyscallFailsWithErrno(ENOTDIR));
  EXPECT_THAT(Rename(dir / "f/", dir / "x"), SyscallFailsWithErrno(ENOTDIR));
  EXPECT_THAT(Rename(dir / "f", dir / "x/"), SyscallFailsWithErrno(ENOTDIR));
  EXPECT_THAT(Rename(dir / "d/.", dir / "x"), SyscallFailsWithErrno(EBUSY));
  EXPECT_THAT(Rename(dir / "d/..", dir / "x"), SyscallFailsWithErrno(EBUSY));
  EXPECT_THAT(Rename("", dir / "x"), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(Rename(dir / "f", dir / std::string(256, 'n')), SyscallFailsWithErrno(ENAMETOOLONG));
  EXPECT_THAT(Rename(dir / "f", "/dev/conformance-rename"), SyscallFailsWithErrno(EXDEV));
  EXPECT_THAT(Rename(dir / "d/", dir / "moved/"), SyscallSucceeds());
}

TEST(Rename, OpenFilesAndDirectoriesFollow) {
  const TempDirectory dir;
  dir.Directory("a");
  dir.Directory("b");
  dir.File("a/f", "content");
  const Fd fd(open((dir / "a/f").c_str(), O_RDONLY));
  const Fd a(open((dir / "a").c_str(), O_RDONLY));
  ASSERT_THAT(Rename(dir / "a", dir / "b/c"), SyscallSucceeds());
  EXPECT_EQ(ReadFile(dir / "b/c/f"), "content");
  struct stat status, up, expected;
  EXPECT_THAT(fstatat(a.get(), "f", &status, 0), SyscallSucceeds());
  ASSERT_THAT(fstatat(a.get(), "..", &up, 0), SyscallSucceeds());
  ASSERT_THAT(stat((dir / "b").c_str(), &expected), SyscallSucceeds());
  EXPECT_EQ(up.st_ino, expected.st_ino);
  EXPECT_EQ(StatOf(dir.path()).st_nlink, 3u);
}

TEST(Rename, AReplacedFileLivesOnInItsDescriptors) {
  const TempDirectory dir;
  dir.File("old", "old");
  dir.File("new", "new");
  const Fd fd(open((dir / "old").c_str(), O_RDONLY));
  ASSERT_THAT(Rename(dir / "new", dir / "old"), SyscallSucceeds());
  char buffer[4] = {};
  EXPECT_THAT(read(fd.get(), buffer, 3), SyscallSucceedsWithValue(3));
  EXPECT_STREQ(buffer, "old");
  EXPECT_EQ(ReadFile(dir / "old"), "new");
}

TEST(Rename2, NoReplace) {
  const TempDirectory dir;
  dir.File("f");
  dir.File("g");
  EXPECT_THAT(Rename2(dir / "f", dir / "g", RENAME_NOREPLACE), SyscallFailsWithErrno(EEXIST));
  EXPECT_THAT(Rename2(dir / "f", dir / "h", RENAME_NOREPLACE), SyscallSucceeds());
  EXPECT_TRUE(Exists(dir / "h"));
}

TEST(Rename2, Exchange) {
  const TempDirectory dir;
  dir.File("f", "file");
  dir.Directory("d");
  dir.File("d/x");
  EXPECT_THAT(Rename2(dir / "f", dir / "d", RENAME_EXCHANGE), SyscallSucceeds());
  EXPECT_EQ(ReadFile(dir / "d"), "file");
  EXPECT_TRUE(Exists(dir / "f/x"));
  EXPECT_THAT(Rename2(dir / "f", dir / "missing", RENAME_EXCHANGE), SyscallFailsWithErrno(ENOENT));
}

TEST(Rename2, BadFlags) {
  const TempDirectory dir;
  dir.File("f");
  EXPECT_THAT(Rename2(dir / "f", dir / "g", RENAME_EXCHANGE | RENAME_NOREPLACE), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(Rename2(dir / "f", dir / "g", 0x80), SyscallFailsWithErrno(EINVAL));
}

TEST(Rename, NeedsWritePermissionOnBothDirectories) {
  const TempDirectory dir;
  dir.Directory("open", 0777);
  dir.Directory("closed", 0755);
  dir.File("open/f", "", 0666);
  dir.File("closed/g", "", 0666);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return Rename(dir / "open/f", dir / "closed/f"); }), EACCES);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return Rename(dir / "closed/g", dir / "open/g"); }), EACCES);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return Rename(dir / "open/f", dir / "open/h"); }), 0);
}

}  // namespace
}  // namespace usl::conformance
