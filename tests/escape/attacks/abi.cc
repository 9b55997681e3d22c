// Other doors to the same calls: int 0x80, x32 numbers, unknown numbers, upper halves of registers.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attack.h"

namespace escape {
namespace {

constexpr uint64_t kHigh = uint64_t{1} << 32;

long Syscall64(uint64_t number, long a = 0, long b = 0, long c = 0, long d = 0) {
  long result;
  register long r10 asm("r10") = d;
  asm volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
  return result;
}

long Int80(long number, long b, long c, long d) {
  long result;
  asm volatile("int $0x80" : "=a"(result) : "a"(number), "b"(b), "c"(c), "d"(d) : "memory", "r8", "r9", "r10", "r11");
  return static_cast<int>(result);
}

Outcome CompatCall() {
  // A 32-bit pointer must lie low.
  auto* path =
      static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0));
  strcpy(path, Secret().c_str());
  long pid = 0, fd = 0;
  int status = InChild([&] {
    pid = Int80(20, 0, 0, 0);  // getpid
    fd = Int80(5, static_cast<long>(reinterpret_cast<uintptr_t>(path)), O_RDONLY, 0);
    if (fd >= 0) return JudgeFd(static_cast<int>(fd), "open").escaped ? 1 : 2;
    if (pid > 0) return 4;
    return pid == -ENOSYS && fd == -ENOSYS ? 0 : 5;
  });
  if (status == 1) return Escaped("int 0x80 opened the secret");
  if (status == 4) return Escaped("int 0x80 is executed");
  return Held("int 0x80: status " + std::to_string(status));
}
ESCAPE_ATTACK(CompatCall, "abi.int80", kDepends, "");

Outcome X32() {
  for (uint64_t base : {uint64_t{0x40000000}, 0x40000000 | kHigh}) {
    for (uint64_t nr : {uint64_t{SYS_getpid}, uint64_t{SYS_kill}, uint64_t{520} /* execve */, uint64_t{SYS_openat}}) {
      long result = Syscall64(base | nr, nr == SYS_kill ? Victim() : 0, 0);
      if (result >= 0) return Escaped("x32 call " + std::to_string(nr));
    }
    long fd = Syscall64(base | SYS_open, reinterpret_cast<long>(Secret().c_str()), O_RDONLY);
    if (fd >= 0) return JudgeFd(static_cast<int>(fd), "x32 open");
  }
  return Held("ENOSYS");
}
ESCAPE_ATTACK(X32, "abi.x32", kDepends, "");

Outcome UnknownNumbers() {
  std::vector<uint64_t> numbers = {0x7fffffff, 0x80000000, 0xffffffff, ~uint64_t{0}, 1000, 100000};
  for (uint64_t nr = 337; nr < 424; ++nr) numbers.push_back(nr);
  for (uint64_t nr = 471; nr < 700; ++nr) numbers.push_back(nr);
  for (uint64_t nr : numbers) {
    long result = Syscall64(nr, -1, 0, 0, 0);
    if (result != -ENOSYS) return Escaped("call " + std::to_string(nr) + " gives " + std::to_string(result));
  }
  return Held("ENOSYS for " + std::to_string(numbers.size()));
}
ESCAPE_ATTACK(UnknownNumbers, "abi.unknown_numbers", kNone, "");

// Linux truncates the number to 32 bits: with bits above, a call must still be served, not native.
Outcome HighNumbers() {
  const std::string secret = Secret();
  for (uint64_t high : {kHigh, uint64_t{0xdeadbeef} << 32, ~uint64_t{0} << 32}) {
    long fd = Syscall64(SYS_openat | high, AT_FDCWD, reinterpret_cast<long>(secret.c_str()), O_RDONLY);
    if (fd >= 0) return JudgeFd(static_cast<int>(fd), "openat with upper bits");
    if (Syscall64(SYS_kill | high, Victim(), 0) == 0) return Escaped("kill with upper bits");
  }
  return Held();
}
ESCAPE_ATTACK(HighNumbers, "abi.high_numbers", kEscapes, "");

Outcome HighArguments() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0) return HeldErrno("socketpair");
  const int victim = Victim();
  for (uint64_t high : {kHigh, uint64_t{0x80000000} << 32, ~uint64_t{0} << 32}) {
    auto with = [&](uint64_t value) { return static_cast<long>((value & 0xffffffff) | high); };
    int owner = victim;
    if (Syscall64(SYS_fcntl, with(pair[0]), with(F_SETOWN), with(victim)) == 0) return Escaped("F_SETOWN");
    if (Syscall64(SYS_ioctl, with(pair[0]), with(0x8901 /* FIOSETOWN */), reinterpret_cast<long>(&owner)) == 0)
      return Escaped("FIOSETOWN");
    if (Syscall64(SYS_ioctl, with(pair[0]), with(0x8902 /* SIOCSPGRP */), reinterpret_cast<long>(&owner)) == 0)
      return Escaped("SIOCSPGRP");
    if (Syscall64(SYS_kill, with(victim), 0) == 0) return Escaped("kill");
    if (Syscall64(SYS_tkill, with(victim), 0) == 0) return Escaped("tkill");
    if (Syscall64(SYS_tgkill, with(victim), with(victim), 0) == 0) return Escaped("tgkill");
    if (Syscall64(SYS_socket, with(AF_NETLINK), with(SOCK_RAW), with(15)) >= 0 && IsNative()) return Escaped("socket");
    if (Syscall64(SYS_socket, with(40 /* AF_VSOCK */), with(SOCK_STREAM), 0) >= 0) return Escaped("vsock");
    if (Syscall64(SYS_socket, with(38 /* AF_ALG */), with(SOCK_SEQPACKET), 0) >= 0) return Escaped("AF_ALG");
    if (Syscall64(SYS_getpriority, with(0), with(victim), 0) >= 0) return Escaped("getpriority");
    if (Syscall64(SYS_sched_getscheduler, with(victim)) >= 0) return Escaped("sched_getscheduler");
    if (Syscall64(SYS_getpgid, with(victim)) >= 0) return Escaped("getpgid");
    timespec time;
    if (Syscall64(SYS_clock_gettime, with(static_cast<uint32_t>(~victim << 3 | 2)), reinterpret_cast<long>(&time)) >=
        0) {
      return Escaped("clock of a host process");
    }
  }
  return Held();
}
ESCAPE_ATTACK(HighArguments, "abi.high_arguments", kEscapes, "");

// With bit 32 set prctl would make the process unreadable for the kernel, or take over its memory map.
Outcome HighPrctl() {
  Syscall64(SYS_prctl, static_cast<long>(PR_SET_DUMPABLE | kHigh), 0);
  if (Syscall64(SYS_prctl, static_cast<long>(PR_SET_MM | kHigh), PR_SET_MM_BRK, 0) == 0) return Escaped("PR_SET_MM");
  if (Syscall64(SYS_prctl, static_cast<long>(62 | kHigh) /* PR_SCHED_CORE */, 0, Victim(), 0) == 0)
    return Escaped("PR_SCHED_CORE");
  // Served calls still work where the kernel can still read the memory.
  int fd = open("/", O_RDONLY | O_DIRECTORY);
  if (fd < 0) return Escaped(std::string("the kernel cannot read the process any more: ") + strerror(errno));
  return Held();
}
ESCAPE_ATTACK(HighPrctl, "abi.high_prctl", kNone, "");

// Input for the terminal that `usl run` was started from. The driver looks at what came there.
Outcome TerminalInput() {
  const char* text = "touch escaped\n";
  for (uint64_t high : {uint64_t{0}, kHigh, uint64_t{0x80000000} << 32, ~uint64_t{0} << 32}) {
    for (int fd : {0, 1, open("/dev/tty", O_RDWR)}) {
      if (fd < 0) continue;
      if (Syscall64(SYS_ioctl, fd, static_cast<long>(TIOCSTI | high), reinterpret_cast<long>(text)) >= 0)
        return Escaped("TIOCSTI");
      char function[8] = {2};  // paste the selection
      if (Syscall64(SYS_ioctl, fd, static_cast<long>(TIOCLINUX | high), reinterpret_cast<long>(function)) >= 0)
        return Escaped("TIOCLINUX");
      if (Syscall64(SYS_ioctl, fd, static_cast<long>(TIOCCONS | high), 0) >= 0) return Escaped("TIOCCONS");
      int discipline = 2;
      if (Syscall64(SYS_ioctl, fd, static_cast<long>(TIOCSETD | high), reinterpret_cast<long>(&discipline)) >= 0)
        return Escaped("TIOCSETD");
    }
  }
  return Held();
}
ESCAPE_ATTACK(TerminalInput, "abi.terminal_input", kDepends, "stdin=terminal");

}  // namespace
}  // namespace escape
