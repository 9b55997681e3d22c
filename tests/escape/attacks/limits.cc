// Resource limits hold the kernel's token of a process; core files must stay off whatever the guest sets.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attack.h"

namespace escape {
namespace {

// Can the token be read, or made to stay what the guest wrote? And does a forged one give a child another identity?
Outcome TaskToken() {
  for (uint64_t forged : {0UL, 1UL, 2UL, 3UL, 4UL, 5UL, 16UL, 1000UL, ~0UL - 1}) {
    rlimit64 limit{forged, ~0UL}, seen{};
    syscall(SYS_setrlimit, RLIMIT_LOCKS, &limit);
    syscall(SYS_prlimit64, 0, RLIMIT_LOCKS, &limit, nullptr);
    syscall(SYS_prlimit64, getpid(), RLIMIT_LOCKS | 1L << 32, &limit, nullptr);
    syscall(SYS_setrlimit, RLIMIT_LOCKS | 1L << 32, &limit);
    int identity = InChild([] { return getuid() == 0 || setuid(0) == 0 ? 1 : 0; });
    if (identity == 1) return Escaped("the child of " + std::to_string(forged) + " is root");
    if (identity != 0) return Escaped("fork is broken: " + std::to_string(identity));
    int grandchild = InChild([] { return InChild([] { return getuid() == 0 ? 1 : 0; }); });
    if (grandchild != 0) return Escaped("the grandchild of " + std::to_string(forged) + " is root");
    syscall(SYS_getrlimit, RLIMIT_LOCKS, &seen);
    if (seen.rlim_cur != forged && seen.rlim_cur != ~0UL)
      return Escaped("getrlimit shows " + std::to_string(seen.rlim_cur));
    syscall(SYS_prlimit64, 0, RLIMIT_LOCKS | 1L << 32, nullptr, &seen);
    if (seen.rlim_cur != forged && seen.rlim_cur != ~0UL)
      return Escaped("prlimit shows " + std::to_string(seen.rlim_cur));
  }
  return Held("neither read nor forged");
}
ESCAPE_ATTACK(TaskToken, "limits.task_token", kNone, "user");

// The driver looks for core files of the name that the host's core_pattern gives.
Outcome CoreFile() {
  EnterWorkDirectory();
  for (long high : {0L, 1L << 32}) {
    rlimit64 limit{~0UL, ~0UL};
    syscall(SYS_setrlimit, RLIMIT_CORE | high, &limit);
    syscall(SYS_prlimit64, 0, RLIMIT_CORE | high, &limit, nullptr);
  }
  bool dumped = false;
  for (int signal : {SIGSEGV, SIGABRT, SIGQUIT, SIGSYS, SIGXFSZ}) {
    pid_t child = fork();
    if (child == 0) {
      prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
      chdir("/");
      if (IsNative()) chdir(Fact("work").c_str());
      raise(signal);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    dumped = dumped || WCOREDUMP(status);
  }
  return dumped ? Escaped("the host dumped core") : Held("no core");
}
ESCAPE_ATTACK(CoreFile, "limits.core_file", kDepends, "");

}  // namespace
}  // namespace escape
