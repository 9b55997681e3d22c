#include "manager/interop_server.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "base/format.h"
#include "manager/border_environment.h"
#include "manager/config_schema.h"
#include "manager/host_paths.h"
#include "protocol/control.h"
#include "protocol/control_socket.h"
#include "protocol/interop.h"

namespace usl::manager {
namespace {

using protocol::MessageType;

constexpr int kMostConnections = 64;
constexpr int kRefused = 125, kCannotExecute = 126, kNotFound = 127;
constexpr int kBacklog = 64;

std::string_view ValueOf(const std::vector<std::string>& environment, std::string_view name) {
  for (const std::string_view entry : environment) {
    if (entry.starts_with(name) && entry.size() > name.size() && entry[name.size()] == '=') {
      return entry.substr(name.size() + 1);
    }
  }
  return {};
}

void Set(std::vector<std::string>& environment, std::string_view name, std::string entry) {
  std::erase_if(environment, [&](std::string_view old) {
    return old.starts_with(name) && old.size() > name.size() && old[name.size()] == '=';
  });
  environment.push_back(std::move(entry));
}

bool IsPlainWord(std::string_view text) {
  constexpr size_t kLongest = 64;
  return !text.empty() && text.size() <= kLongest && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '+' || c == '_';
  });
}

bool IsExecutable(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && access(path.c_str(), X_OK) == 0;
}

Result<UniqueFd> Listen(const std::string& directory, const char* name) {
  UniqueFd fd(socket(
      AF_UNIX, SOCK_CLOEXEC | (strcmp(name, protocol::kSshAgentSocketName) == 0 ? SOCK_STREAM : SOCK_SEQPACKET), 0));
  if (!fd) return FailErrno();
  const UniqueFd parent(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!parent) return FailErrno();
  // However long the directory's path is.
  const std::string path = format("/proc/self/fd/{}/{}", parent.get(), name);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  memcpy(address.sun_path, path.data(), path.size());
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) return FailErrno();
  if (chmod(path.c_str(), 0600) < 0 || listen(fd.get(), kBacklog) < 0) return FailErrno();
  return fd;
}

void ResetSignals() {
  for (int signal = 1; signal < NSIG; ++signal) {
    if (signal != SIGKILL && signal != SIGSTOP) std::signal(signal, SIG_DFL);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// One program, in a process of its own.
class Connection {
 public:
  Connection(const InteropOptions& options, const std::vector<std::string>& environment, UniqueFd socket)
      : options_(options), environment_(environment), socket_(std::move(socket)) {}

  [[noreturn]] void Run() {
    std::signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    const UniqueFd children(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    auto received = protocol::ReceiveControl(socket_.get());
    if (!children || !received || received->message.type != MessageType::kLaunch || received->fds.size() != 4) _exit(1);
    session_ = received->message.session;
    const auto request = ReadRequest(*received);
    if (!request) _exit(1);
    Start(*request, received->fds);
    received->fds.clear();
    Watch(children.get());
  }

 private:
  static Result<protocol::LaunchRequest> ReadRequest(const protocol::ReceivedMessage& received) {
    std::vector<std::byte> payload(received.message.payload_size);
    const ssize_t size = pread(received.fds[3].get(), payload.data(), payload.size(), 0);
    if (size != static_cast<ssize_t>(payload.size())) return Fail(EBADMSG);
    auto request = protocol::DecodeLaunch(payload);
    if (request && request->argv.empty()) return Fail(EBADMSG);
    return request;
  }

  [[noreturn]] void End(int wait_status) {
    (void)protocol::SendControl(socket_.get(), {MessageType::kExited, session_, wait_status, 0});
    _exit(0);
  }

  [[noreturn]] static void Die(int status, const std::string& why) {
    const std::string line = "usl-host: " + why + "\n";
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
    _exit(status);
  }

  // The message about a refusal is written by the child, to the descriptor that the guest passed.
  void Start(const protocol::LaunchRequest& request, std::span<UniqueFd> fds) {
    child_ = fork();
    if (child_ < 0) End(kRefused << 8);
    if (child_ == 0) Execute(request, fds);
  }

  [[noreturn]] void Execute(const protocol::LaunchRequest& request, std::span<UniqueFd> fds) {
    ResetSignals();
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGHUP);
    int high[3];
    for (int i = 0; i < 3; ++i) high[i] = fcntl(fds[i].get(), F_DUPFD_CLOEXEC, 10);
    for (int i = 0; i < 3; ++i) {
      if (high[i] < 0 || dup2(high[i], i) < 0) _exit(kRefused);
    }
    std::signal(SIGPIPE, SIG_IGN);
    const auto program = FindInteropProgram(request.argv[0], std::string(ValueOf(environment_, "PATH")), options_);
    if (!program) {
      const bool denied = program.error().code() == EACCES;
      Die(denied ? kRefused : kNotFound,
          denied ? format("\"{}\" is not one of interop.allow", PrintableConfig(request.argv[0]))
                 : format("the host has no program \"{}\"", PrintableConfig(request.argv[0])));
    }
    std::signal(SIGPIPE, SIG_DFL);
    if (request.flags & protocol::kLaunchControllingTerminal) ioctl(STDIN_FILENO, TIOCSCTTY, 0);
    Enter(request.cwd);
    umask(options_.umask);
    rlimit files;
    constexpr rlim_t kUsualFiles = 1024;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
      files.rlim_cur = std::min(files.rlim_max, kUsualFiles);
      setrlimit(RLIMIT_NOFILE, &files);
    }
    const std::vector<std::string> environment = InteropEnvironment(environment_, request.env, options_);
    std::vector<char*> argv, envp;
    for (const std::string& word : request.argv) argv.push_back(const_cast<char*>(word.c_str()));
    for (const std::string& entry : environment) envp.push_back(const_cast<char*>(entry.c_str()));
    argv.push_back(nullptr);
    envp.push_back(nullptr);
    execve(program->c_str(), argv.data(), envp.data());
    const int error = errno;
    Die(error == ENOENT ? kNotFound : kCannotExecute,
        format("cannot run \"{}\" on the host: {}", *program, ErrorText(error)));
  }

  // The host's directory of the guest's, or else the home. No symlink is followed: the guest may have exchanged a
  // directory of it since.
  void Enter(const std::string& guest_directory) const {
    const auto host = options_.paths.ToHost(NormalPath(guest_directory));
    if (host) {
      open_how how{};
      how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
      how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
      const UniqueFd fd(static_cast<int>(syscall(SYS_openat2, AT_FDCWD, host->c_str(), &how, sizeof how)));
      if (fd && fchdir(fd.get()) == 0) return;
    }
    const std::string home = HostHome();
    if (home.empty() || chdir(home.c_str()) < 0) [[maybe_unused]]
      const int ignored = chdir("/");
  }

  [[noreturn]] void Watch(int children) {
    for (;;) {
      pollfd ready[] = {{socket_.get(), POLLIN, 0}, {children, POLLIN, 0}};
      if (poll(ready, 2, -1) < 0 && errno != EINTR) _exit(1);
      if (ready[1].revents) {
        signalfd_siginfo info;
        while (read(children, &info, sizeof info) == sizeof info) {
        }
        int status = 0;
        if (waitpid(child_, &status, WNOHANG) == child_) End(status & 0xFFFF);
      }
      if (ready[0].revents) PassOn();
    }
  }

  void PassOn() {
    const auto received = protocol::ReceiveControl(socket_.get());
    if (received && received->message.type == MessageType::kSignal && received->message.session == session_) {
      Signal(received->message.value);
    } else if (!received || received->message.type != MessageType::kSignal) {
      if (!received && received.error().code() == EAGAIN) return;
      // The guest's program is gone, or talks nonsense.
      Signal(SIGHUP);
      Signal(SIGCONT);
      _exit(0);
    }
  }

  // The group exists once the child has called setsid; until then it is the process alone.
  void Signal(int signal) const {
    if (kill(-child_, signal) < 0) kill(child_, signal);
  }

  const InteropOptions& options_;
  const std::vector<std::string>& environment_;
  UniqueFd socket_;
  uint32_t session_ = 0;
  pid_t child_ = -1;
};

// Copies between a guest and the host's agent until one of them closes.
[[noreturn]] void RelayAgent(const std::string& agent, UniqueFd guest) {
  std::signal(SIGPIPE, SIG_IGN);
  const UniqueFd host(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (!host || agent.size() >= sizeof address.sun_path) _exit(1);
  memcpy(address.sun_path, agent.data(), agent.size());
  if (connect(host.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) _exit(1);
  const auto copy = [](int from, int to) {
    char buffer[16384];
    const ssize_t size = read(from, buffer, sizeof buffer);
    for (ssize_t done = 0; done < size;) {
      const ssize_t written = write(to, buffer + done, static_cast<size_t>(size - done));
      if (written <= 0) return false;
      done += written;
    }
    return size > 0;
  };
  for (;;) {
    pollfd ready[] = {{guest.get(), POLLIN, 0}, {host.get(), POLLIN, 0}};
    if (poll(ready, 2, -1) < 0 && errno != EINTR) _exit(1);
    if (ready[0].revents && !copy(guest.get(), host.get())) _exit(0);
    if (ready[1].revents && !copy(host.get(), guest.get())) _exit(0);
  }
}

class Server {
 public:
  Server(const InteropOptions& options, UniqueFd programs, UniqueFd agents)
      : options_(options), programs_(std::move(programs)), agents_(std::move(agents)) {}

  [[noreturn]] void Run() {
    sigset_t child, none;
    sigemptyset(&none);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_SETMASK, &child, nullptr);
    std::signal(SIGCHLD, [](int) {});
    for (;;) {
      while (waitpid(-1, nullptr, WNOHANG) > 0) --connections_;
      // A negative descriptor is not looked at: the others wait in the backlog.
      const bool full = connections_ >= kMostConnections;
      pollfd ready[] = {{full ? -1 : programs_.get(), POLLIN, 0}, {full ? -1 : agents_.get(), POLLIN, 0}};
      if (ppoll(ready, 2, nullptr, &none) <= 0) continue;
      if (ready[0].revents) Accept(programs_.get(), false);
      if (ready[1].revents) Accept(agents_.get(), true);
    }
  }

 private:
  void Accept(int listener, bool is_agent) {
    UniqueFd connection(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection) return;
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid > 0) ++connections_;
    if (pid != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(1);
    ResetSignals();
    programs_.Reset();
    agents_.Reset();
    if (is_agent) RelayAgent(options_.ssh_agent, std::move(connection));
    Connection(options_, environment_, std::move(connection)).Run();
  }

  const InteropOptions& options_;
  const std::vector<std::string> environment_ = EnvironmentOf(environ);
  UniqueFd programs_, agents_;
  int connections_ = 0;
};

// Nothing of the kernel process's stays open: its locks and its sockets are not this one's.
void CloseAllBut(UniqueFd& programs, UniqueFd& agents) {
  constexpr int kFirst = 3, kAbove = 1000;
  int number = kFirst;
  for (UniqueFd* fd : {&programs, &agents}) {
    if (!*fd) continue;
    const int high = fcntl(fd->get(), F_DUPFD_CLOEXEC, kAbove);
    fd->Reset(high);
  }
  close_range(kFirst, kAbove - 1, 0);
  for (UniqueFd* fd : {&programs, &agents}) {
    if (!*fd) continue;
    dup3(fd->get(), number, O_CLOEXEC);
    (void)fd->Release();
    fd->Reset(number++);
  }
  close_range(static_cast<unsigned>(number), ~0u, 0);
}

}  // namespace

std::vector<std::string> InteropEnvironment(const std::vector<std::string>& host, const std::vector<std::string>& guest,
                                            const InteropOptions& options) {
  std::vector<std::string> environment = host;
  for (const std::string_view name : {"TERM", "COLORTERM"}) {
    const std::string_view value = ValueOf(guest, name);
    if (IsPlainWord(value)) Set(environment, name, std::string(name) + "=" + std::string(value));
  }
  if (options.policy != InteropPolicy::kAll) return environment;
  for (std::string& entry : SharedEnvironment(guest, Border::kToHost, options.paths)) {
    const std::string name = entry.substr(0, entry.find('='));
    Set(environment, name, std::move(entry));
  }
  return environment;
}

Result<std::string> FindInteropProgram(const std::string& program, const std::string& path,
                                       const InteropOptions& options) {
  if (options.policy == InteropPolicy::kOff) return Fail(EACCES);
  if (options.policy == InteropPolicy::kList && !std::ranges::count(options.allow, program)) return Fail(EACCES);
  // The list has absolute paths and plain names only.
  if (program.find('/') != program.npos) return program;
  std::string_view rest = path.empty() ? std::string_view("/usr/local/bin:/usr/bin:/bin") : path;
  while (!rest.empty() && !program.empty()) {
    const size_t end = std::min(rest.find(':'), rest.size());
    const std::string candidate = std::string(rest.substr(0, end)) + "/" + program;
    if (candidate.starts_with('/') && end > 0 && IsExecutable(candidate)) return candidate;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return Fail(ENOENT);
}

Result<pid_t> StartInteropServer(const InteropOptions& options, std::string* why) {
  UniqueFd programs, agents;
  const auto listen_at = [&](const char* name, UniqueFd* fd) -> Result<void> {
    auto listener = Listen(options.directory, name);
    if (!listener) {
      *why = format("cannot listen in \"{}\": {}", options.directory, ErrorText(listener.error().code()));
      return Fail(listener.error());
    }
    *fd = std::move(*listener);
    return {};
  };
  if (options.policy != InteropPolicy::kOff) USL_TRY_VOID(listen_at(protocol::kInteropSocketName, &programs));
  if (!options.ssh_agent.empty()) USL_TRY_VOID(listen_at(protocol::kSshAgentSocketName, &agents));
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    const Error error = Error::FromErrno();
    *why = format("cannot fork: {}", ErrorText(error.code()));
    return Fail(error);
  }
  if (pid > 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(1);
  prctl(PR_SET_NAME, "usl-interop");
  // No program that a guest starts gains privileges by it.
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ResetSignals();
  CloseAllBut(programs, agents);
  Server(options, std::move(programs), std::move(agents)).Run();
}

}  // namespace usl::manager
