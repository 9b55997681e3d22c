// Permission checks of path_resolution(7), and the metadata calls: chmod(2), chown(2), utimensat(2), truncate(2),
// umask(2).
#include <sys/syscall.h>
#include <sys/time.h>
#include <utime.h>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

TEST(Permission, OwnerGroupAndOthersAreChosenOnce) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "x");
  ASSERT_THAT(chown(path.c_str(), kUser, kGroup), SyscallSucceeds());
  const auto reads = [&] { return open(path.c_str(), O_RDONLY); };
  ASSERT_THAT(chmod(path.c_str(), 0077), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, kGroup, {}, reads), EACCES);
  EXPECT_EQ(ErrnoAs(kOtherUser, kGroup, {}, reads), 0);
  EXPECT_EQ(ErrnoAs(kOtherUser, kOtherGroup, {kGroup}, reads), 0);
  ASSERT_THAT(chmod(path.c_str(), 0707), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kOtherUser, kGroup, {}, reads), EACCES);
  EXPECT_EQ(ErrnoAs(kOtherUser, kOtherGroup, {}, reads), 0);
  ASSERT_THAT(chmod(path.c_str(), 0), SyscallSucceeds());
  EXPECT_THAT(Fd(reads()).get(), SyscallSucceeds());
}

TEST(Permission, DirectoriesNeedSearchAndWrite) {
  const TempDirectory dir;
  dir.Directory("d", 0755);
  dir.File("d/f", "x", 0666);
  ASSERT_THAT(chmod((dir / "d").c_str(), 0766), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open((dir / "d/f").c_str(), O_RDONLY); }), EACCES);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open((dir / "d").c_str(), O_RDONLY); }), 0);
  ASSERT_THAT(chmod((dir / "d").c_str(), 0711), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open((dir / "d/f").c_str(), O_RDONLY); }), 0);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open((dir / "d").c_str(), O_RDONLY); }), EACCES);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return open((dir / "d/new").c_str(), O_CREAT | O_WRONLY, 0600); }), EACCES);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return unlink((dir / "d/f").c_str()); }), EACCES);
}

TEST(ChangeMode, IsForTheOwner) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  ASSERT_THAT(chown(path.c_str(), kUser, kGroup), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return chmod(path.c_str(), 04711); }), 0);
  EXPECT_EQ(ModeOf(path), 04711u);
  EXPECT_EQ(ErrnoAs(kOtherUser, [&] { return chmod(path.c_str(), 0777); }), EPERM);
  // Who is not in the file's group cannot make it setgid.
  EXPECT_EQ(ErrnoAs(kUser, kOtherGroup, {}, [&] { return chmod(path.c_str(), 02755); }), 0);
  EXPECT_EQ(ModeOf(path), 0755u);
  EXPECT_EQ(ErrnoAs(kUser, kOtherGroup, {kGroup}, [&] { return chmod(path.c_str(), 02755); }), 0);
  EXPECT_EQ(ModeOf(path), 02755u);
}

TEST(ChangeMode, AReadOnlyDescriptorWillDo) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "", 0644);
  const Fd fd(open(path.c_str(), O_RDONLY));
  EXPECT_THAT(fchmod(fd.get(), 0600), SyscallSucceeds());
  EXPECT_EQ(ModeOf(path), 0600u);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return fchmod(fd.get(), 0777); }), EPERM);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return fchown(fd.get(), kUser, kGroup); }), EPERM);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return futimens(fd.get(), nullptr); }), EACCES);
}

TEST(ChangeMode, LinksAreFollowed) {
  const TempDirectory dir;
  dir.File("f", "", 0644);
  ASSERT_THAT(symlink("f", (dir / "l").c_str()), SyscallSucceeds());
  EXPECT_THAT(chmod((dir / "l").c_str(), 0600), SyscallSucceeds());
  EXPECT_EQ(ModeOf(dir / "f"), 0600u);
  EXPECT_THAT(syscall(SYS_fchmodat, AT_FDCWD, (dir / "f").c_str(), 0640), SyscallSucceeds());
  EXPECT_THAT(chmod((dir / "missing").c_str(), 0600), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(fchmod(-1, 0600), SyscallFailsWithErrno(EBADF));
  constexpr long kFchmodat2 = 452;
  EXPECT_THAT(syscall(kFchmodat2, AT_FDCWD, (dir / "l").c_str(), 0600, AT_SYMLINK_NOFOLLOW),
              SyscallFailsWithErrno(EOPNOTSUPP));
  EXPECT_THAT(syscall(kFchmodat2, AT_FDCWD, (dir / "f").c_str(), 0604, AT_SYMLINK_NOFOLLOW), SyscallSucceeds());
  EXPECT_EQ(ModeOf(dir / "f"), 0604u);
  EXPECT_THAT(syscall(kFchmodat2, AT_FDCWD, (dir / "f").c_str(), 0600, 0x40000), SyscallFailsWithErrno(EINVAL));
}

TEST(ChangeOwner, NeedsACapabilityButForOnesOwnGroups) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  ASSERT_THAT(chown(path.c_str(), kUser, kGroup), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, kGroup, {kOtherGroup}, [&] { return chown(path.c_str(), -1, kOtherGroup); }), 0);
  EXPECT_EQ(StatOf(path).st_gid, kOtherGroup);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return chown(path.c_str(), kOtherUser, -1); }), EPERM);
  EXPECT_EQ(ErrnoAs(kUser, kGroup, {}, [&] { return chown(path.c_str(), -1, 0); }), EPERM);
  EXPECT_EQ(ErrnoAs(kOtherUser, [&] { return chown(path.c_str(), -1, -1); }), 0);
  EXPECT_THAT(chown(path.c_str(), kOtherUser, -1), SyscallSucceeds());
  EXPECT_EQ(StatOf(path).st_uid, kOtherUser);
  EXPECT_EQ(StatOf(path).st_gid, kOtherGroup);
  EXPECT_THAT(fchownat(AT_FDCWD, path.c_str(), 0, 0, 0x8000), SyscallFailsWithErrno(EINVAL));
}

TEST(ChangeOwner, TakesSetIdBitsAway) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "", 0755);
  ASSERT_THAT(chown(path.c_str(), kUser, kGroup), SyscallSucceeds());
  ASSERT_THAT(chmod(path.c_str(), 06755), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, kGroup, {}, [&] { return chown(path.c_str(), -1, kGroup); }), 0);
  EXPECT_EQ(ModeOf(path), 0755u);
}

TEST(ChangeOwner, ByEmptyPathAndOfLinks) {
  const TempDirectory dir;
  dir.File("f");
  ASSERT_THAT(symlink("f", (dir / "l").c_str()), SyscallSucceeds());
  const Fd fd(open((dir / "f").c_str(), O_PATH));
  EXPECT_THAT(fchownat(fd.get(), "", kUser, kGroup, AT_EMPTY_PATH), SyscallSucceeds());
  EXPECT_EQ(StatOf(dir / "f").st_uid, kUser);
  EXPECT_THAT(fchownat(fd.get(), "", kUser, kGroup, 0), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(fchownat(AT_FDCWD, (dir / "l").c_str(), kOtherUser, kGroup, AT_SYMLINK_NOFOLLOW), SyscallSucceeds());
  EXPECT_EQ(StatOf(dir / "l").st_uid, kOtherUser);
  EXPECT_EQ(StatOf(dir / "f").st_uid, kUser);
}

TEST(Times, AreSetToTheNanosecond) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  const timespec times[2] = {{1000, 123456789}, {2000, 987654321}};
  ASSERT_THAT(utimensat(AT_FDCWD, path.c_str(), times, 0), SyscallSucceeds());
  EXPECT_EQ(StatOf(path).st_atim.tv_sec, 1000);
  EXPECT_EQ(StatOf(path).st_atim.tv_nsec, 123456789);
  EXPECT_EQ(StatOf(path).st_mtim.tv_sec, 2000);
  EXPECT_EQ(StatOf(path).st_mtim.tv_nsec, 987654321);
  const timespec partly[2] = {{0, UTIME_OMIT}, {3000, 0}};
  ASSERT_THAT(utimensat(AT_FDCWD, path.c_str(), partly, 0), SyscallSucceeds());
  EXPECT_EQ(StatOf(path).st_atim.tv_sec, 1000);
  EXPECT_EQ(StatOf(path).st_mtim.tv_sec, 3000);
  const timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
  ASSERT_THAT(utimensat(AT_FDCWD, path.c_str(), now, 0), SyscallSucceeds());
  EXPECT_GT(StatOf(path).st_atim.tv_sec, 1'000'000'000);
}

TEST(Times, OldCallsAndErrors) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  const utimbuf old{100, 200};
  EXPECT_THAT(utime(path.c_str(), &old), SyscallSucceeds());
  EXPECT_EQ(StatOf(path).st_mtim.tv_sec, 200);
  const timeval times[2] = {{300, 5}, {400, 6}};
  EXPECT_THAT(utimes(path.c_str(), times), SyscallSucceeds());
  EXPECT_EQ(StatOf(path).st_mtim.tv_nsec, 6000);
  EXPECT_THAT(syscall(SYS_futimesat, AT_FDCWD, path.c_str(), times), SyscallSucceeds());
  const timeval bad[2] = {{300, 1000000}, {400, 6}};
  EXPECT_THAT(utimes(path.c_str(), bad), SyscallFailsWithErrno(EINVAL));
  const timespec worse[2] = {{0, 1'000'000'000}, {0, 0}};
  EXPECT_THAT(utimensat(AT_FDCWD, path.c_str(), worse, 0), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(utimensat(AT_FDCWD, path.c_str(), nullptr, 0x8000), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(utimensat(AT_FDCWD, (dir / "missing").c_str(), nullptr, 0), SyscallFailsWithErrno(ENOENT));
  EXPECT_THAT(syscall(SYS_utimensat, AT_FDCWD, nullptr, nullptr, 0), SyscallFailsWithErrno(EFAULT));
  // Both omitted: nothing is looked at.
  const timespec nothing[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
  EXPECT_THAT(utimensat(AT_FDCWD, (dir / "missing").c_str(), nothing, 0), SyscallSucceeds());
}

TEST(Times, WhoMaySetThem) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "", 0666);
  const timespec times[2] = {{1000, 0}, {2000, 0}};
  EXPECT_EQ(ErrnoAs(kUser, [&] { return utimensat(AT_FDCWD, path.c_str(), nullptr, 0); }), 0);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return utimensat(AT_FDCWD, path.c_str(), times, 0); }), EPERM);
  ASSERT_THAT(chmod(path.c_str(), 0644), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return utimensat(AT_FDCWD, path.c_str(), nullptr, 0); }), EACCES);
}

TEST(Times, OfALinkItself) {
  const TempDirectory dir;
  dir.File("f");
  ASSERT_THAT(symlink("f", (dir / "l").c_str()), SyscallSucceeds());
  const timespec times[2] = {{1000, 0}, {2000, 0}};
  ASSERT_THAT(utimensat(AT_FDCWD, (dir / "l").c_str(), times, AT_SYMLINK_NOFOLLOW), SyscallSucceeds());
  EXPECT_EQ(StatOf(dir / "l").st_mtim.tv_sec, 2000);
  EXPECT_GT(StatOf(dir / "f").st_mtim.tv_sec, 1'000'000'000);
}

TEST(Truncate, ShortensAndLengthens) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "123456");
  EXPECT_THAT(truncate(path.c_str(), 3), SyscallSucceeds());
  EXPECT_EQ(ReadFile(path), "123");
  EXPECT_THAT(truncate(path.c_str(), 5), SyscallSucceeds());
  EXPECT_EQ(ReadFile(path), std::string("123\0\0", 5));
  EXPECT_THAT(truncate(path.c_str(), -1), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(truncate(dir.path().c_str(), 0), SyscallFailsWithErrno(EISDIR));
  EXPECT_THAT(truncate((dir / "missing").c_str(), 0), SyscallFailsWithErrno(ENOENT));
  EXPECT_EQ(ErrnoAs(kUser, [&] { return truncate(path.c_str(), 0); }), EACCES);
  const Fd reader(open(path.c_str(), O_RDONLY));
  EXPECT_THAT(ftruncate(reader.get(), 0), SyscallFailsWithErrno(EINVAL));
}

TEST(Umask, ReturnsTheOldOneAndMasksPermissionsOnly) {
  const mode_t old = umask(07777);
  EXPECT_EQ(umask(old), 0777u);
  EXPECT_EQ(umask(old), old);
  EXPECT_TRUE(InChild([] { return umask(011) != 011 && umask(0) == 011; }));
  EXPECT_EQ(umask(old), old);
}

}  // namespace
}  // namespace usl::conformance
