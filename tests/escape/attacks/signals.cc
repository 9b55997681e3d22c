// Signals to a host process: every call that sends one, and every object that sends one later.
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "attack.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

namespace escape {
namespace {

// SIGCONT harms nobody, should a call reach more processes than the victim.
constexpr int kSignal = SIGCONT;

Outcome Direct() {
  const pid_t victim = Victim();
  siginfo_t info{};
  info.si_signo = kSignal;
  info.si_code = SI_QUEUE;
  if (kill(victim, kSignal) == 0) return Escaped("kill");
  const int first = errno;
  if (kill(victim, 0) == 0) return Escaped("kill 0");
  if (kill(-victim, kSignal) == 0) return Escaped("kill of the group");
  if (syscall(SYS_tkill, victim, kSignal) == 0) return Escaped("tkill");
  if (syscall(SYS_tgkill, victim, victim, kSignal) == 0) return Escaped("tgkill");
  if (syscall(SYS_tgkill, -1, victim, kSignal) == 0) return Escaped("tgkill -1");
  if (syscall(SYS_tgkill, getpid(), victim, kSignal) == 0) return Escaped("tgkill of own group");
  if (syscall(SYS_rt_sigqueueinfo, victim, kSignal, &info) == 0) return Escaped("rt_sigqueueinfo");
  if (syscall(SYS_rt_tgsigqueueinfo, victim, victim, kSignal, &info) == 0) return Escaped("rt_tgsigqueueinfo");
  int pidfd = static_cast<int>(syscall(SYS_pidfd_open, victim, 0));
  if (pidfd >= 0) return Escaped("pidfd_open");
  if (first != ESRCH) return Escaped(std::string("kill gives ") + strerror(first) + ", not ESRCH");
  return Held("ESRCH");
}
ESCAPE_ATTACK(Direct, "signals.direct", kEscapes, "view");

Outcome EachAlone() {
  const pid_t victim = Victim();
  siginfo_t info{};
  info.si_signo = kSignal;
  info.si_code = SI_QUEUE;
  long results[] = {kill(victim, kSignal),
                    kill(-victim, kSignal),
                    syscall(SYS_tkill, victim, kSignal),
                    syscall(SYS_tgkill, victim, victim, kSignal),
                    syscall(SYS_rt_sigqueueinfo, victim, kSignal, &info),
                    syscall(SYS_rt_tgsigqueueinfo, victim, victim, kSignal, &info)};
  for (long result : results) {
    if (result == 0) return Escaped("one of them");
  }
  return HeldErrno("all");
}
ESCAPE_ATTACK(EachAlone, "signals.each_as_user", kEscapes, "user");

// Natively this is every process of the user, so the control only asks whether it may.
Outcome Everybody() {
  for (int signal : {0, IsNative() ? 0 : kSignal}) {
    if (kill(-1, signal) == 0) return Escaped("kill(-1)");
    if (syscall(SYS_kill, 0xffffffffL, signal) == 0) return Escaped("kill(-1) as 32 bits");
  }
  return HeldErrno("kill(-1)");
}
ESCAPE_ATTACK(Everybody, "signals.everybody", kEscapes, "view");

bool Arm(int fd) {
  fcntl(fd, F_SETSIG, kSignal);
  return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC | O_NONBLOCK) == 0;
}

// The owner of a socket gets a signal of the setter's choice when something comes.
Outcome Owner() {
  const int victim = Victim();
  const std::pair<const char*, std::function<long(int)>> ways[] = {
      {"F_SETOWN", [&](int fd) { return fcntl(fd, F_SETOWN, victim); }},
      {"F_SETOWN of the group", [&](int fd) { return fcntl(fd, F_SETOWN, -victim); }},
      {"F_SETOWN_EX",
       [&](int fd) {
         f_owner_ex owner{F_OWNER_PID, victim};
         return fcntl(fd, F_SETOWN_EX, &owner);
       }},
      {"F_SETOWN_EX of the thread",
       [&](int fd) {
         f_owner_ex owner{F_OWNER_TID, victim};
         return fcntl(fd, F_SETOWN_EX, &owner);
       }},
      {"F_SETOWN_EX of the group",
       [&](int fd) {
         f_owner_ex owner{F_OWNER_PGRP, victim};
         return fcntl(fd, F_SETOWN_EX, &owner);
       }},
      {"FIOSETOWN",
       [&](int fd) {
         int owner = victim;
         return ioctl(fd, 0x8901, &owner);
       }},
      {"SIOCSPGRP",
       [&](int fd) {
         int owner = -victim;
         return ioctl(fd, 0x8902, &owner);
       }},
      {"F_SETOWN with bit 32", [&](int fd) { return syscall(SYS_fcntl, fd, F_SETOWN | 1L << 32, victim); }},
  };
  std::string done;
  for (const auto& [name, way] : ways) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0) return HeldErrno("socketpair");
    Arm(pair[0]);
    if (way(pair[0]) == 0) done += std::string(" ") + name;
    write(pair[1], "x", 1);
    close(pair[0]);
    close(pair[1]);
  }
  return done.empty() ? HeldErrno("all of them, the last") : Escaped("owner set by" + done);
}
ESCAPE_ATTACK(Owner, "signals.owner", kEscapes, "view");

// A race: the pid in memory is one's own when it is checked.
Outcome OwnerRace() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0) return HeldErrno("socketpair");
  Arm(pair[0]);
  const int victim = Victim(), self = getpid();
  signal(kSignal, SIG_IGN);
  volatile int owner = self;
  f_owner_ex extended{F_OWNER_PID, self};
  return Race(
      "FIOSETOWN and F_SETOWN_EX",
      [&](unsigned round) {
        owner = round % 2 ? victim : self;
        const_cast<volatile pid_t&>(extended.pid) = round % 2 ? victim : self;
        Spin(round % 100);
      },
      [&] {
        ioctl(pair[0], 0x8901, &owner);
        int now = fcntl(pair[0], F_GETOWN);
        fcntl(pair[0], F_SETOWN_EX, &extended);
        return now == victim || fcntl(pair[0], F_GETOWN) == victim;
      });
}
ESCAPE_ATTACK(OwnerRace, "signals.owner_race", kEscapes, "");

// Standard input is one end of a socketpair that a host process made: nobody may learn its pidfd from it.
Outcome PeerPidfd() {
  for (int fd : {0, 1, 2}) {
    int pidfd = -1;
    socklen_t size = sizeof pidfd;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0) continue;
    if (syscall(SYS_pidfd_send_signal, pidfd, 0, nullptr, 0) == 0)
      return Escaped("SO_PEERPIDFD of descriptor " + std::to_string(fd));
    if (fcntl(pidfd, F_GETFD) >= 0) return Escaped("SO_PEERPIDFD gives a descriptor");
  }
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(0, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && (peer.pid == FactNumber("driver"))) {
    return Escaped("SO_PEERCRED tells the driver's pid");
  }
  return HeldErrno("getsockopt");
}
ESCAPE_ATTACK(PeerPidfd, "signals.peer_pidfd", kEscapes, "stdin=socket");

// The same with sockets whose other end the USL kernel may hold.
Outcome KernelPidfd() {
  int pair[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
  const int netlink = socket(AF_NETLINK, SOCK_RAW, 0);
  for (int fd : {netlink, 0, 1, 2, pair[0]}) {
    int pidfd = -1;
    socklen_t size = sizeof pidfd;
    ucred peer{};
    socklen_t peer_size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) == 0 && peer.pid > 1 && peer.pid != getpid()) {
      return Escaped("SO_PEERCRED tells pid " + std::to_string(peer.pid));
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0) continue;
    if (fd != pair[0] && syscall(SYS_pidfd_send_signal, pidfd, SIGCONT, nullptr, 0) == 0)
      return Escaped("a signal to the kernel");
  }
  return Held();
}
ESCAPE_ATTACK(KernelPidfd, "signals.kernel_pidfd", kNone, "");

// The terminal of the host as standard input: its foreground group are host processes.
Outcome TerminalOwner() {
  int fd = 0;
  if (!isatty(fd)) return Held("no terminal");
  const pid_t group = tcgetpgrp(fd);
  const pid_t mine = getpgrp();
  // O_ASYNC on a terminal makes its foreground group the owner.
  fcntl(fd, F_SETSIG, kSignal);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC);
  int owner = fcntl(fd, F_GETOWN);
  if (owner == -Victim() || owner == -FactNumber("driver"))
    return Escaped("the terminal signals group " + std::to_string(-owner));
  if (tcsetpgrp(fd, Victim()) == 0) return Escaped("tcsetpgrp");
  return Held("foreground group " + std::to_string(group) + ", own " + std::to_string(mine) + ", owner " +
              std::to_string(owner));
}
ESCAPE_ATTACK(TerminalOwner, "signals.terminal_owner", kNone, "stdin=terminal");

Outcome Timers() {
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = kSignal;
  event._sigev_un._tid = Victim();
  timer_t timer;
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) == 0) return Escaped("timer_create with the victim's thread");
  if (timer_create((~Victim() << 3) | 2, nullptr, &timer) == 0) return Escaped("timer on the victim's clock");
  return HeldErrno("timer_create");
}
ESCAPE_ATTACK(Timers, "signals.timers", kEscapes, "");

// Inside: init and the processes above it cannot be killed or stopped.
Outcome Init() {
  for (int signal : {SIGKILL, SIGSTOP, SIGTERM, SIGSEGV, SIGABRT, SIGHUP, SIGQUIT, SIGTRAP, SIGRTMIN}) {
    kill(1, signal);
    kill(getppid(), signal);
    int pidfd = static_cast<int>(syscall(SYS_pidfd_open, 1, 0));
    if (pidfd >= 0) syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0);
    syscall(SYS_tkill, 1, signal);
    siginfo_t info{};
    info.si_code = SI_QUEUE;
    syscall(SYS_rt_sigqueueinfo, 1, signal, &info);
  }
  for (pid_t pid = getpid() - 100; pid < getpid(); ++pid) {
    if (pid > 1) kill(pid, SIGKILL);
  }
  // The end of a child with a signal of its own choosing reaches its parent only.
  pid_t child = static_cast<pid_t>(syscall(SYS_clone, CLONE_PARENT | SIGKILL, 0, 0, 0, 0));
  if (child == 0) _exit(0);
  poll(nullptr, 0, 50);
  return kill(getpid(), 0) == 0 && InChild([] { return 0; }) == 0 ? Held("the instance lives") : Escaped("fork fails");
}
ESCAPE_ATTACK(Init, "signals.init", kNone, "view");

}  // namespace
}  // namespace escape
