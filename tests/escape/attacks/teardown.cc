// Processes that try to outlive their instance. test_teardown.py looks for them on the host.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attack.h"

namespace escape {
namespace {

[[noreturn]] void StayForever() {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, nullptr);
  for (int signal_number = 1; signal_number < 65; ++signal_number) signal(signal_number, SIG_IGN);
  for (;;) pause();
}

void DoubleFork(const std::function<void()>& last) {
  if (fork() != 0) return;
  setsid();
  if (fork() != 0) _exit(0);
  last();
  StayForever();
}

// Daemons of all kinds; then `how` says whether the first process ends or stays, too.
Outcome Daemons() {
  DoubleFork([] {});
  DoubleFork([] { prctl(PR_SET_CHILD_SUBREAPER, 1); });
  DoubleFork([] { prctl(PR_SET_PDEATHSIG, 0); });
  DoubleFork([] { raise(SIGSTOP); });
  DoubleFork([] {
    if (fork() == 0) StayForever();
    setpgid(0, 0);
  });
  // A tracer with a stopped tracee.
  DoubleFork([] {
    pid_t child = fork();
    if (child == 0) {
      ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      raise(SIGSTOP);
      StayForever();
    }
    waitpid(child, nullptr, 0);
  });
  // A child waiting for a vfork that never ends, and one whose leader thread is gone.
  DoubleFork([] {
    if (vfork() == 0) {
      for (;;) pause();
    }
  });
  // One that is always in a call that is served.
  DoubleFork([] {
    for (;;) close(open("/", O_RDONLY));
  });
  // One that forks again and again.
  DoubleFork([] {
    for (;;) {
      if (fork() != 0) _exit(0);
      setsid();
      usleep(1000);
    }
  });
  shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
  semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
  msgget(IPC_PRIVATE, IPC_CREAT | 0600);
  usleep(200000);
  printf("ready\n");
  fflush(stdout);
  if (Fact("how") == "stay") StayForever();
  // Not before the host side has looked: standard input ends then.
  char byte;
  (void)!read(STDIN_FILENO, &byte, 1);
  return Held("ends first");
}
ESCAPE_ATTACK(Daemons, "teardown.daemons", kNone, "helper");

}  // namespace
}  // namespace escape
