// uname(2), sysinfo(2), clocks, and the calls of administration.
#include <sys/mount.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <time.h>

#include <cstring>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

TEST(Uname, NamesTheSystem) {
  utsname names;
  ASSERT_THAT(uname(&names), SyscallSucceeds());
  EXPECT_STREQ(names.sysname, "Linux");
  EXPECT_STREQ(names.machine, "x86_64");
  char host[65];
  ASSERT_THAT(gethostname(host, sizeof host), SyscallSucceeds());
  EXPECT_STREQ(names.nodename, host);
  EXPECT_THAT(syscall(SYS_uname, kWildPointer), SyscallFailsWithErrno(EFAULT));
}

TEST(SetHostName, ChecksBeforeItSets) {
  EXPECT_THAT(syscall(SYS_sethostname, "x", 65), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(SYS_sethostname, "x", -1), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(SYS_sethostname, kWildPointer, 5), SyscallFailsWithErrno(EFAULT));
  EXPECT_EQ(ErrnoAs(kUser, [] { return sethostname("x", 1); }), EPERM);
  EXPECT_EQ(ErrnoAs(kUser, [] { return setdomainname("x", 1); }), EPERM);
  // The same name again: nothing changes natively.
  utsname names;
  ASSERT_THAT(uname(&names), SyscallSucceeds());
  EXPECT_THAT(sethostname(names.nodename, strlen(names.nodename)), SyscallSucceeds());
}

TEST(Sysinfo, HasMemoryAndProcesses) {
  struct sysinfo info;
  ASSERT_THAT(sysinfo(&info), SyscallSucceeds());
  EXPECT_GT(info.totalram, 0u);
  EXPECT_GT(info.procs, 0);
  EXPECT_GE(info.uptime, 0);
}

clockid_t ProcessClock(pid_t pid) {
  return (~static_cast<clockid_t>(pid) << 3) | 2;
}

TEST(Clocks, OfProcessesAndThreads) {
  timespec time;
  EXPECT_THAT(clock_gettime(CLOCK_REALTIME, &time), SyscallSucceeds());
  EXPECT_THAT(syscall(SYS_clock_gettime, ProcessClock(getpid()), &time), SyscallSucceeds());
  EXPECT_THAT(syscall(SYS_clock_gettime, ProcessClock(getppid()), &time), SyscallSucceeds());
  EXPECT_THAT(syscall(SYS_clock_gettime, ProcessClock(0x0fffffff), &time), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(SYS_clock_getres, ProcessClock(getpid()), &time), SyscallSucceeds());
  EXPECT_THAT(syscall(SYS_clock_gettime, 77, &time), SyscallFailsWithErrno(EINVAL));
}

TEST(Clocks, OnlyAdministratorsSetThem) {
  timespec time;
  ASSERT_THAT(clock_gettime(CLOCK_REALTIME, &time), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser, [&] { return clock_settime(CLOCK_REALTIME, &time); }), EPERM);
  EXPECT_EQ(ErrnoAs(kUser, [&] { return clock_settime(CLOCK_MONOTONIC, &time); }), EINVAL);
  EXPECT_EQ(ErrnoAs(kUser,
                    [] {
                      timeval now{};
                      return settimeofday(&now, nullptr);
                    }),
            EPERM);
  timespec bad{0, 1'000'000'000};
  EXPECT_THAT(clock_settime(CLOCK_REALTIME, &bad), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(SYS_clock_settime, CLOCK_REALTIME, kWildPointer), SyscallFailsWithErrno(EFAULT));
}

TEST(Clocks, TheirAdjustmentCanBeRead) {
  timex state{};
  EXPECT_THAT(adjtimex(&state), SyscallSucceeds());
  EXPECT_GT(state.time.tv_sec, 1'000'000'000);
  state = {};
  EXPECT_THAT(clock_adjtime(CLOCK_REALTIME, &state), SyscallSucceeds());
  EXPECT_EQ(ErrnoAs(kUser,
                    [] {
                      timex change{};
                      change.modes = ADJ_FREQUENCY;
                      return adjtimex(&change);
                    }),
            EPERM);
}

TEST(Administration, IsForAdministrators) {
  EXPECT_EQ(ErrnoAs(kUser, [] { return mount("none", "/tmp", "tmpfs", 0, nullptr); }), EPERM);
  EXPECT_EQ(ErrnoAs(kUser, [] { return umount("/proc"); }), EPERM);
  EXPECT_EQ(ErrnoAs(kUser, [] { return swapoff("/nowhere"); }), EPERM);
  EXPECT_EQ(ErrnoAs(kUser, [] { return acct(nullptr); }), EPERM);
  EXPECT_EQ(ErrnoAs(kUser, [] { return static_cast<int>(syscall(SYS_pivot_root, "/", "/")); }), EPERM);
  EXPECT_EQ(ErrnoAs(kUser, [] { return static_cast<int>(syscall(SYS_syslog, 5, nullptr, 0)); }), EPERM);
  EXPECT_THAT(syscall(SYS_syslog, 77, nullptr, 0), SyscallFailsWithErrno(EINVAL));
}

TEST(Sync, Works) {
  const TempDirectory dir;
  const Fd fd(open(dir.File("f").c_str(), O_RDONLY));
  EXPECT_THAT(syncfs(fd.get()), SyscallSucceeds());
  EXPECT_THAT(syncfs(-1), SyscallFailsWithErrno(EBADF));
}

// Mounts are made in a mount namespace of the test's own, so that nothing stays behind natively.
bool InMountNamespace(const std::function<bool()>& body) {
  return InChild([&] {
    if (unshare(CLONE_NEWNS) < 0) return false;
    if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) return false;
    return body();
  });
}

TEST(Mount, TmpfsAndUnmount) {
  const TempDirectory dir;
  dir.File("below");
  EXPECT_TRUE(InMountNamespace([&] {
    if (mount("none", dir.path().c_str(), "tmpfs", MS_NOSUID, "mode=0711") < 0) return false;
    if (Exists(dir / "below") || ModeOf(dir.path()) != 0711) return false;
    dir.File("above");
    // Somebody works in it.
    if (chdir(dir.path().c_str()) < 0 || umount(dir.path().c_str()) != -1 || errno != EBUSY) return false;
    if (chdir("/") < 0 || rmdir(dir.path().c_str()) != -1 || errno != EBUSY) return false;
    return umount(dir.path().c_str()) == 0 && Exists(dir / "below") && !Exists(dir / "above");
  }));
}

TEST(Mount, BindAndReadOnly) {
  const TempDirectory dir;
  dir.Directory("a");
  dir.Directory("b");
  dir.File("a/f", "content");
  EXPECT_TRUE(InMountNamespace([&] {
    if (mount((dir / "a").c_str(), (dir / "b").c_str(), nullptr, MS_BIND, nullptr) < 0) return false;
    if (ReadFile(dir / "b/f") != "content") return false;
    if (rename((dir / "a/f").c_str(), (dir / "b/g").c_str()) != -1 || errno != EXDEV) return false;
    if (mount(nullptr, (dir / "b").c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) < 0) return false;
    if (open((dir / "b/f").c_str(), O_WRONLY) != -1 || errno != EROFS) return false;
    if (unlink((dir / "b/f").c_str()) != -1 || errno != EROFS) return false;
    const Fd writer(open((dir / "a/f").c_str(), O_WRONLY));
    return writer.ok() && umount2((dir / "b").c_str(), MNT_DETACH) == 0 && !Exists(dir / "b/f");
  }));
}

TEST(Mount, MoveAndErrors) {
  const TempDirectory dir;
  dir.Directory("a");
  dir.Directory("b");
  dir.File("f");
  EXPECT_TRUE(InMountNamespace([&] {
    if (mount("none", (dir / "a").c_str(), "no-such-type", 0, nullptr) != -1 || errno != ENODEV) return false;
    if (mount("none", (dir / "f").c_str(), "tmpfs", 0, nullptr) != -1 || errno != ENOTDIR) return false;
    if (mount("none", (dir / "no").c_str(), "tmpfs", 0, nullptr) != -1 || errno != ENOENT) return false;
    if (umount((dir / "a").c_str()) != -1 || errno != EINVAL) return false;
    if (umount2((dir / "a").c_str(), 0x100) != -1 || errno != EINVAL) return false;
    if (mount("none", (dir / "a").c_str(), "tmpfs", 0, nullptr) < 0) return false;
    const Fd fd(open((dir / "a/inside").c_str(), O_CREAT | O_WRONLY, 0600));
    if (mount((dir / "a").c_str(), (dir / "b").c_str(), nullptr, MS_MOVE, nullptr) < 0) return false;
    return Exists(dir / "b/inside") && !Exists(dir / "a/inside");
  }));
}

TEST(Mount, PropagationMustBeOneType) {
  const TempDirectory dir;
  EXPECT_TRUE(InMountNamespace([&] {
    return mount(nullptr, "/", nullptr, MS_PRIVATE | MS_SHARED, nullptr) == -1 && errno == EINVAL &&
           mount(nullptr, dir.path().c_str(), nullptr, MS_PRIVATE, nullptr) == -1 && errno == EINVAL;
  }));
}

}  // namespace
}  // namespace usl::conformance
