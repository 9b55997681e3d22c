// Host processes by number: scheduling, limits, memory, descriptors, tracing, clocks, groups.
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "attack.h"

namespace escape {
namespace {

using Tries = std::vector<std::pair<const char*, std::function<long()>>>;

// Each must fail, with ESRCH as for a process that is not there (a few know no such errno).
Outcome AllFail(const Tries& tries) {
  if (IsNative()) {  // the control tells which of them the host refuses for reasons of its own
    std::string refused;
    for (const auto& [name, attempt] : tries) {
      if (attempt() == -1) refused += std::string(", ") + name + " (" + strerror(errno) + ")";
    }
    return std::count(refused.begin(), refused.end(), '(') * 2 > static_cast<long>(tries.size())
               ? Held("most fail" + refused)
               : Escaped("all but" + refused);
  }
  for (const auto& [name, attempt] : tries) {
    errno = 0;
    if (attempt() != -1) return Escaped(name);
    if (errno == EPERM || errno == EACCES)
      return Escaped(std::string(name) + " tells by " + strerror(errno) + " that the process exists");
  }
  return HeldErrno("all, the last");
}

Outcome Scheduling() {
  const pid_t victim = Victim();
  static sched_param parameters{};
  static cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(0, &cpus);
  static struct {
    uint32_t size = 48, policy = SCHED_BATCH;
    uint64_t flags = 0;
    int32_t nice = 0;
    uint32_t priority = 0;
    uint64_t runtime = 0, deadline = 0, period = 0;
  } attributes;
  static char buffer[256];
  return AllFail(
      {{"getpriority", [=] { return syscall(SYS_getpriority, PRIO_PROCESS, victim); }},
       {"getpriority of the group", [=] { return syscall(SYS_getpriority, PRIO_PGRP, victim); }},
       {"setpriority", [=] { return syscall(SYS_setpriority, PRIO_PROCESS, victim, 3); }},
       {"setpriority of the group", [=] { return syscall(SYS_setpriority, PRIO_PGRP, victim, 4); }},
       {"ioprio_get", [=] { return syscall(SYS_ioprio_get, 1, victim); }},
       {"ioprio_set", [=] { return syscall(SYS_ioprio_set, 1, victim, 3 << 13); }},
       {"ioprio_set of the group", [=] { return syscall(SYS_ioprio_set, 2, victim, 3 << 13); }},
       {"sched_setaffinity", [=] { return syscall(SYS_sched_setaffinity, victim, sizeof cpus, &cpus); }},
       {"sched_getaffinity", [=] { return syscall(SYS_sched_getaffinity, victim, sizeof cpus, &cpus); }},
       {"sched_setscheduler", [=] { return syscall(SYS_sched_setscheduler, victim, SCHED_IDLE, &parameters); }},
       {"sched_getscheduler", [=] { return syscall(SYS_sched_getscheduler, victim); }},
       {"sched_setparam", [=] { return syscall(SYS_sched_setparam, victim, &parameters); }},
       {"sched_getparam", [=] { return syscall(SYS_sched_getparam, victim, &parameters); }},
       {"sched_setattr", [=] { return syscall(SYS_sched_setattr, victim, &attributes, 0); }},
       {"sched_getattr", [=] { return syscall(SYS_sched_getattr, victim, buffer, 56, 0); }},
       {"sched_rr_get_interval", [=] { return syscall(SYS_sched_rr_get_interval, victim, buffer); }}});
}
ESCAPE_ATTACK(Scheduling, "processes.scheduling", kEscapes, "view");

// Natively these would reach every process of the user, so there is no control. Inside they may succeed on the
// instance's own processes; the driver looks at the victim.
Outcome AllOfAUser() {
  for (int user : {0, 1000, static_cast<int>(getuid()), static_cast<int>(FactNumber("host_uid"))}) {
    setpriority(PRIO_USER, static_cast<id_t>(user), 1);
    syscall(SYS_ioprio_set, 3, user, 2 << 13 | 6);
  }
  return Held("see the victim");
}
ESCAPE_ATTACK(AllOfAUser, "processes.all_of_a_user", kNone, "");

Outcome Identity() {
  const pid_t victim = Victim();
  static char buffer[256];
  static size_t size;
  static rlimit64 limit{10, 10};
  return AllFail({{"getpgid", [=] { return syscall(SYS_getpgid, victim); }},
                  {"getsid", [=] { return syscall(SYS_getsid, victim); }},
                  {"prlimit", [=] { return syscall(SYS_prlimit64, victim, RLIMIT_NOFILE, nullptr, &limit); }},
                  {"prlimit for writing",
                   [=] {
                     limit = {100, 1000};
                     return syscall(SYS_prlimit64, victim, RLIMIT_NOFILE, &limit, nullptr);
                   }},
                  {"get_robust_list", [=] { return syscall(SYS_get_robust_list, victim, buffer, &size); }},
                  {"CPU clock", [=] { return syscall(SYS_clock_gettime, (~victim << 3) | 2, buffer); }},
                  {"CPU clock, scheduling", [=] { return syscall(SYS_clock_gettime, (~victim << 3) | 0, buffer); }},
                  {"CPU clock of the thread", [=] { return syscall(SYS_clock_gettime, (~victim << 3) | 6, buffer); }},
                  {"clock_getres", [=] { return syscall(SYS_clock_getres, (~victim << 3) | 2, buffer); }},
                  {"pidfd_open", [=] { return syscall(SYS_pidfd_open, victim, 0); }},
                  {"setpgid", [=] { return syscall(SYS_setpgid, victim, 0); }},
                  {"setpgid into its group", [=] { return setpgid(0, victim) == 0 ? 0 : (errno = ESRCH, -1); }},
                  {"capget", [=] {
                     uint32_t header[2] = {0x20080522, static_cast<uint32_t>(victim)};
                     return syscall(SYS_capget, header, buffer);
                   }}});
}
ESCAPE_ATTACK(Identity, "processes.identity", kEscapes, "view");

Outcome Memory() {
  const pid_t victim = Victim();
  static char text[128];
  static iovec mine{text, sizeof text};
  static iovec theirs{reinterpret_cast<void*>(FactNumber("victim_memory")), 32};
  static void* pages[1] = {theirs.iov_base};
  static int status[1];
  return AllFail(
      {{"process_vm_readv", [=] { return syscall(SYS_process_vm_readv, victim, &mine, 1, &theirs, 1, 0); }},
       {"process_vm_writev", [=] { return syscall(SYS_process_vm_writev, victim, &mine, 1, &theirs, 1, 0); }},
       {"kcmp", [=] { return syscall(SYS_kcmp, getpid(), victim, KCMP_FILE, 0, 9); }},
       {"kcmp of itself", [=] { return syscall(SYS_kcmp, victim, victim, KCMP_VM, 0, 0); }},
       {"move_pages", [=] { return syscall(SYS_move_pages, victim, 1, pages, nullptr, status, 0); }},
       {"migrate_pages",
        [=] {
          unsigned long nodes = 1;
          return syscall(SYS_migrate_pages, victim, 2, &nodes, &nodes);
        }},
       {"PTRACE_SEIZE", [=] { return ptrace(PTRACE_SEIZE, victim, nullptr, nullptr); }},
       {"PTRACE_ATTACH", [=] { return ptrace(PTRACE_ATTACH, victim, nullptr, nullptr); }},
       {"PTRACE_PEEKDATA", [=] { return ptrace(PTRACE_PEEKDATA, victim, theirs.iov_base, nullptr); }}});
}
ESCAPE_ATTACK(Memory, "processes.memory", kEscapes, "view");

// Each of them alone would do; the first ones may not hide the others in the control.
Outcome EachMemoryAsUser() {
  const pid_t victim = Victim();
  char text[128] = "";
  iovec mine{text, sizeof text}, theirs{reinterpret_cast<void*>(FactNumber("victim_memory")), 64};
  if (process_vm_readv(victim, &mine, 1, &theirs, 1, 0) > 0 && HasMarker(text))
    return Escaped("process_vm_readv read the secret");
  if (ptrace(PTRACE_SEIZE, victim, nullptr, nullptr) == 0) return Escaped("PTRACE_SEIZE");
  return HeldErrno("ptrace");
}
ESCAPE_ATTACK(EachMemoryAsUser, "processes.memory_as_user", kEscapes, "user");

// pidfds: of one's own parent chain, and by pidfd_getfd from one's own process that holds none of the host's.
Outcome Pidfd() {
  int pidfd = static_cast<int>(syscall(SYS_pidfd_open, Victim(), 0));
  if (pidfd < 0) return HeldErrno("pidfd_open");
  int fd = static_cast<int>(syscall(SYS_pidfd_getfd, pidfd, 9, 0));
  if (fd < 0) return Escaped("pidfd_open");
  char text[64] = "";
  pread(fd, text, sizeof text - 1, 0);
  return HasMarker(text) ? Escaped("pidfd_getfd gave the secret") : Escaped("pidfd_getfd");
}
ESCAPE_ATTACK(Pidfd, "processes.pidfd", kEscapes, "view");

// The race that checks and then continues: the number of a dead child may be somebody else's by then. With many short
// children the numbers of the host's new processes come close; nothing of the host may ever be hit.
Outcome ReusedNumbers() {
  int strangers = 0;
  for (int i = 0; i < 300; ++i) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    WaitStatus(child);
    errno = 0;
    if (kill(child, 0) == 0 || getpgid(child) >= 0) ++strangers;
    for (pid_t other : {child + 1, child - 1}) {
      if (other != getpid() && kill(other, 0) == 0) ++strangers;
    }
  }
  return strangers ? Escaped(std::to_string(strangers) + " strangers") : Held("300 children");
}
ESCAPE_ATTACK(ReusedNumbers, "processes.reused_numbers", kNone, "");

}  // namespace
}  // namespace escape
