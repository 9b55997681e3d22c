#include "platform/launch.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#include "base/format.h"
#include "platform/child_setup.h"
#include "platform/fd_access.h"
#include "platform/fd_passing.h"
#include "platform/task_token.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

namespace usl::platform {
namespace {

enum class Step : int {
  kStdio,
  kSession,
  kTerminal,
  kLimits,
  kDirectory,
  kPicoPage,
  kUser,
  kCapabilities,
  kDeathSignal,
  kNoNewPrivileges,
  kLandlock,
  kHelper,
  kFilter,
  kReady,  // not a failure: the filter is in force, value = listener fd number
  kExec,
};

// What the child tells over its socket.
struct Report {
  Step step;
  int error;
  int value;
  int landlock_abi;
  pid_t helper;  // to be reaped; 0 = none
};

// Numbers in the child. The guest gets 0 to 2 only; the rest is closed or close-on-exec.
constexpr int kSocket = 3;
constexpr int kFirstSpare = 10;
constexpr int kFailed = 125;  // its exit status when it could not start

struct Child {
  const LaunchOptions* options;
  const sock_fprog* program;
  char* const* argv;
  char* const* envp;
  int socket;
  int loader_fd;  // O_PATH for Landlock; -1 = no wall
  int pico_fd;
  bool getfd_works;
  pid_t parent;
  int landlock_abi = 0;
};

[[noreturn]] void Die(int socket, Step step, int error) {
  Report report{step, error, 0, 0, 0};
  (void)!write(socket, &report, sizeof report);
  _exit(kFailed);
}

void PlaceStdio(Child& child) {
  // First out of the way of 0 to 3, which any of them may be.
  int moved[3];
  child.socket = fcntl(child.socket, F_DUPFD_CLOEXEC, kFirstSpare);
  child.loader_fd = child.loader_fd < 0 ? -1 : fcntl(child.loader_fd, F_DUPFD_CLOEXEC, kFirstSpare);
  for (int i = 0; i < 3; ++i) {
    int from = child.options->stdio[static_cast<size_t>(i)];
    moved[i] = fcntl(from, F_DUPFD, kFirstSpare);
    if (moved[i] < 0 && errno == EBADF) moved[i] = open("/dev/null", O_RDWR);
    if (moved[i] < 0) Die(child.socket, Step::kStdio, errno);
  }
  for (int i = 0; i < 3; ++i) {
    // dup2 onto itself would be harmless; without close-on-exec, and blocking as it was.
    if (dup2(moved[i], i) < 0) Die(child.socket, Step::kStdio, errno);
  }
  if (dup3(child.socket, kSocket, O_CLOEXEC) < 0) Die(child.socket, Step::kStdio, errno);
  child.socket = kSocket;
}

void SetLimits(const Child& child) {
  const rlimit no_core{0, 0};
  if (setrlimit(RLIMIT_CORE, &no_core) != 0) Die(child.socket, Step::kLimits, errno);
  const auto& nofile = child.options->nofile;
  if (nofile && setrlimit(RLIMIT_NOFILE, &*nofile) != 0) Die(child.socket, Step::kLimits, errno);
  if (child.options->data) {
    const rlimit data{*child.options->data, *child.options->data};
    if (setrlimit(RLIMIT_DATA, &data) != 0) Die(child.socket, Step::kLimits, errno);
  }
  auto token = WriteToken(0, child.options->token);
  if (!token) Die(child.socket, Step::kLimits, token.error().code());
}

void DropPrivileges(const Child& child) {
  const LaunchOptions& options = *child.options;
  DropBoundingSet();
  if (options.uid) {
    auto dropped = DropUser(*options.uid, options.gid.value_or(*options.uid));
    if (!dropped) Die(child.socket, Step::kUser, dropped.error().code());
  }
  auto dropped = DropCapabilities();
  if (!dropped) Die(child.socket, Step::kCapabilities, dropped.error().code());
  // Changing users clears both of these, so they come after it. The kernel must be able to reach into its guests.
  prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  if (options.die_with_parent) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) Die(child.socket, Step::kDeathSignal, errno);
    if (getppid() != child.parent) _exit(kFailed);  // it died before that
  }
}

// Where pidfd_getfd is forbidden: a process that shares the fd table and is not under the filter sends the listener, as
// the filtered one could not (sendmsg is a served call). CLONE_PARENT: the guest must never see it as its child.
pid_t StartHelper(const Child& child, int pipe_fds[2]) {
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) Die(child.socket, Step::kHelper, errno);
  long helper = syscall(SYS_clone, CLONE_FILES | CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
  if (helper < 0) Die(child.socket, Step::kHelper, errno);
  if (helper != 0) return static_cast<pid_t>(helper);
  int number;
  if (read(pipe_fds[0], &number, sizeof number) == sizeof number) (void)SendFd(child.socket, number);
  _exit(0);
}

[[noreturn]] void RunChild(Child child) {
  const LaunchOptions& options = *child.options;
  if (options.new_session && setsid() < 0) Die(child.socket, Step::kSession, errno);
  PlaceStdio(child);
  if (options.controlling_terminal && ioctl(0, TIOCSCTTY, 0) != 0) Die(child.socket, Step::kTerminal, errno);
  ResetSignals(options.ignored_signals);
  if (chdir(options.empty_dir.c_str()) != 0) Die(child.socket, Step::kDirectory, errno);
  auto mapped = options.pico->Map();
  if (!mapped) Die(child.socket, Step::kPicoPage, mapped.error().code());
  SetLimits(child);
  DropPrivileges(child);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) Die(child.socket, Step::kNoNewPrivileges, errno);
  if (child.loader_fd >= 0) {
    auto abi = RestrictWithLandlock(child.loader_fd);
    if (!abi) Die(child.socket, Step::kLandlock, abi.error().code());
    child.landlock_abi = *abi;
  }
  CloseFrom(kSocket + 1, -1);
  int helper_pipe[2] = {-1, -1};
  pid_t helper = child.getfd_works ? 0 : StartHelper(child, helper_pipe);

  long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                          SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, child.program);
  if (listener < 0) Die(child.socket, Step::kFilter, errno);
  // From here on only calls that the filter lets through: read, write, close, execve of the pico page, exit_group.
  int number = static_cast<int>(listener);
  if (!child.getfd_works) (void)!write(helper_pipe[1], &number, sizeof number);
  Report ready{Step::kReady, 0, number, child.landlock_abi, helper};
  char go;
  if (write(child.socket, &ready, sizeof ready) != sizeof ready || read(child.socket, &go, 1) != 1) _exit(kFailed);
  close(number);
  if (!child.getfd_works) {
    close(helper_pipe[0]);
    close(helper_pipe[1]);
  }
  // The loader's path is not passed but pointed at: the filter compares this very address.
  syscall(SYS_execve, options.pico->base(), child.argv, child.envp);
  Die(child.socket, Step::kExec, errno);
}

std::string Describe(const Report& report, const LaunchOptions& options) {
  const char* text = strerrordesc_np(report.error);
  switch (report.step) {
    case Step::kStdio: return usl::format("cannot place standard input and output: {}", text);
    case Step::kSession: return usl::format("cannot start a session: {}", text);
    case Step::kTerminal: return usl::format("cannot take over the terminal: {}", text);
    case Step::kLimits: return usl::format("cannot set resource limits (see `usl doctor`): {}", text);
    case Step::kDirectory: return usl::format("cannot enter {}: {}", options.empty_dir, text);
    case Step::kPicoPage:
      if (report.error == EEXIST) {
        return usl::format("the pico page's place, {:#x}, is taken: USL cannot run inside USL; run it outside",
                           options.pico->base());
      }
      return usl::format("cannot map the pico page at {:#x}: {}; compare vm.mmap_min_addr", options.pico->base(), text);
    case Step::kUser: return usl::format("cannot become user {}: {}", options.uid.value_or(0), text);
    case Step::kCapabilities: return usl::format("cannot drop capabilities: {}", text);
    case Step::kDeathSignal: return usl::format("cannot set the parent-death signal: {}", text);
    case Step::kNoNewPrivileges: return usl::format("cannot set no_new_privs: {}", text);
    case Step::kLandlock: return usl::format("cannot set up the Landlock wall: {}", text);
    case Step::kHelper: return usl::format("cannot start the helper that hands over the listener: {}", text);
    case Step::kFilter:
      if (report.error == EBUSY) {
        return "another seccomp notifier is in force here: USL cannot run inside USL, nor in a container that uses "
               "one; "
               "run it outside";
      }
      if (report.error == EINVAL) {
        return "the host refuses seccomp notification with WAIT_KILLABLE_RECV: Linux 5.19 or newer is needed";
      }
      return usl::format("cannot install the seccomp filter: {}", text);
    case Step::kExec: return usl::format("cannot execute the loader {}: {}", options.loader_path, text);
    case Step::kReady: break;
  }
  return "the first process died while it was started";
}

// True if a whole report came; false at end-of-file.
bool ReadReport(int socket, Report* report) {
  ssize_t got;
  do {
    got = read(socket, report, sizeof *report);
  } while (got < 0 && errno == EINTR);
  return got == sizeof *report;
}

bool PidfdGetfdWorks() {
  auto self = OpenPidfd(getpid());
  if (!self) return false;
  UniqueFd copy(static_cast<int>(syscall(SYS_pidfd_getfd, self->get(), self->get(), 0)));
  return static_cast<bool>(copy);
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& one : strings) pointers.push_back(const_cast<char*>(one.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// Waits until the child's filter is in force and takes the listener. On failure *report says why.
Result<Listener> TakeListener(const Child& child, int pidfd, int socket, Report* report) {
  UniqueFd fd;
  bool ready = false;
  while (!ready || !fd) {
    // The helper's message may come before or after the child's.
    if (!child.getfd_works && !fd) {
      auto received = ReceiveFd(socket);
      if (received) {
        fd = std::move(*received);
        continue;
      }
      if (received.error() != Error(EBADMSG)) return Fail(ESRCH);
    }
    if (ready || !ReadReport(socket, report)) return Fail(ESRCH);
    if (report->step != Step::kReady) return Fail(report->error);
    ready = true;
    if (child.getfd_works) {
      fd.Reset(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd, report->value, 0)));
      if (!fd) return FailErrno();
    }
  }
  if (report->helper > 0) waitpid(report->helper, nullptr, 0);
  return Listener::Adopt(std::move(fd));
}

// The parent's half of the conversation. On failure *report says why.
Result<LaunchedInit> Converse(const Child& child, pid_t pid, UniqueFd pidfd, int socket, Report* report) {
  auto listener = TakeListener(child, pidfd.get(), socket, report);
  if (!listener) {
    if (report->step == Step::kReady && report->value > 0) *report = {Step::kFilter, listener.error().code(), 0, 0, 0};
    return Fail(listener.error());
  }
  const int landlock_abi = report->landlock_abi;
  if (write(socket, "g", 1) != 1) return Fail(ESRCH);
  // The socket closes on exec; a report is a failed one.
  if (ReadReport(socket, report)) return Fail(report->error);
  // Or it died before; what it did after its exec is not looked at here.
  siginfo_t info{};
  if (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid &&
      (info.si_code != CLD_EXITED || info.si_status == kFailed)) {
    return Fail(ESRCH);
  }
  return LaunchedInit{pid, std::move(pidfd), std::move(*listener), landlock_abi};
}

// A filter that notifies everything would stop the child in its own conversation, when nobody receives yet. So short
// reads and writes of the first few numbers, and their closing, pass in front of it; a trace does not show those.
std::vector<sock_filter> LetConversationPass(const std::vector<sock_filter>& filter, bool getfd_works) {
  const uint32_t last = getfd_works ? kSocket + 1 : kSocket + 4;  // listener; or a helper's pipe and listener
  auto word = [](size_t offset) { return static_cast<uint32_t>(offset); };
  std::vector<sock_filter> program{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, word(offsetof(seccomp_data, arch))),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 10),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, word(offsetof(seccomp_data, nr))),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close, 4, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 0, 6),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, word(offsetof(seccomp_data, args[2]))),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, sizeof(Report), 4, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, word(offsetof(seccomp_data, args[0]))),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kSocket, 0, 2),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, last, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  program.insert(program.end(), filter.begin(), filter.end());
  return program;
}

}  // namespace

Result<LaunchedInit> LaunchFirstProcess(const LaunchOptions& options, std::string* why) {
  Child child{};
  child.options = &options;
  const std::vector<char*> argv = Pointers(options.argv), envp = Pointers(options.envp);
  child.argv = argv.data();
  child.envp = envp.data();
  child.parent = getpid();
  child.getfd_works = PidfdGetfdWorks();
  std::vector<sock_filter> filter =
      options.filter_notifies_all ? LetConversationPass(options.filter, child.getfd_works) : options.filter;
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  child.program = &program;
  UniqueFd loader;
  if (options.landlock && !options.loader_path.empty())
    loader.Reset(open(options.loader_path.c_str(), O_PATH | O_CLOEXEC));
  child.loader_fd = loader.get();
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) return FailErrno();
  UniqueFd ours(sockets[0]), theirs(sockets[1]);
  child.socket = theirs.get();

  pid_t pid = fork();
  if (pid < 0) return FailErrno();
  if (pid == 0) RunChild(child);
  theirs.Reset();
  Report report{Step::kReady, ESRCH, 0, 0, 0};
  auto pidfd = OpenPidfd(pid);
  Result<LaunchedInit> launched = Fail(ESRCH);
  if (pidfd) launched = Converse(child, pid, std::move(*pidfd), ours.get(), &report);
  if (launched) return launched;
  if (why) *why = Describe(report, options);
  kill(pid, SIGKILL);
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return launched;
}

Result<rlimit> RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return FailErrno();
  rlimit raised{limit.rlim_max, limit.rlim_max};
  if (setrlimit(RLIMIT_NOFILE, &raised) != 0) return FailErrno();
  return limit;
}

}  // namespace usl::platform
