#include "platform/filter_rules.h"

#include <asm/mman.h>
#include <asm/prctl.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/personality.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/shm.h>
#include <signal.h>

#include <cerrno>
#include <utility>

#include "abi/constants.h"
#include "platform/filter_rule_lists.h"

namespace usl::platform {
namespace {

using Kind = FilterTest::Kind;
using Values = std::vector<uint32_t>;
using Clauses = std::vector<FilterClause>;

constexpr FilterAction kAllow{FilterAction::Kind::kAllow};
constexpr FilterAction kNotify{FilterAction::Kind::kNotify};
constexpr FilterAction Refuse(int error) {
  return {FilterAction::Kind::kError, error};
}

FilterTest OneOf(uint8_t argument, Values values, uint32_t mask = 0xffffffff) {
  return {.kind = Kind::kOneOf, .argument = argument, .mask = mask, .values = std::move(values)};
}
FilterTest Is(uint8_t argument, uint32_t value, uint32_t mask = 0xffffffff) {
  return OneOf(argument, {value}, mask);
}
FilterTest InRange(uint8_t argument, uint32_t first, uint32_t last) {
  return {.kind = Kind::kRange, .argument = argument, .values = {first, last}};
}
FilterTest HasAnyBit(uint8_t argument, uint32_t mask) {
  return {.kind = Kind::kAnyBit, .argument = argument, .mask = mask};
}
FilterTest HasNoBit(uint8_t argument, uint32_t mask) {
  return {.kind = Kind::kAnyBit, .argument = argument, .mask = mask, .negated = true};
}
FilterTest IsNull(uint8_t argument) {
  return {.kind = Kind::kIsNull, .argument = argument};
}
FilterTest TouchesPico(uint8_t address, uint8_t length) {
  return {.kind = Kind::kTouchesPico, .argument = address, .length = length};
}
FilterTest TouchesPicoHuge(uint8_t address, uint8_t length) {
  return {.kind = Kind::kTouchesPicoHuge, .argument = address, .length = length};
}

// Calls on memory: native unless they could replace, move, drop or unshare the pico page. A hint, or an address that is
// looked at only under another flag, harms nothing. MAP_FIXED_NOREPLACE alone cannot replace, and the loader maps the
// page with it.
void AddMemoryRules(std::vector<FilterRule>& rules) {
  const FilterAction no = Refuse(EPERM);
  rules.push_back({SYS_mmap,
                   {{{HasAnyBit(3, MAP_FIXED), TouchesPico(0, 1)}, no},
                    // A file on hugetlbfs has its length rounded up to huge pages, and cannot be told by registers.
                    {{HasAnyBit(3, MAP_FIXED), Is(3, MAP_ANONYMOUS, MAP_ANONYMOUS | MAP_HUGETLB)}, kAllow},
                    {{HasAnyBit(3, MAP_FIXED), TouchesPicoHuge(0, 1)}, no}},
                   kAllow});
  for (uint32_t nr : {SYS_mprotect, SYS_munmap, SYS_madvise, SYS_remap_file_pages, SYS_pkey_mprotect}) {
    rules.push_back({nr, {{{TouchesPico(0, 1)}, no}}, kAllow});
  }
  rules.push_back({SYS_mremap,
                   {{{TouchesPico(0, 1)}, no},
                    {{HasAnyBit(3, MREMAP_FIXED), TouchesPico(4, 2)}, no},
                    {{HasAnyBit(3, MREMAP_FIXED), TouchesPicoHuge(4, 2)}, no}},
                   kAllow});
  // The length is the segment's, so every start below the page's end counts.
  rules.push_back({SYS_shmat,
                   {{{HasAnyBit(2, SHM_REMAP), {.kind = Kind::kBelowPicoEnd, .argument = 1}}, Refuse(EINVAL)}},
                   kNotify});
}

// pid 0 is the caller itself.
void AddPidRules(std::vector<FilterRule>& rules) {
  for (uint32_t nr : {SYS_getpgid, SYS_getsid, SYS_sched_setparam, SYS_sched_getparam, SYS_sched_setscheduler,
                      SYS_sched_getscheduler, SYS_sched_rr_get_interval, SYS_sched_setattr, SYS_sched_getattr,
                      SYS_get_robust_list, SYS_migrate_pages, SYS_move_pages}) {
    rules.push_back({nr, {{{Is(0, 0)}, kAllow}}, kNotify});
  }
}

// A negative clock id is ~pid << 3 | type, and pid 0 there is the caller; or ~fd << 3 | 3, a clock device.
void AddClockRules(std::vector<FilterRule>& rules) {
  for (uint32_t nr : {SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_timer_create}) {
    rules.push_back({nr,
                     {{{HasNoBit(0, 0x80000000)}, kAllow},
                      {{OneOf(0, {0xfffffff8, 0xfffffff9, 0xfffffffa, 0xfffffffc, 0xfffffffd, 0xfffffffe})}, kAllow}},
                     kNotify});
  }
}

// Limits that the guest may read natively: what the host enforces on it. The others are virtual, RLIMIT_LOCKS above all
// as it holds the kernel's process token.
void AddLimitRules(std::vector<FilterRule>& rules) {
  const Values native = {RLIMIT_CPU, RLIMIT_FSIZE, RLIMIT_DATA, RLIMIT_STACK, RLIMIT_RSS, RLIMIT_NOFILE, RLIMIT_AS};
  rules.push_back({SYS_getrlimit, {{{OneOf(0, native)}, kAllow}}, kNotify});
  rules.push_back({SYS_prlimit64, {{{Is(0, 0), OneOf(1, native), IsNull(2)}, kAllow}}, kNotify});
}

void AddSocketRules(std::vector<FilterRule>& rules, const FilterOptions& options) {
  const FilterTest inet = OneOf(0, {kAfInet, kAfInet6});
  const Clauses unix_and_netlink = {{{Is(0, kAfUnix)}, kAllow}, {{Is(0, kAfNetlink)}, kNotify}};
  Clauses socket = unix_and_netlink;
  if (options.network_none) {
    socket.push_back({{inet}, Refuse(EAFNOSUPPORT)});
  } else {
    Values protocols = {kProtocolDefault, kProtocolTcp, kProtocolUdp, kProtocolIcmp, kProtocolIcmpv6, kProtocolUdpLite};
    if (!options.network_listed) protocols.push_back(kProtocolMptcp);
    socket.push_back({{inet, OneOf(1, {kSockStream, kSockDgram}, kSockTypeMask), OneOf(2, protocols)}, kAllow});
    socket.push_back({{inet, Is(1, kSockRaw, kSockTypeMask)}, Refuse(EPERM)});
    socket.push_back({{inet}, Refuse(EPROTONOSUPPORT)});
  }
  socket.push_back({{Is(0, kAfPacket)}, Refuse(EPERM)});
  rules.push_back({SYS_socket, std::move(socket), Refuse(EAFNOSUPPORT)});
  rules.push_back({SYS_socketpair, {{{Is(0, kAfUnix)}, kAllow}}, Refuse(EOPNOTSUPP)});

  rules.push_back({SYS_accept, {{{IsNull(1)}, kAllow}}, kNotify});
  rules.push_back({SYS_accept4, {{{IsNull(1)}, kAllow}}, kNotify});
  rules.push_back({SYS_sendto, {{{IsNull(4)}, kAllow}}, kNotify});
  rules.push_back({SYS_recvfrom, {{{IsNull(4)}, kAllow}}, kNotify});

  auto add_options = [&](uint32_t nr, const std::vector<SocketOptions>& levels) {
    Clauses clauses;
    for (const SocketOptions& level : levels) {
      if (!level.native.empty()) clauses.push_back({{Is(1, level.level), OneOf(2, level.native)}, kAllow});
      if (!level.served.empty()) clauses.push_back({{Is(1, level.level), OneOf(2, level.served)}, kNotify});
    }
    clauses.push_back({{Is(1, kLevelNetlink)}, kNotify});  // netlink sockets are the kernel's own
    rules.push_back({nr, std::move(clauses), Refuse(ENOPROTOOPT)});
  };
  add_options(SYS_setsockopt, SettableSocketOptions());
  add_options(SYS_getsockopt, GettableSocketOptions());
}

void AddFdRules(std::vector<FilterRule>& rules) {
  // O_ASYNC on a terminal without an owner would make its foreground group the owner, which may be the host's.
  rules.push_back({SYS_fcntl,
                   {{{Is(1, F_SETFL), HasNoBit(2, FASYNC)}, kAllow},
                    {{Is(1, F_SETFL)}, kNotify},
                    {{OneOf(1, NativeFcntlCommands())}, kAllow},
                    {{OneOf(1, ServedFcntlCommands())}, kNotify}},
                   Refuse(EINVAL)});
  rules.push_back({SYS_ioctl,
                   {{{OneOf(1, NativeIoctlRequests())}, kAllow},
                    {{OneOf(1, ServedIoctlRequests())}, kNotify},
                    {{InRange(1, kFirstInterfaceIoctl, kLastInterfaceIoctl)}, kNotify}},
                   Refuse(ENOTTY)});
}

void AddProcessRules(std::vector<FilterRule>& rules) {
  // Signals that come from elsewhere while a program makes calls (loader/pico_code.S, "the signal trampoline").
  // Runtimes look at all 64 when they start, so not every one is served.
  rules.push_back({SYS_rt_sigaction,
                   {{{OneOf(0, {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM, SIGCHLD, SIGTSTP, SIGCONT,
                                SIGVTALRM, SIGPROF, SIGWINCH, SIGIO})},
                     kNotify}},
                   kAllow});
  rules.push_back({SYS_execve, {{{{.kind = Kind::kIsPicoBase, .argument = 0}}, kAllow}}, kNotify});
  rules.push_back({SYS_prctl,
                   {{{OneOf(0, NativePrctlOptions())}, kAllow},
                    {{OneOf(0, ServedPrctlOptions())}, kNotify},
                    {{OneOf(0, PrivilegedPrctlOptions())}, Refuse(EPERM)}},
                   Refuse(EINVAL)});
  rules.push_back({SYS_arch_prctl, {{{OneOf(0, NativeArchPrctlOptions())}, kAllow}}, Refuse(EINVAL)});
  uint32_t known = PER_LINUX32;
  for (uint32_t flag : {UNAME26, ADDR_NO_RANDOMIZE, ADDR_COMPAT_LAYOUT, READ_IMPLIES_EXEC, ADDR_LIMIT_32BIT,
                        ADDR_LIMIT_3GB, SHORT_INODE, WHOLE_SECONDS, STICKY_TIMEOUTS}) {
    known |= flag;
  }
  // The kernel only wants to know that a program has asked for addresses that are not random.
  rules.push_back({SYS_personality,
                   {{{Is(0, 0xffffffff)}, kAllow},
                    {{HasNoBit(0, ~(known & ~uint32_t{ADDR_NO_RANDOMIZE}))}, kAllow},
                    {{HasNoBit(0, ~known)}, kNotify}},
                   Refuse(EINVAL)});
}

}  // namespace

std::vector<FilterRule> FilterRules(const FilterOptions& options) {
  std::vector<FilterRule> rules;
  AddMemoryRules(rules);
  AddPidRules(rules);
  AddClockRules(rules);
  AddLimitRules(rules);
  AddSocketRules(rules, options);
  AddFdRules(rules);
  AddProcessRules(rules);
  return rules;
}

}  // namespace usl::platform
