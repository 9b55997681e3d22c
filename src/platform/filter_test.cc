// What the filter answers, for every row and for hostile register values.
#include "platform/filter.h"

#include <asm/ioctls.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <random>
#include <set>

#include "abi/constants.h"
#include "abi/syscall_table.h"
#include "platform/bpf_evaluator.h"
#include "platform/filter_rules.h"

namespace usl::platform {
namespace {

using abi::Decision;
using Arguments = std::array<uint64_t, 6>;

constexpr uint32_t kAllow = SECCOMP_RET_ALLOW, kNotify = SECCOMP_RET_USER_NOTIF;
constexpr uint32_t Error(int error) {
  return SECCOMP_RET_ERRNO | error;
}
constexpr uint64_t kBit32 = uint64_t{1} << 32;

class Filter {
 public:
  explicit Filter(const FilterOptions& options = {}) : program_(BuildFilter(options)) {
    EXPECT_TRUE(CheckBpf(program_));
  }
  const std::vector<sock_filter>& program() const { return program_; }
  uint32_t Answer(long nr, Arguments arguments, uint32_t arch = AUDIT_ARCH_X86_64) const {
    seccomp_data call{.nr = static_cast<int>(nr), .arch = arch};
    std::copy(arguments.begin(), arguments.end(), call.args);
    return RunCheckedBpf(program_, call);
  }

 private:
  std::vector<sock_filter> program_;
};

const Filter& Plain() {
  static const Filter filter;
  return filter;
}
uint32_t Answer(long nr, Arguments arguments = {}) {
  return Plain().Answer(nr, arguments);
}

// Register values that have broken filters before.
const uint64_t kHostile[] = {0,       1,          0x10000,           0x10fff,           0xffffffff, 0x80000000,
                             kBit32,  kBit32 | 1, kBit32 | 0x10000,  1ull << 63,        ~0ull,      0x7fffffffffff,
                             0x11000, 0xffff,     ~uint64_t{0xffff}, 0xffffffffffff0000};

// Calls `visit` with each hostile value in all registers, and in each register alone.
template <typename Visit>
void ForHostileArguments(Visit visit) {
  for (uint64_t value : kHostile) {
    visit(Arguments{value, value, value, value, value, value});
    for (int i = 0; i < 6; ++i) {
      Arguments arguments{};
      arguments[i] = value;
      visit(arguments);
    }
  }
}

TEST(Filter, FitsTheKernelsLimits) {
  for (bool trace : {false, true}) {
    for (bool none : {false, true}) {
      auto program = BuildFilter({.trace_all = trace, .network_none = none});
      EXPECT_TRUE(CheckBpf(program));
      EXPECT_GT(program.size(), 300u);
      EXPECT_LT(program.size(), 4096u);
    }
  }
}

// The kernel itself takes it: a child installs it and ends.
TEST(Filter, IsInstalledByTheHost) {
  pid_t child = fork();
  if (child == 0) {
    auto program = BuildFilter({});
    sock_fprog fprog{static_cast<unsigned short>(program.size()), program.data()};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) _exit(2);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &fprog) != 0) _exit(1);
    // With no listener a notification is ENOSYS; a refusal and a native call show that it is our program.
    if (getpid() <= 0 || syscall(SYS_bpf, 0, 0, 0) != -1 || errno != ENOSYS) _exit(3);
    if (syscall(SYS_munmap, 0x10000, 4096) != -1 || errno != EPERM) _exit(4);
    if (syscall(SYS_munmap, 0x20000, 4096) != 0) _exit(5);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(Filter, RefusesPicoPagesThatItCannotProtect) {
  EXPECT_TRUE(BuildFilter({.pico_base = 0x10001}).empty());
  EXPECT_TRUE(BuildFilter({.pico_size = 0}).empty());
  EXPECT_TRUE(BuildFilter({.pico_size = 0x800}).empty());
  EXPECT_TRUE(BuildFilter({.pico_base = uint64_t{1} << 32}).empty());
  EXPECT_TRUE(BuildFilter({.pico_base = 0xfffff000}).empty());
  EXPECT_TRUE(BuildFilter({.pico_base = ~uint64_t{0xfff}, .pico_size = 0x2000}).empty());
  EXPECT_FALSE(BuildFilter({.pico_base = 0xffffe000}).empty());
}

TEST(Filter, OtherArchitecturesGetEnosys) {
  for (uint32_t arch : {uint32_t{AUDIT_ARCH_I386}, 0u, uint32_t{AUDIT_ARCH_AARCH64}, ~0u}) {
    for (int nr = -2; nr < 600; ++nr) EXPECT_EQ(Plain().Answer(nr, {0x10000}, arch), Error(ENOSYS));
  }
}

TEST(Filter, UnknownAndX32CallsGetEnosys) {
  for (int nr = 0; nr < 1024; ++nr) {
    ForHostileArguments([&](const Arguments& arguments) {
      if (abi::FindSyscall(nr) == nullptr) {
        EXPECT_EQ(Answer(nr, arguments), Error(ENOSYS)) << nr;
      }
      EXPECT_EQ(Answer(nr | 0x40000000, arguments), Error(ENOSYS)) << nr;
    });
  }
  for (int nr : {-1, INT_MIN, INT_MAX, 471, 337, 423}) EXPECT_EQ(Answer(nr), Error(ENOSYS)) << nr;
}

TEST(Filter, EveryRowAnswersAsItsDecisionSays) {
  for (const abi::SyscallRow& row : abi::AllSyscalls()) {
    ForHostileArguments([&](const Arguments& arguments) {
      const uint32_t answer = Answer(row.nr, arguments);
      switch (row.decision) {
        case Decision::kNative: EXPECT_EQ(answer, kAllow) << row.name; break;
        case Decision::kGuarded: EXPECT_NE(answer, kNotify) << row.name; break;
        case Decision::kConditional: break;
        case Decision::kChecked:
          if (row.nr != SYS_shmat) {
            EXPECT_EQ(answer, kNotify) << row.name;
          }
          break;
        case Decision::kServed: EXPECT_EQ(answer, kNotify) << row.name; break;
        case Decision::kRefused: EXPECT_EQ(answer, Error(row.error)) << row.name; break;
      }
    });
  }
}

TEST(Filter, NativeRowsAreConstantForTheKernelsCache) {
  for (const abi::SyscallRow& row : abi::AllSyscalls()) {
    EXPECT_EQ(IsConstantAllow(Plain().program(), row.nr, AUDIT_ARCH_X86_64), row.decision == Decision::kNative)
        << row.name;
    EXPECT_FALSE(IsConstantAllow(Plain().program(), row.nr, AUDIT_ARCH_I386));
  }
}

TEST(Filter, RulesAndTableAgree) {
  std::map<uint32_t, int> rules;
  for (const FilterRule& rule : FilterRules({})) ++rules[rule.nr];
  for (const abi::SyscallRow& row : abi::AllSyscalls()) {
    const bool wanted =
        row.decision == Decision::kGuarded || row.decision == Decision::kConditional || row.nr == SYS_shmat;
    EXPECT_EQ(rules[row.nr], wanted ? 1 : 0) << row.name;
  }
}

// Types whose arguments the host cuts to 32 bits.
bool IsInt(abi::ArgType type) {
  using enum abi::ArgType;
  const std::set<abi::ArgType> ints = {
      kInt,          kFd,          kPid,     kFcntlCommand, kIoctlRequest,    kSocketType, kSocketLevel, kSocketDomain,
      kSocketOption, kPrctlOption, kClockId, kResource,     kArchPrctlOption, kPersona,    kMsgFlags};
  return ints.contains(type);
}

// With garbage in the upper halves of int arguments each call gets the same answer: no bypass, no false refusal.
TEST(Filter, UpperHalvesOfIntArgumentsChangeNothing) {
  std::mt19937_64 random(1);
  for (const FilterRule& rule : FilterRules({})) {
    const abi::SyscallRow& row = *abi::FindSyscall(rule.nr);
    std::vector<uint64_t> values(std::begin(kHostile), std::end(kHostile));
    for (const FilterClause& clause : rule.clauses) {
      for (const FilterTest& test : clause.tests) values.insert(values.end(), test.values.begin(), test.values.end());
    }
    for (int round = 0; round < 3000; ++round) {
      Arguments clean, dirty;
      for (int i = 0; i < 6; ++i) {
        clean[i] = dirty[i] = values[random() % values.size()];
        if (!IsInt(row.arguments[i])) continue;
        clean[i] &= 0xffffffff;
        dirty[i] = clean[i] | (round % 2 ? kBit32 : random() << 32);
      }
      EXPECT_EQ(Answer(rule.nr, clean), Answer(rule.nr, dirty)) << row.name;
    }
  }
}

TEST(Filter, ExecIsNativeForThePicoPageOnly) {
  EXPECT_EQ(Answer(SYS_execve, {0x10000}), kAllow);
  for (uint64_t path : {uint64_t{0}, uint64_t{0x10001}, uint64_t{0x10ff8}, uint64_t{0x11000}, uint64_t{0xffff},
                        kBit32 | 0x10000, uint64_t{0x1000000000010000}, ~uint64_t{0}}) {
    EXPECT_EQ(Answer(SYS_execve, {path}), kNotify) << path;
  }
  ForHostileArguments([](const Arguments& a) { EXPECT_EQ(Answer(SYS_execveat, a), kNotify); });
  const Filter moved({.pico_base = 0x7fff0000});
  EXPECT_EQ(moved.Answer(SYS_execve, {0x7fff0000}), kAllow);
  EXPECT_EQ(moved.Answer(SYS_execve, {0x10000}), kNotify);
}

TEST(Filter, Sockets) {
  EXPECT_EQ(Answer(SYS_socket, {AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0}), kAllow);
  EXPECT_EQ(Answer(SYS_socket, {AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0}), kAllow);
  EXPECT_EQ(Answer(SYS_socket, {AF_INET6, SOCK_DGRAM, 17}), kAllow);
  EXPECT_EQ(Answer(SYS_socket, {AF_INET, SOCK_RAW, 1}), Error(EPERM));
  EXPECT_EQ(Answer(SYS_socket, {AF_INET, SOCK_RAW | SOCK_CLOEXEC, 1}), Error(EPERM));
  EXPECT_EQ(Answer(SYS_socket, {AF_INET, SOCK_STREAM, 132}), Error(EPROTONOSUPPORT));  // SCTP
  EXPECT_EQ(Answer(SYS_socket, {AF_INET, SOCK_SEQPACKET, 0}), Error(EPROTONOSUPPORT));
  EXPECT_EQ(Answer(SYS_socket, {AF_NETLINK, SOCK_RAW, 0}), kNotify);
  EXPECT_EQ(Answer(SYS_socket, {AF_PACKET, SOCK_RAW, 0}), Error(EPERM));
  for (uint64_t family : {AF_VSOCK, AF_ALG, AF_XDP, AF_RDS, AF_TIPC, AF_SMC, AF_KEY, AF_BLUETOOTH, 200}) {
    EXPECT_EQ(Answer(SYS_socket, {family, SOCK_STREAM, 0}), Error(EAFNOSUPPORT)) << family;
    EXPECT_EQ(Answer(SYS_socket, {family | kBit32, SOCK_STREAM, 0}), Error(EAFNOSUPPORT)) << family;
  }
  EXPECT_EQ(Answer(SYS_socketpair, {AF_UNIX, SOCK_STREAM, 0, 0}), kAllow);
  EXPECT_EQ(Answer(SYS_socketpair, {AF_TIPC, SOCK_STREAM, 0, 0}), Error(EOPNOTSUPP));
}

TEST(Filter, NetworkNoneHasNoInetAtAll) {
  const Filter none({.network_none = true});
  for (uint64_t type : {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW}) {
    for (uint64_t domain : {uint64_t{AF_INET}, uint64_t{AF_INET6}, kBit32 | AF_INET}) {
      EXPECT_EQ(none.Answer(SYS_socket, {domain, type, 0}), Error(EAFNOSUPPORT));
    }
  }
  EXPECT_EQ(none.Answer(SYS_socket, {AF_UNIX, SOCK_STREAM, 0}), kAllow);
}

TEST(Filter, AddressesOfSocketsAreNativeOnlyIfNull) {
  EXPECT_EQ(Answer(SYS_sendto, {3, 1, 1, MSG_FASTOPEN, 0, 16}), kAllow);
  EXPECT_EQ(Answer(SYS_sendto, {3, 1, 1, 0, kBit32, 16}), kNotify);
  EXPECT_EQ(Answer(SYS_sendto, {3, 1, 1, 0, 1, 0}), kNotify);
  EXPECT_EQ(Answer(SYS_recvfrom, {3, 1, 1, 0, 0, 0}), kAllow);
  EXPECT_EQ(Answer(SYS_recvfrom, {3, 1, 1, 0, kBit32, 0}), kNotify);
  EXPECT_EQ(Answer(SYS_accept4, {3, 0, 0, 0}), kAllow);
  EXPECT_EQ(Answer(SYS_accept, {3, uint64_t{1} << 63, 0}), kNotify);
}

TEST(Filter, SocketOptions) {
  EXPECT_EQ(Answer(SYS_setsockopt, {3, SOL_SOCKET, SO_REUSEADDR}), kAllow);
  EXPECT_EQ(Answer(SYS_setsockopt, {3, 6, 1}), kAllow);  // TCP_NODELAY
  EXPECT_EQ(Answer(SYS_setsockopt, {3, SOL_SOCKET, SO_PASSCRED}), kNotify);
  EXPECT_EQ(Answer(SYS_setsockopt, {3, SOL_SOCKET, SO_PASSPIDFD}), kNotify);
  EXPECT_EQ(Answer(SYS_getsockopt, {3, SOL_SOCKET, SO_PEERCRED}), kNotify);
  EXPECT_EQ(Answer(SYS_getsockopt, {3, SOL_SOCKET, SO_PEERPIDFD}), kNotify);
  EXPECT_EQ(Answer(SYS_getsockopt, {3, SOL_SOCKET | kBit32, SO_PEERPIDFD | kBit32}), kNotify);
  EXPECT_EQ(Answer(SYS_getsockopt, {3, SOL_SOCKET, SO_ERROR}), kAllow);
  EXPECT_EQ(Answer(SYS_setsockopt, {3, SOL_SOCKET, SO_ATTACH_BPF}), Error(ENOPROTOOPT));
  EXPECT_EQ(Answer(SYS_setsockopt, {3, 6, 31}), Error(ENOPROTOOPT));   // TCP_ULP
  EXPECT_EQ(Answer(SYS_setsockopt, {3, 6, 19}), Error(ENOPROTOOPT));   // TCP_REPAIR
  EXPECT_EQ(Answer(SYS_setsockopt, {3, 0, 64}), Error(ENOPROTOOPT));   // IPT_SO_SET_REPLACE
  EXPECT_EQ(Answer(SYS_setsockopt, {3, 41, 64}), Error(ENOPROTOOPT));  // IP6T_SO_SET_REPLACE
  EXPECT_EQ(Answer(SYS_setsockopt, {3, 0, 35}), kNotify);              // IP_ADD_MEMBERSHIP
  EXPECT_EQ(Answer(SYS_setsockopt, {3, 270, 1}), kNotify);             // netlink
  EXPECT_EQ(Answer(SYS_setsockopt, {3, 132, 100}), Error(ENOPROTOOPT));
}

TEST(Filter, FcntlAndIoctlAreAllowLists) {
  EXPECT_EQ(Answer(SYS_fcntl, {3, F_GETFL}), kAllow);
  EXPECT_EQ(Answer(SYS_fcntl, {3, F_SETOWN}), kNotify);
  EXPECT_EQ(Answer(SYS_fcntl, {3, F_SETOWN | kBit32}), kNotify);
  EXPECT_EQ(Answer(SYS_fcntl, {3, 15}), kNotify);                   // F_SETOWN_EX
  EXPECT_EQ(Answer(SYS_fcntl, {3, 1024}), Error(EINVAL));           // F_SETLEASE
  EXPECT_EQ(Answer(SYS_fcntl, {3, 1026 | kBit32}), Error(EINVAL));  // F_NOTIFY
  EXPECT_EQ(Answer(SYS_ioctl, {0, TCGETS}), kAllow);
  EXPECT_EQ(Answer(SYS_ioctl, {0, TIOCSTI}), Error(ENOTTY));
  EXPECT_EQ(Answer(SYS_ioctl, {0, TIOCSTI | kBit32}), Error(ENOTTY));
  EXPECT_EQ(Answer(SYS_ioctl, {0, TIOCLINUX}), Error(ENOTTY));
  EXPECT_EQ(Answer(SYS_ioctl, {0, 0x89e0}), Error(ENOTTY));  // SIOCUNIXFILE
  EXPECT_EQ(Answer(SYS_ioctl, {0, TIOCSCTTY}), kNotify);
  EXPECT_EQ(Answer(SYS_ioctl, {0, 0x8901 | kBit32}), kNotify);   // FIOSETOWN
  EXPECT_EQ(Answer(SYS_ioctl, {0, 0x8902}), kNotify);            // SIOCSPGRP
  EXPECT_EQ(Answer(SYS_ioctl, {0, 0x8912}), kNotify);            // SIOCGIFCONF
  EXPECT_EQ(Answer(SYS_ioctl, {0, 0x40086602}), kNotify);        // FS_IOC_SETFLAGS
  EXPECT_EQ(Answer(SYS_ioctl, {0, 0xb701}), kNotify);            // NS_GET_USERNS
  EXPECT_EQ(Answer(SYS_ioctl, {0, 0x50009401}), Error(ENOTTY));  // BTRFS_IOC_SNAP_CREATE
  EXPECT_EQ(Answer(SYS_ioctl, {0, 0x40082102}), Error(ENOTTY));  // SECCOMP_IOCTL_NOTIF_ID_VALID
}

TEST(Filter, ProcessCalls) {
  EXPECT_EQ(Answer(SYS_prctl, {PR_SET_NAME}), kAllow);
  EXPECT_EQ(Answer(SYS_prctl, {PR_SET_DUMPABLE | kBit32, 0}), kNotify);
  EXPECT_EQ(Answer(SYS_prctl, {PR_SET_MM | kBit32, 0}), Error(EPERM));
  EXPECT_EQ(Answer(SYS_prctl, {1234}), Error(EINVAL));
  EXPECT_EQ(Answer(SYS_arch_prctl, {0x1002}), kAllow);
  EXPECT_EQ(Answer(SYS_arch_prctl, {0x4002}), Error(EINVAL));  // ARCH_ENABLE_TAGGED_ADDR: munmap would ignore high bits
  EXPECT_EQ(Answer(SYS_arch_prctl, {0x2003 | kBit32}), Error(EINVAL));  // ARCH_MAP_VDSO_64
  EXPECT_EQ(Answer(SYS_personality, {0xffffffff}), kAllow);
  EXPECT_EQ(Answer(SYS_personality, {0x0040000}), kNotify);  // ADDR_NO_RANDOMIZE
  EXPECT_EQ(Answer(SYS_personality, {0x0040000 | kBit32}), kNotify);
  EXPECT_EQ(Answer(SYS_personality, {0x0400000}), kAllow);  // READ_IMPLIES_EXEC
  EXPECT_EQ(Answer(SYS_personality, {0x0540000}), Error(EINVAL));
  EXPECT_EQ(Answer(SYS_personality, {0x0100000}), Error(EINVAL));  // MMAP_PAGE_ZERO
  EXPECT_EQ(Answer(SYS_getpgid, {0}), kAllow);
  EXPECT_EQ(Answer(SYS_getpgid, {kBit32}), kAllow);  // the host sees pid 0
  EXPECT_EQ(Answer(SYS_getpgid, {1}), kNotify);
  EXPECT_EQ(Answer(SYS_clock_gettime, {1}), kAllow);
  EXPECT_EQ(Answer(SYS_clock_gettime, {0xfffffffe}), kAllow);              // the caller's own CPU time
  EXPECT_EQ(Answer(SYS_clock_gettime, {~uint64_t{1} << 3 | 2}), kNotify);  // CPU time of pid 1
  EXPECT_EQ(Answer(SYS_clock_gettime, {0xfffffffb}), kNotify);             // clock device of fd 0
  EXPECT_EQ(Answer(SYS_prlimit64, {0, 7, 0, 1}), kAllow);
  EXPECT_EQ(Answer(SYS_prlimit64, {0, 7, 1, 0}), kNotify);
  EXPECT_EQ(Answer(SYS_prlimit64, {0, 7, kBit32, 0}), kNotify);
  EXPECT_EQ(Answer(SYS_prlimit64, {1, 7, 0, 1}), kNotify);
  EXPECT_EQ(Answer(SYS_prlimit64, {0, 10, 0, 1}), kNotify);  // RLIMIT_LOCKS holds the process token
  EXPECT_EQ(Answer(SYS_getrlimit, {10 | kBit32, 1}), kNotify);
  EXPECT_EQ(Answer(SYS_setrlimit, {10, 1}), kNotify);
}

TEST(Filter, TraceAllNotifiesWhatIsNative) {
  const Filter traced({.trace_all = true});
  const std::set<long> exempt = {SYS_rt_sigreturn, SYS_exit,   SYS_exit_group, SYS_restart_syscall,
                                 SYS_execve,       SYS_uprobe, SYS_uretprobe};
  for (const abi::SyscallRow& row : abi::AllSyscalls()) {
    ForHostileArguments([&](const Arguments& arguments) {
      const uint32_t plain = Answer(row.nr, arguments), answer = traced.Answer(row.nr, arguments);
      EXPECT_EQ(answer, plain == kAllow && !exempt.contains(row.nr) ? kNotify : plain) << row.name;
    });
  }
}

}  // namespace
}  // namespace usl::platform
