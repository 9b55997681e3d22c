// credentials(7), capabilities(7).
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <thread>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

struct Capabilities {
  uint64_t effective = 0, permitted = 0, inheritable = 0;
};

Capabilities GetCapabilities(pid_t pid = 0) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, pid};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) < 0) return {1, 1, 1};
  return {data[0].effective | uint64_t{data[1].effective} << 32, data[0].permitted | uint64_t{data[1].permitted} << 32,
          data[0].inheritable | uint64_t{data[1].inheritable} << 32};
}

long SetCapabilities(const Capabilities& sets) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct data[2] = {
      {uint32_t(sets.effective), uint32_t(sets.permitted), uint32_t(sets.inheritable)},
      {uint32_t(sets.effective >> 32), uint32_t(sets.permitted >> 32), uint32_t(sets.inheritable >> 32)}};
  return syscall(SYS_capset, &header, data);
}

constexpr uint64_t Bit(int capability) {
  return uint64_t{1} << capability;
}

bool HasIds(uid_t real, uid_t effective, uid_t saved) {
  uid_t r, e, s;
  return getresuid(&r, &e, &s) == 0 && r == real && e == effective && s == saved;
}

TEST(Identity, RootHasCapabilities) {
  EXPECT_EQ(geteuid(), 0u);
  EXPECT_TRUE(GetCapabilities().effective & Bit(CAP_CHOWN));
  EXPECT_TRUE(GetCapabilities().effective & Bit(CAP_SETUID));
}

TEST(Identity, SetuidOfRootIsForGood) {
  EXPECT_TRUE(InChild([] {
    if (setuid(kUser) < 0 || !HasIds(kUser, kUser, kUser)) return false;
    const Capabilities now = GetCapabilities();
    return now.effective == 0 && now.permitted == 0 && setuid(0) == -1 && errno == EPERM &&
           setresuid(-1, 0, -1) == -1 && setreuid(0, -1) == -1 && seteuid(kUser) == 0;
  }));
}

TEST(Identity, EffectiveIdsCanComeBack) {
  EXPECT_TRUE(InChild([] {
    const uint64_t before = GetCapabilities().permitted;
    if (seteuid(kUser) < 0 || !HasIds(0, kUser, 0)) return false;
    if (GetCapabilities().effective != 0 || GetCapabilities().permitted != before) return false;
    if (setresuid(kOtherUser, -1, -1) != -1 || errno != EPERM) return false;
    return seteuid(0) == 0 && GetCapabilities().effective == before;
  }));
}

TEST(Identity, SetreuidMovesTheSavedId) {
  EXPECT_TRUE(InChild([] {
    return setreuid(kUser, kOtherUser) == 0 && HasIds(kUser, kOtherUser, kOtherUser) &&
           setreuid(kOtherUser, kUser) == 0 && HasIds(kOtherUser, kUser, kUser) && setreuid(-1, kOtherUser) == 0 &&
           HasIds(kOtherUser, kOtherUser, kUser);
  }));
}

TEST(Identity, BadIds) {
  EXPECT_THAT(syscall(SYS_setuid, -1), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(SYS_setgid, -1), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(syscall(SYS_setresuid, -1, -1, -1), SyscallSucceeds());
  EXPECT_THAT(syscall(SYS_getresuid, nullptr, nullptr, nullptr), SyscallFailsWithErrno(EFAULT));
}

TEST(Identity, GroupsWorkAlike) {
  EXPECT_TRUE(InChild([] {
    gid_t r, e, s;
    if (setresgid(kGroup, kOtherGroup, 0) < 0 || getresgid(&r, &e, &s) < 0) return false;
    if (r != kGroup || e != kOtherGroup || s != 0) return false;
    if (GetCapabilities().effective == 0) return false;
    if (setgid(kGroup) < 0 || getegid() != kGroup) return false;
    return setuid(kUser) == 0 && setgid(0) == -1 && errno == EPERM && setregid(0, -1) == -1;
  }));
}

TEST(Identity, FileSystemIds) {
  const TempDirectory dir;
  const std::string path = dir.File("f", "", 0600);
  EXPECT_TRUE(InChild([&] {
    if (setfsuid(kUser) != 0 || setfsuid(-1) != static_cast<int>(kUser)) return false;
    if (geteuid() != 0 || GetCapabilities().effective & Bit(CAP_DAC_OVERRIDE)) return false;
    if (open(path.c_str(), O_RDONLY) != -1 || errno != EACCES) return false;
    setfsuid(0);
    return open(path.c_str(), O_RDONLY) >= 0 && (GetCapabilities().effective & Bit(CAP_DAC_OVERRIDE));
  }));
}

TEST(Identity, SupplementaryGroups) {
  EXPECT_TRUE(InChild([] {
    const gid_t groups[3] = {30, 10, 20};
    if (setgroups(3, groups) < 0) return false;
    gid_t back[4] = {};
    if (getgroups(0, nullptr) != 3 || getgroups(4, back) != 3) return false;
    if (back[0] != 10 || back[1] != 20 || back[2] != 30) return false;
    if (getgroups(2, back) != -1 || errno != EINVAL) return false;
    if (syscall(SYS_setgroups, 65537, groups) != -1 || errno != EINVAL) return false;
    if (syscall(SYS_setgroups, 3, kWildPointer) != -1 || errno != EFAULT) return false;
    return setuid(kUser) == 0 && setgroups(0, nullptr) == -1 && errno == EPERM && getgroups(0, nullptr) == 3;
  }));
}

TEST(Capabilities, HeaderVersions) {
  __user_cap_header_struct header{0, 0};
  EXPECT_THAT(syscall(SYS_capget, &header, nullptr), SyscallSucceeds());
  EXPECT_EQ(header.version, static_cast<uint32_t>(_LINUX_CAPABILITY_VERSION_3));
  header.version = 1;
  __user_cap_data_struct data[2];
  EXPECT_THAT(syscall(SYS_capget, &header, data), SyscallFailsWithErrno(EINVAL));
  EXPECT_EQ(header.version, static_cast<uint32_t>(_LINUX_CAPABILITY_VERSION_3));
  header.pid = -1;
  EXPECT_THAT(syscall(SYS_capget, &header, data), SyscallFailsWithErrno(EINVAL));
  header.pid = 0x3fffffff;
  EXPECT_THAT(syscall(SYS_capget, &header, data), SyscallFailsWithErrno(ESRCH));
  header.pid = getppid();
  EXPECT_THAT(syscall(SYS_capset, &header, data), SyscallFailsWithErrno(EPERM));
  EXPECT_THAT(syscall(SYS_capget, kWildPointer, data), SyscallFailsWithErrno(EFAULT));
}

TEST(Capabilities, CanBeDroppedOnly) {
  EXPECT_TRUE(InChild([] {
    Capabilities sets = GetCapabilities();
    sets.effective &= ~Bit(CAP_CHOWN);
    if (SetCapabilities(sets) < 0) return false;
    sets.effective |= Bit(CAP_CHOWN);
    if (SetCapabilities(sets) < 0) return false;
    sets.permitted &= ~Bit(CAP_CHOWN);
    if (SetCapabilities(sets) != -1 || errno != EPERM) return false;
    sets.effective &= ~Bit(CAP_CHOWN);
    if (SetCapabilities(sets) < 0) return false;
    sets.permitted |= Bit(CAP_CHOWN);
    return SetCapabilities(sets) == -1 && errno == EPERM;
  }));
}

TEST(Capabilities, WithoutChownRootMayNotGiveFilesAway) {
  const TempDirectory dir;
  const std::string path = dir.File("f");
  EXPECT_TRUE(InChild([&] {
    Capabilities sets = GetCapabilities();
    sets.effective = 0;
    return SetCapabilities(sets) == 0 && chown(path.c_str(), kUser, -1) == -1 && errno == EPERM &&
           chroot(dir.path().c_str()) == -1 && errno == EPERM && sethostname("x", 1) == -1 && errno == EPERM;
  }));
}

TEST(Capabilities, KeepCapsKeepsThePermittedOnes) {
  EXPECT_TRUE(InChild([] {
    const uint64_t before = GetCapabilities().permitted;
    if (prctl(PR_SET_KEEPCAPS, 1) < 0 || prctl(PR_GET_KEEPCAPS) != 1 || setuid(kUser) < 0) return false;
    const Capabilities now = GetCapabilities();
    if (now.permitted != before || now.effective != 0) return false;
    return SetCapabilities({Bit(CAP_CHOWN), before, 0}) == 0 && (GetCapabilities().effective == Bit(CAP_CHOWN));
  }));
}

TEST(Capabilities, NoSetuidFixup) {
  EXPECT_TRUE(InChild([] {
    const uint64_t before = GetCapabilities().effective;
    return prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) == 0 && setuid(kUser) == 0 &&
           GetCapabilities().effective == before;
  }));
}

TEST(Identity, ThreadsHaveTheirOwn) {
  // The C library sets the ids of all threads; the system call sets those of one.
  EXPECT_TRUE(InChild([] {
    uid_t in_thread = 0;
    std::thread thread([&in_thread] {
      syscall(SYS_setresuid, kUser, kUser, kUser);
      in_thread = static_cast<uid_t>(syscall(SYS_geteuid));
    });
    thread.join();
    return in_thread == kUser && geteuid() == 0;
  }));
}

TEST(Identity, IsInheritedByFork) {
  EXPECT_TRUE(InChild([] {
    if (setresuid(kUser, kOtherUser, 0) < 0) return false;
    return InChild([] { return HasIds(kUser, kOtherUser, 0); });
  }));
}

}  // namespace
}  // namespace usl::conformance
