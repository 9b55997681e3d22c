// Calls that open parts of the host's kernel which are never a guest's: each must be refused.
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attack.h"

namespace escape {
namespace {

// A call that makes one; a result of 0 or more is an escape.
Outcome Refused(const char* name, long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
  errno = 0;
  if (syscall(number, a, b, c, d, e) >= 0) return Escaped(name);
  return HeldErrno(name);
}

long Address(const void* pointer) {
  return reinterpret_cast<long>(pointer);
}

Outcome IoUring() {
  static char parameters[256];
  Outcome outcome = Refused("io_uring_setup", 425, 8, Address(parameters));
  if (outcome.escaped) return outcome;
  return FirstEscape(
      {[] { return Refused("io_uring_enter", 426, -1); }, [] { return Refused("io_uring_register", 427, -1, 16, 0); }});
}
ESCAPE_ATTACK(IoUring, "objects.io_uring", kDepends, "view");

Outcome PerfEvent() {
  static struct {
    uint32_t type = 1, size = 128;
    uint64_t config = 0, rest[14] = {};
  } attributes;
  return Refused("perf_event_open", SYS_perf_event_open, Address(&attributes), 0, -1, -1, 0);
}
ESCAPE_ATTACK(PerfEvent, "objects.perf_event", kDepends, "");

Outcome Userfaultfd() {
  Outcome outcome = Refused("userfaultfd", SYS_userfaultfd, 1 /* user mode only */);
  if (outcome.escaped) return outcome;
  int fd = open("/dev/userfaultfd", O_RDWR);
  return fd >= 0 ? Escaped("/dev/userfaultfd") : outcome;
}
ESCAPE_ATTACK(Userfaultfd, "objects.userfaultfd", kDepends, "");

// The kernel cannot read there: a call whose path stands in such memory must fail, not be let through.
Outcome SecretMemory() {
  int fd = static_cast<int>(syscall(447, 0));
  if (fd < 0) return HeldErrno("memfd_secret");
  return Escaped("memfd_secret");
}
ESCAPE_ATTACK(SecretMemory, "objects.secret_memory", kDepends, "");

// The same idea with memory that exists everywhere: behind the end of a file, or unreadable.
Outcome UnreadableArguments() {
  int fd = memfd_create("short", 0);
  void* beyond = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
  void* none = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (void* path : {beyond, none, reinterpret_cast<void*>(8), reinterpret_cast<void*>(-4096L),
                     reinterpret_cast<void*>(0xffffffffff600000)}) {
    errno = 0;
    if (syscall(SYS_open, path, O_RDONLY) >= 0) return Escaped("open");
    if (errno != EFAULT && errno != ENOENT) return Escaped(std::string("open: ") + strerror(errno) + ", not EFAULT");
    if (syscall(SYS_connect, 0, path, 16) == 0) return Escaped("connect");
    if (syscall(SYS_execve, path, nullptr, nullptr) == 0) return Escaped("execve");
  }
  return Held("EFAULT");
}
ESCAPE_ATTACK(UnreadableArguments, "objects.unreadable_arguments", kNone, "");

Outcome Bpf() {
  static struct {
    uint32_t type = 1, key = 4, value = 4, entries = 1;
    uint64_t rest[16] = {};
  } attributes;
  for (int command = 0; command < 40; ++command) {
    Outcome outcome = Refused("bpf", SYS_bpf, command, Address(&attributes), sizeof attributes);
    if (outcome.escaped) return outcome;
  }
  return HeldErrno("bpf");
}
ESCAPE_ATTACK(Bpf, "objects.bpf", kDepends, "");

Outcome Landlock() {
  return FirstEscape({[] { return Refused("landlock_create_ruleset", 444, 0, 0, 1); },
                      [] { return Refused("landlock_restrict_self", 446, -1, 0); }});
}
ESCAPE_ATTACK(Landlock, "objects.landlock", kDepends, "");

Outcome SeccompListener() {
  static sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  static sock_fprog program{1, allow};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  return FirstEscape({[] {
                        return Refused("a listener", SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                       SECCOMP_FILTER_FLAG_NEW_LISTENER, Address(&program));
                      },
                      [] {
                        return Refused("a listener with bit 32", SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                       SECCOMP_FILTER_FLAG_NEW_LISTENER | 1L << 32, Address(&program));
                      }});
}
ESCAPE_ATTACK(SeccompListener, "objects.seccomp_listener", kEscapes, "view");

// Under a filter of its own that answers a served call by itself, nothing else may change: the call does not become
// native, and a filter that allows everything does not override USL's.
Outcome SeccompOverride() {
  int status = InChild([] {
    static sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    static sock_fprog program{1, allow};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    if (TryOpen(Secret()).escaped) return 1;
    return syscall(SYS_kill, Victim(), 0) == 0 ? 1 : 0;
  });
  return status == 1 ? Escaped("with a filter of its own") : Held("status " + std::to_string(status));
}
ESCAPE_ATTACK(SeccompOverride, "objects.seccomp_override", kEscapes, "");

// What only root may, as root of the guest.
Outcome Privileged() {
  static char buffer[256];
  const long bad = Address(buffer);
  const std::vector<std::function<Outcome()>> tries = {
      [=] { return Refused("fanotify_init", SYS_fanotify_init, 0, 0); },
      [=] { return Refused("fanotify_init for reports", SYS_fanotify_init, 0x200, 0); },
      [=] { return Refused("init_module", SYS_init_module, bad, 16, bad); },
      [=] { return Refused("finit_module", SYS_finit_module, 0, bad, 0); },
      [=] { return Refused("delete_module", SYS_delete_module, bad, 0); },
      [=] { return Refused("kexec_load", SYS_kexec_load, 0, 0, 0, 0); },
      [=] { return Refused("kexec_file_load", SYS_kexec_file_load, -1, -1, 0, 0, 0); },
      [=] { return Refused("iopl", SYS_iopl, 3); },
      [=] { return Refused("ioperm", SYS_ioperm, 0x80, 1, 1); },
      [=] { return Refused("uselib", SYS_uselib, bad); },
      [=] { return Refused("lookup_dcookie", SYS_lookup_dcookie, 0, bad, 16); },
      [=] { return Refused("process_mrelease", 448, -1, 0); },
      [=] { return Refused("vserver", SYS_vserver, 0); },
      [=] { return Refused("lsm_list_modules", 461, bad, bad, 0); },
      [=] { return Refused("clone3", SYS_clone3, bad, 88); },
      [=] { return Refused("setns", SYS_setns, 0, 0); },
      [=] { return Refused("swapon", SYS_swapon, Address("/etc/passwd"), 0); }};
  return FirstEscape(tries);
}
ESCAPE_ATTACK(Privileged, "objects.privileged", kNone, "");

// New namespaces: whatever a call answers, the host's kernel may not have made one. Where it did, a user namespace's
// owner gets all capabilities: a raw socket, a mount of a tmpfs seen by the host's statfs, a host name.
Outcome Namespaces() {
  for (long flag :
       {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP, 0x80}) {
    for (long high : {0L, 1L << 32}) {
      int status = InChild([=] {
        if (syscall(SYS_unshare, flag | high) < 0) return 0;
        // A namespace of its own would have another inode than that of the other processes, which test_namespaces
        // compares on the host; here it is enough that it gives no rights.
        if (socket(AF_PACKET, SOCK_RAW, 0) >= 0 || socket(AF_INET, SOCK_RAW, 1) >= 0) return 1;
        return TryOpen(Secret()).escaped ? 1 : 0;
      });
      if (status == 1) return Escaped("unshare " + std::to_string(flag));
      // Those of mounts and names are the guest's own; test_teardown looks from the host that it has no other.
      const bool is_virtual = flag == CLONE_NEWNS || flag == CLONE_NEWUTS;
      long child = syscall(SYS_clone, flag | high | SIGCHLD, 0, 0, 0, 0);
      if (child == 0) _exit(socket(AF_PACKET, SOCK_RAW, 0) >= 0 || TryOpen(Secret()).escaped ? 1 : 0);
      if (child > 0) {
        const int ended = WaitStatus(static_cast<pid_t>(child));
        if (is_virtual ? ended != 0 : !high && flag != 0x80) {
          return Escaped("clone with " + std::to_string(flag));
        }
      }
    }
  }
  for (const char* name : {"user", "mnt", "net", "pid", "ipc", "uts", "cgroup", "time"}) {
    int fd = open((std::string("/proc/1/ns/") + name).c_str(), O_RDONLY);
    if (fd < 0) continue;
    if (syscall(SYS_setns, fd, 0) == 0 && IsNative()) return Escaped(std::string("setns ") + name);
    // NS_GET_USERNS, NS_GET_PARENT: descriptors of the host's namespaces.
    for (unsigned long request : {0xb701UL, 0xb702UL, 0xb701UL | 1UL << 32}) {
      if (syscall(SYS_ioctl, fd, request, 0) >= 0) return Escaped(std::string("ioctl on the namespace ") + name);
    }
  }
  return Held();
}
ESCAPE_ATTACK(Namespaces, "objects.namespaces", kNone, "");

}  // namespace
}  // namespace escape
