// Handlers of signals: what sigaction(2) tells, and which calls end with EINTR.
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cstring>
#include <functional>
#include <thread>

#include "conformance/helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

volatile sig_atomic_t handled;

void Count(int) {
  handled = handled + 1;
}
void CountWithInfo(int, siginfo_t* info, void* context) {
  if (info && context) handled = handled + 1;
}

struct sigaction Action(void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  return action;
}

// Sets an action for a scope.
class ScopedAction {
 public:
  ScopedAction(int signal, const struct sigaction& action) : signal_(signal) {
    handled = 0;
    EXPECT_THAT(sigaction(signal, &action, &old_), SyscallSucceeds());
  }
  ~ScopedAction() { sigaction(signal_, &old_, nullptr); }

 private:
  int signal_;
  struct sigaction old_ {};
};

// SIGALRM again and again for a scope.
class Alarms {
 public:
  explicit Alarms(int microseconds, int first = 0) {
    itimerval interval{{0, microseconds}, {0, first ? first : microseconds}};
    setitimer(ITIMER_REAL, &interval, nullptr);
  }
  ~Alarms() {
    itimerval never{};
    setitimer(ITIMER_REAL, &never, nullptr);
  }
};

TEST(Sigaction, TellsWhatWasSet) {
  struct sigaction first = Action(Count, 0);
  sigaddset(&first.sa_mask, SIGUSR2);
  sigaddset(&first.sa_mask, SIGKILL);
  struct sigaction second {
  }, old{};
  second.sa_sigaction = CountWithInfo;
  second.sa_flags = SA_SIGINFO | SA_NODEFER;
  for (int signal : {SIGUSR1, SIGCHLD, SIGALRM, SIGURG, SIGRTMIN + 1}) {
    ScopedAction restore(signal, first);
    ASSERT_THAT(sigaction(signal, nullptr, &old), SyscallSucceeds());
    EXPECT_EQ(old.sa_handler, Count);
    EXPECT_EQ(old.sa_flags & ~0x04000000, 0);
    EXPECT_EQ(sigismember(&old.sa_mask, SIGUSR2), 1);
    EXPECT_EQ(sigismember(&old.sa_mask, SIGKILL), 0);
    ASSERT_THAT(sigaction(signal, &second, &old), SyscallSucceeds());
    EXPECT_EQ(old.sa_handler, Count);
    ASSERT_THAT(sigaction(signal, &first, &old), SyscallSucceeds());
    EXPECT_EQ(old.sa_sigaction, CountWithInfo);
    EXPECT_EQ(old.sa_flags & ~0x04000000, SA_SIGINFO | SA_NODEFER);
    EXPECT_THAT(syscall(SYS_rt_sigaction, signal, kWildPointer, nullptr, 8), SyscallFailsWithErrno(EFAULT));
    EXPECT_THAT(syscall(SYS_rt_sigaction, signal, nullptr, nullptr, 4), SyscallFailsWithErrno(EINVAL));
    // A child has the same, and what it changes is its own.
    EXPECT_TRUE(InChild([&] {
      if (sigaction(signal, nullptr, &old) != 0 || old.sa_handler != Count) return false;
      raise(signal);
      if (handled != 1) return false;
      ::signal(signal, SIG_DFL);
      return sigaction(signal, nullptr, &old) == 0 && old.sa_handler == SIG_DFL;
    }));
    ASSERT_THAT(sigaction(signal, nullptr, &old), SyscallSucceeds());
    EXPECT_EQ(old.sa_handler, Count);
    handled = 0;  // SIGCHLD has come by itself
    raise(signal);
    EXPECT_EQ(handled, 1);
  }
}

TEST(Sigaction, OfReadOnlyMemory) {
  struct {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)();
    unsigned long mask;
  } static const kIgnore = {SIG_IGN, 0, nullptr, 0};
  ScopedAction restore(SIGUSR1, Action(Count, 0));
  ASSERT_THAT(syscall(SYS_rt_sigaction, SIGUSR1, &kIgnore, nullptr, 8), SyscallSucceeds());
  raise(SIGUSR1);
  EXPECT_EQ(handled, 0);
}

TEST(Handlers, AreGoneWhenTheyAreForOnce) {
  ScopedAction restore(SIGUSR1, Action(Count, static_cast<int>(SA_RESETHAND)));
  raise(SIGUSR1);
  EXPECT_EQ(handled, 1);
  struct sigaction now {};
  ASSERT_THAT(sigaction(SIGUSR1, nullptr, &now), SyscallSucceeds());
  EXPECT_EQ(now.sa_handler, SIG_DFL);
}

sigjmp_buf away;

TEST(Handlers, MayLeaveByLongjmp) {
  ScopedAction restore(SIGUSR1, Action([](int) { siglongjmp(away, 1); }, 0));
  for (int i = 0; i < 3; ++i) {
    if (sigsetjmp(away, 1) == 0) {
      raise(SIGUSR1);
      FAIL();
    }
  }
}

TEST(Handlers, GetTheirStackAndContext) {
  static char stack[65536];
  static volatile bool on_stack;
  stack_t alternate{.ss_sp = stack, .ss_flags = 0, .ss_size = sizeof stack}, former{};
  ASSERT_THAT(sigaltstack(&alternate, &former), SyscallSucceeds());
  struct sigaction action {};
  action.sa_sigaction = [](int, siginfo_t* info, void* context) {
    char here;
    on_stack = &here >= stack && &here < stack + sizeof stack && info->si_pid == getpid() && context;
  };
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  {
    ScopedAction restore(SIGUSR1, action);
    kill(getpid(), SIGUSR1);
    EXPECT_TRUE(on_stack);
  }
  sigaltstack(&former, nullptr);
}

// The calls that Linux never ends with EINTR, under a storm of signals whose handler has no SA_RESTART.
TEST(Interruption, SparesCallsThatDoNotWait) {
  TempDirectory directory;
  const std::string file = directory.File("file", "content");
  const std::string other = directory / "other";
  ScopedAction alarm(SIGALRM, Action(Count, 0));
  ScopedAction child(SIGCHLD, Action(Count, 0));
  const std::pair<const char*, std::function<long()>> calls[] = {
      {"stat", [&] { return access(file.c_str(), R_OK); }},
      {"open",
       [&]() -> long {
         Fd fd(open(file.c_str(), O_RDONLY));
         struct stat status;
         return fd.ok() ? fstat(fd.get(), &status) : -1;
       }},
      {"rename", [&] { return rename(file.c_str(), other.c_str()) | rename(other.c_str(), file.c_str()); }},
      {"mkdir", [&] { return mkdir(other.c_str(), 0700) | rmdir(other.c_str()); }},
      {"kill", [] { return kill(getpid(), 0); }},
      {"getppid", [] { return syscall(SYS_getppid); }},
      {"chmod", [&] { return chmod(file.c_str(), 0600); }},
      {"socket", [] { return Fd(socket(AF_UNIX, SOCK_STREAM, 0)).ok() ? 0 : -1; }},
      {"fork",
       []() -> long {
         const pid_t pid = fork();
         if (pid == 0) _exit(0);
         if (pid < 0) return -1;
         while (waitpid(pid, nullptr, 0) < 0) {
           if (errno != EINTR) return -1;
         }
         return 0;
       }},
  };
  Alarms alarms(150);
  for (const auto& [name, call] : calls) {
    for (int i = 0; i < 400; ++i) ASSERT_THAT(call(), SyscallSucceeds()) << name << " " << i;
  }
  EXPECT_GT(handled, 10);
}

// Runs `call` until a signal comes; its errno, 0 for success.
int ErrnoUnderAlarm(int flags, const std::function<long()>& call) {
  ScopedAction alarm(SIGALRM, Action(Count, flags));
  Alarms alarms(30000);
  errno = 0;
  return call() == -1 ? errno : 0;
}

TEST(Interruption, EndsCallsThatWait) {
  int pipe_ends[2], sockets[2];
  ASSERT_THAT(pipe(pipe_ends), SyscallSucceeds());
  ASSERT_THAT(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), SyscallSucceeds());
  TempDirectory directory;
  const std::string fifo = directory / "fifo";
  ASSERT_THAT(mkfifo(fifo.c_str(), 0600), SyscallSucceeds());
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  Fd listener(socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  ASSERT_THAT(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(sa_family_t)), SyscallSucceeds());
  ASSERT_THAT(listen(listener.get(), 1), SyscallSucceeds());
  const std::string locked = directory.File("locked");
  Fd first(open(locked.c_str(), O_RDWR)), second(open(locked.c_str(), O_RDWR));
  ASSERT_THAT(flock(first.get(), LOCK_EX), SyscallSucceeds());
  char byte;
  const std::pair<const char*, std::function<long()>> calls[] = {
      {"read", [&] { return read(pipe_ends[0], &byte, 1); }},
      {"wait4", [&] { return waitpid(child, nullptr, 0); }},
      {"recvfrom",
       [&] {
         sockaddr_un from;
         socklen_t size = sizeof from;
         return recvfrom(sockets[0], &byte, 1, 0, reinterpret_cast<sockaddr*>(&from), &size);
       }},
      {"recvmsg",
       [&] {
         iovec data{&byte, 1};
         msghdr message{};
         message.msg_iov = &data;
         message.msg_iovlen = 1;
         return recvmsg(sockets[0], &message, 0);
       }},
      {"accept",
       [&] {
         sockaddr_un from;
         socklen_t size = sizeof from;
         return accept(listener.get(), reinterpret_cast<sockaddr*>(&from), &size);
       }},
      {"accept without an address", [&] { return accept(listener.get(), nullptr, nullptr); }},
      {"open of a FIFO", [&] { return open(fifo.c_str(), O_RDONLY); }},
      {"flock", [&] { return flock(second.get(), LOCK_EX); }},
  };
  for (const auto& [name, call] : calls) EXPECT_EQ(ErrnoUnderAlarm(0, call), EINTR) << name;
  for (int fd : {pipe_ends[0], pipe_ends[1], sockets[0], sockets[1]}) close(fd);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

TEST(Interruption, StartsOverUnderSaRestart) {
  int ends[2];
  ASSERT_THAT(pipe(ends), SyscallSucceeds());
  TempDirectory directory;
  const std::string fifo = directory / "fifo";
  ASSERT_THAT(mkfifo(fifo.c_str(), 0600), SyscallSucceeds());
  sigset_t alarm_only;
  sigemptyset(&alarm_only);
  sigaddset(&alarm_only, SIGALRM);
  std::thread late([&] {
    pthread_sigmask(SIG_BLOCK, &alarm_only, nullptr);
    usleep(150000);
    EXPECT_EQ(write(ends[1], "x", 1), 1);
    Fd writer(open(fifo.c_str(), O_WRONLY));
    EXPECT_TRUE(writer.ok());
  });
  char byte;
  EXPECT_EQ(ErrnoUnderAlarm(SA_RESTART, [&] { return read(ends[0], &byte, 1); }), 0);
  EXPECT_GT(handled, 0);
  EXPECT_EQ(ErrnoUnderAlarm(SA_RESTART, [&] { return Fd(open(fifo.c_str(), O_RDONLY)).ok() ? 0 : -1; }), 0);
  late.join();
  for (int fd : ends) close(fd);
}

TEST(PidfdSendSignal, TakesAProcDirectory) {
  ScopedAction restore(SIGUSR1, Action(Count, 0));
  Fd self(open("/proc/self", O_RDONLY | O_DIRECTORY));
  ASSERT_TRUE(self.ok());
  EXPECT_THAT(syscall(SYS_pidfd_send_signal, self.get(), SIGUSR1, nullptr, 0), SyscallSucceeds());
  EXPECT_EQ(handled, 1);
  const std::string task = "/proc/self/task/" + std::to_string(getpid());
  Fd thread(open(task.c_str(), O_RDONLY | O_DIRECTORY)), root(open("/", O_RDONLY | O_DIRECTORY));
  EXPECT_THAT(syscall(SYS_pidfd_send_signal, thread.get(), SIGUSR1, nullptr, 0), SyscallFailsWithErrno(EBADF));
  EXPECT_THAT(syscall(SYS_pidfd_send_signal, root.get(), SIGUSR1, nullptr, 0), SyscallFailsWithErrno(EBADF));
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  Fd directory(open(("/proc/" + std::to_string(child)).c_str(), O_RDONLY | O_DIRECTORY));
  EXPECT_THAT(syscall(SYS_pidfd_send_signal, directory.get(), SIGKILL, nullptr, 0), SyscallSucceeds());
  int status = 0;
  EXPECT_THAT(waitpid(child, &status, 0), SyscallSucceedsWithValue(child));
  EXPECT_EQ(status, SIGKILL);
  EXPECT_THAT(syscall(SYS_pidfd_send_signal, directory.get(), SIGKILL, nullptr, 0), SyscallFailsWithErrno(ESRCH));
}

TEST(Scheduling, OfNegativeNumbers) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(0, &set);
  sched_param param{};
  EXPECT_THAT(sched_getaffinity(-1, sizeof set, &set), SyscallFailsWithErrno(ESRCH));
  EXPECT_THAT(sched_setaffinity(-1, sizeof set, &set), SyscallFailsWithErrno(ESRCH));
  EXPECT_THAT(sched_getscheduler(-1), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(sched_getparam(-1, &param), SyscallFailsWithErrno(EINVAL));
}

}  // namespace
}  // namespace usl::conformance
