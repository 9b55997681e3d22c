// Which call changes which of a file's times (inode(7)), in the manner of pjdfstest: each call is made on a file whose
// times lie in the past.
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <functional>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

constexpr timespec kOld[2] = {{1000, 111}, {2000, 222}};

enum Change : unsigned { kNothing = 0, kCtime = 1, kMtime = 2, kParentMtime = 4, kSecondMtime = 8, kAtime = 16 };

struct TimeCase {
  const char* name;
  unsigned expected;
  std::function<long(const std::string& dir)> call;  // works on DIR/d/f, DIR/e
};

std::string F(const std::string& dir) {
  return dir + "/d/f";
}

const TimeCase kCases[] = {
    {"chmod", kCtime, [](const std::string& dir) { return chmod(F(dir).c_str(), 0600); }},
    {"chmod_to_the_same", kCtime, [](const std::string& dir) { return chmod(F(dir).c_str(), 0644); }},
    {"chown", kCtime, [](const std::string& dir) { return chown(F(dir).c_str(), 1, 1); }},
    {"chown_to_the_same", kCtime, [](const std::string& dir) { return chown(F(dir).c_str(), 0, 0); }},
    {"link", kCtime | kParentMtime,
     [](const std::string& dir) { return link(F(dir).c_str(), (dir + "/d/g").c_str()); }},
    {"link_elsewhere", kCtime | kSecondMtime,
     [](const std::string& dir) { return link(F(dir).c_str(), (dir + "/e/g").c_str()); }},
    {"rename", kCtime | kParentMtime,
     [](const std::string& dir) { return rename(F(dir).c_str(), (dir + "/d/g").c_str()); }},
    {"rename_elsewhere", kCtime | kParentMtime | kSecondMtime,
     [](const std::string& dir) { return rename(F(dir).c_str(), (dir + "/e/f").c_str()); }},
    {"rename_to_itself", kNothing, [](const std::string& dir) { return rename(F(dir).c_str(), F(dir).c_str()); }},
    {"exchange", kCtime | kParentMtime | kSecondMtime,
     [](const std::string& dir) {
       return syscall(SYS_renameat2, AT_FDCWD, F(dir).c_str(), AT_FDCWD, (dir + "/e/x").c_str(), RENAME_EXCHANGE);
     }},
    {"truncate", kCtime | kMtime, [](const std::string& dir) { return truncate(F(dir).c_str(), 1); }},
    {"truncate_to_the_same", kCtime | kMtime, [](const std::string& dir) { return truncate(F(dir).c_str(), 7); }},
    {"open_truncate", kCtime | kMtime,
     [](const std::string& dir) { return Fd(open(F(dir).c_str(), O_WRONLY | O_TRUNC)).get(); }},
    {"open_for_writing", kNothing, [](const std::string& dir) { return Fd(open(F(dir).c_str(), O_WRONLY)).get(); }},
    {"open_create_existing", kNothing,
     [](const std::string& dir) { return Fd(open(F(dir).c_str(), O_CREAT | O_WRONLY, 0600)).get(); }},
    {"write", kCtime | kMtime,
     [](const std::string& dir) { return write(Fd(open(F(dir).c_str(), O_WRONLY)).get(), "x", 1); }},
    {"read", kAtime,
     [](const std::string& dir) {
       char byte;
       return read(Fd(open(F(dir).c_str(), O_RDONLY)).get(), &byte, 1);
     }},
    {"read_noatime", kNothing,
     [](const std::string& dir) {
       char byte;
       return read(Fd(open(F(dir).c_str(), O_RDONLY | O_NOATIME)).get(), &byte, 1);
     }},
    {"setxattr", kCtime, [](const std::string& dir) { return setxattr(F(dir).c_str(), "user.a", "1", 1, 0); }},
    {"set_trusted", kCtime, [](const std::string& dir) { return setxattr(F(dir).c_str(), "trusted.a", "1", 1, 0); }},
    {"removexattr", kCtime, [](const std::string& dir) { return removexattr(F(dir).c_str(), "user.there"); }},
    {"remove_trusted", kCtime, [](const std::string& dir) { return removexattr(F(dir).c_str(), "trusted.there"); }},
    {"getxattr", kNothing, [](const std::string& dir) { return getxattr(F(dir).c_str(), "user.there", nullptr, 0); }},
    {"utimensat_omitting", kNothing,
     [](const std::string& dir) {
       const timespec omit[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
       return utimensat(AT_FDCWD, F(dir).c_str(), omit, 0);
     }},
    {"utimensat_atime", kCtime | kAtime,
     [](const std::string& dir) {
       const timespec times[2] = {{5, 0}, {0, UTIME_OMIT}};
       return utimensat(AT_FDCWD, F(dir).c_str(), times, 0);
     }},
    {"utimensat_now", kCtime | kMtime | kAtime,
     [](const std::string& dir) { return utimensat(AT_FDCWD, F(dir).c_str(), nullptr, 0); }},
    {"fallocate", kCtime | kMtime,
     [](const std::string& dir) { return fallocate(Fd(open(F(dir).c_str(), O_WRONLY)).get(), 0, 0, 100); }},
    {"stat", kNothing, [](const std::string& dir) { return access(F(dir).c_str(), R_OK); }},
    {"unlink_another", kParentMtime, [](const std::string& dir) { return unlink((dir + "/d/other").c_str()); }},
    {"create", kParentMtime,
     [](const std::string& dir) { return Fd(open((dir + "/d/new").c_str(), O_CREAT | O_WRONLY, 0600)).get(); }},
    {"create_existing_fails", kNothing,
     [](const std::string& dir) { return mkdir(F(dir).c_str(), 0700) < 0 ? 0 : -1; }},
    {"mkdir", kParentMtime, [](const std::string& dir) { return mkdir((dir + "/d/new").c_str(), 0700); }},
    {"mkfifo", kParentMtime, [](const std::string& dir) { return mkfifo((dir + "/d/new").c_str(), 0700); }},
    {"symlink", kParentMtime, [](const std::string& dir) { return symlink("t", (dir + "/d/new").c_str()); }},
    {"owned_symlink", kParentMtime,
     [](const std::string& dir) {
       return ErrnoAs(kUser, [&] { return symlink("t", (dir + "/d/new").c_str()); }) ? -1 : 0;
     }},
    {"rmdir", kParentMtime, [](const std::string& dir) { return rmdir((dir + "/d/sub").c_str()); }},
    {"unnamed", kNothing,
     [](const std::string& dir) { return Fd(open((dir + "/d").c_str(), O_TMPFILE | O_RDWR, 0600)).get(); }},
    {"replace", kCtime | kParentMtime,
     [](const std::string& dir) { return rename(F(dir).c_str(), (dir + "/d/other").c_str()); }},
};

bool IsOld(const timespec& time, int which) {
  return time.tv_sec == kOld[which].tv_sec && time.tv_nsec == kOld[which].tv_nsec;
}
bool Same(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

class CallTimes : public ::testing::TestWithParam<TimeCase> {};

TEST_P(CallTimes, Change) {
  const TempDirectory dir;
  for (const char* name : {"d", "d/sub", "e"}) dir.Directory(name, 0777);
  for (const char* name : {"d/f", "d/other", "e/x"}) dir.File(name, "content");
  ASSERT_THAT(setxattr(F(dir.path()).c_str(), "user.there", "1", 1, 0), SyscallSucceeds());
  ASSERT_THAT(setxattr(F(dir.path()).c_str(), "trusted.there", "1", 1, 0), SyscallSucceeds());
  for (const char* name : {"d/f", "d", "e"}) {
    ASSERT_THAT(utimensat(AT_FDCWD, (dir / name).c_str(), kOld, 0), SyscallSucceeds());
  }
  // By descriptor, as some calls move the file.
  const Fd file(open(F(dir.path()).c_str(), O_RDONLY));
  struct stat before, after;
  ASSERT_THAT(fstat(file.get(), &before), SyscallSucceeds());
  usleep(20'000);  // more than the clock's tick, which is what time stamps are made of
  ASSERT_NE(GetParam().call(dir.path()), -1) << strerror(errno);
  ASSERT_THAT(fstat(file.get(), &after), SyscallSucceeds());
  const unsigned expected = GetParam().expected;
  EXPECT_EQ(!Same(before.st_ctim, after.st_ctim), (expected & kCtime) != 0) << "ctime";
  EXPECT_EQ(!IsOld(after.st_mtim, 1), (expected & kMtime) != 0) << "mtime";
  EXPECT_EQ(!IsOld(after.st_atim, 0), (expected & kAtime) != 0) << "atime";
  EXPECT_EQ(!IsOld(StatOf(dir / "d").st_mtim, 1), (expected & kParentMtime) != 0) << "mtime of the directory";
  EXPECT_EQ(!IsOld(StatOf(dir / "e").st_mtim, 1), (expected & kSecondMtime) != 0) << "mtime of the other directory";
}

INSTANTIATE_TEST_SUITE_P(Every, CallTimes, ::testing::ValuesIn(kCases),
                         [](const auto& each) { return std::string(each.param.name); });

TEST(Times, RangeAndPrecision) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  for (time_t seconds :
       {time_t{0}, time_t{-1}, time_t{1}, time_t{0x7fffffff}, time_t{0x80000000}, time_t{0x100000000}}) {
    const timespec times[2] = {{seconds, 999'999'999}, {seconds, 1}};
    ASSERT_THAT(utimensat(AT_FDCWD, path.c_str(), times, 0), SyscallSucceeds());
    const struct stat status = StatOf(path);
    EXPECT_TRUE(Same(status.st_atim, times[0])) << seconds;
    EXPECT_TRUE(Same(status.st_mtim, times[1])) << seconds;
  }
}

TEST(Times, OfLinksNodesAndDirectories) {
  const TempDirectory dir;
  ASSERT_THAT(symlink("t", (dir / "l").c_str()), SyscallSucceeds());
  ASSERT_THAT(mkfifo((dir / "p").c_str(), 0600), SyscallSucceeds());
  ASSERT_THAT(mknod((dir / "s").c_str(), S_IFSOCK | 0600, 0), SyscallSucceeds());
  dir.Directory("d");
  ASSERT_THAT(symlink("t", (dir / "owned").c_str()), SyscallSucceeds());
  ASSERT_THAT(lchown((dir / "owned").c_str(), kUser, kGroup), SyscallSucceeds());
  for (const char* name : {"l", "p", "s", "d", "owned"}) {
    ASSERT_THAT(utimensat(AT_FDCWD, (dir / name).c_str(), kOld, AT_SYMLINK_NOFOLLOW), SyscallSucceeds()) << name;
    EXPECT_TRUE(IsOld(StatOf(dir / name).st_mtim, 1)) << name;
  }
  // A link keeps its times when it gets an owner.
  ASSERT_THAT(lchown((dir / "l").c_str(), kUser, kGroup), SyscallSucceeds());
  EXPECT_TRUE(IsOld(StatOf(dir / "l").st_mtim, 1));
}

TEST(Statx, AllFields) {
  const TempDirectory dir;
  const std::string path = dir.File("f", std::string(5000, 'x'), 04751);
  ASSERT_THAT(chown(path.c_str(), kUser, kGroup), SyscallSucceeds());
  ASSERT_THAT(chmod(path.c_str(), 04751), SyscallSucceeds());
  ASSERT_THAT(link(path.c_str(), (dir / "g").c_str()), SyscallSucceeds());
  struct statx status {};
  const struct stat old = StatOf(path);
  ASSERT_THAT(statx(AT_FDCWD, path.c_str(), 0, STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, &status),
              SyscallSucceeds());
  EXPECT_EQ(status.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
  EXPECT_TRUE(status.stx_mask & STATX_MNT_ID);
  EXPECT_EQ(status.stx_mode, S_IFREG | 04751);
  EXPECT_EQ(status.stx_nlink, 2u);
  EXPECT_EQ(status.stx_uid, kUser);
  EXPECT_EQ(status.stx_gid, kGroup);
  EXPECT_EQ(status.stx_size, 5000u);
  EXPECT_EQ(status.stx_ino, old.st_ino);
  EXPECT_EQ(status.stx_blocks, static_cast<uint64_t>(old.st_blocks));
  EXPECT_GE(status.stx_blocks * 512, 5000u);
  EXPECT_EQ(status.stx_blksize, static_cast<uint32_t>(old.st_blksize));
  EXPECT_EQ(gnu_dev_makedev(status.stx_dev_major, status.stx_dev_minor), old.st_dev);
  EXPECT_EQ(status.stx_mtime.tv_nsec, old.st_mtim.tv_nsec);
  EXPECT_TRUE(status.stx_mask & STATX_BTIME);
  EXPECT_LE(status.stx_btime.tv_sec, status.stx_ctime.tv_sec);
  EXPECT_FALSE(status.stx_attributes & STATX_ATTR_MOUNT_ROOT);
  EXPECT_TRUE(status.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT);
  EXPECT_THAT(statx(AT_FDCWD, path.c_str(), AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, 0, &status),
              SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(statx(AT_FDCWD, path.c_str(), 0, STATX__RESERVED, &status), SyscallFailsWithErrno(EINVAL));
}

}  // namespace
}  // namespace usl::conformance
