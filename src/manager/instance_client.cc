#include "manager/instance_client.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include "base/format.h"
#include "manager/border_environment.h"
#include "manager/environment.h"
#include "manager/host_paths.h"
#include "manager/session_front.h"
#include "manager/supervisor.h"
#include "manager/terminal.h"
#include "protocol/control_socket.h"

namespace usl::manager {
namespace {

using protocol::MessageType;

// For answers that a supervisor gives at once.
constexpr int kAnswerSeconds = 10;
// How often a place may vanish between opening and locking it: each time an instance ended just then.
constexpr int kAttempts = 20;

int Refuse(const std::string& why) {
  fprintf(stderr, "usl: %s\n", why.c_str());
  return kOwnFailure;
}

void LimitWaiting(int socket) {
  const timeval limit{kAnswerSeconds, 0};
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

// Nobody listens, or who listens is ending.
bool MeansAbsent(Error error) {
  return error.code() == ENOENT || error.code() == ECONNREFUSED || error.code() == ECONNRESET ||
         error.code() == EPIPE || error.code() == ESHUTDOWN;
}

std::string CurrentDirectory() {
  char* directory = get_current_dir_name();
  std::string path = directory ? directory : "";
  free(directory);
  return path;
}

// Without the SIGPIPE that protocol::SendControl leaves to processes that ignore it.
Result<void> Send(int socket, const protocol::ControlMessage& message) {
  const protocol::ControlPacket packet = protocol::EncodeMessage(message);
  if (send(socket, packet.data(), packet.size(), MSG_NOSIGNAL) < 0) return FailErrno();
  return {};
}

// Until the process at the other end is gone.
void AwaitEnd(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return;
  const UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, peer.pid, 0)));
  pollfd ended{process.get(), POLLIN, 0};
  while (process && poll(&ended, 1, -1) < 0 && errno == EINTR) {
  }
}

// One session of an instance, from the request to the exit status.
class SessionClient {
 public:
  explicit SessionClient(const JoinOptions& options) : options_(options) {}

  // Everything that does not need the instance. A line for people, or nothing.
  std::string Prepare(bool same_files) {
    if (!options_.detached && (options_.terminal || (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)))) {
      auto pty = OpenPty(STDIN_FILENO);
      if (!pty) return format("cannot get a terminal of its own for the session: {}", ErrorText(pty.error().code()));
      pty_ = std::move(*pty);
    }
    protocol::LaunchRequest request;
    request.flags = protocol::kLaunchFindUser;
    if (options_.user_shell) request.flags |= protocol::kLaunchUserShell;
    if (options_.login_shell) request.flags |= protocol::kLaunchLoginShell;
    if (options_.detached) request.flags |= protocol::kLaunchDetached;
    if (pty_.slave) request.flags |= protocol::kLaunchControllingTerminal;
    request.user = options_.user;
    request.cwd = options_.directory;
    if (request.cwd.empty()) {
      request.cwd = CurrentDirectory();
      request.flags |= protocol::kLaunchHostDirectory;
    } else if (request.cwd == "~") {
      request.cwd.clear();
    }
    request.argv = options_.command;
    std::vector<std::string> wanted = ListedEnvironment(EnvironmentOf(environ));
    wanted.insert(wanted.end(), options_.environment.begin(), options_.environment.end());
    request.env = HostEnvironment(wanted, static_cast<bool>(pty_.slave), same_files, environ);
    const auto payload = protocol::EncodeLaunch(request);
    auto memory = payload ? protocol::MakePayload(*payload) : Fail(payload.error());
    if (!memory) return format("cannot pass the command on: {}", ErrorText(memory.error().code()));
    payload_ = std::move(*memory);
    payload_size_ = payload->size();
    return {};
  }

  // Asks the instance for it. ENOENT, ECONNREFUSED, ECONNRESET, EPIPE, ESHUTDOWN: there is none that takes it.
  Result<void> Ask(const InstancePlace& place) {
    UniqueFd socket = USL_TRY(place.Connect());
    const int slave = pty_.slave.get();
    const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    int fds[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, payload_.get()};
    if (slave >= 0) fds[0] = fds[1] = slave;
    if (slave >= 0 && isatty(STDERR_FILENO)) fds[2] = slave;
    if (options_.detached) fds[0] = fds[1] = fds[2] = null.get();
    USL_TRY_VOID(protocol::SendControl(socket.get(), {MessageType::kLaunch, 1, 0, payload_size_}, fds));
    const auto received = protocol::ReceiveControl(socket.get());
    if (!received) return Fail(received.error());
    if (received->message.type != MessageType::kAccepted) return Fail(ESHUTDOWN);
    socket_ = std::move(socket);
    return {};
  }

  // After Ask: until the session has ended.
  int Run() {
    if (options_.detached) return 0;
    pty_.slave.Reset();
    if (!pty_.master) {
      // The session has them now: a pipe's other end shall see the session close it.
      const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
      dup2(null.get(), STDIN_FILENO);
      dup2(null.get(), STDOUT_FILENO);
    }
    SessionFront front(
        std::move(pty_.master),
        {.forward = [this](int signal) { Forward(signal); }, .child = {}, .give_up = [this] { Forward(SIGKILL); }});
    front.Begin();
    std::optional<int> status;
    while (!status) {
      SessionFront::PollSet polled = front.ToPoll();
      pollfd fds[1 + SessionFront::kPolled] = {{socket_.get(), POLLIN, 0}};
      std::ranges::copy(polled, fds + 1);
      if (poll(fds, std::size(fds), -1) < 0) continue;
      std::copy_n(fds + 1, polled.size(), polled.begin());
      front.Handle(polled);
      if (fds[0].revents) status = OnMessage();
    }
    front.End();
    if (!failure_.empty()) return Refuse(failure_);
    return *status;
  }

 private:
  std::optional<int> OnMessage() {
    const auto received = protocol::ReceiveControl(socket_.get());
    if (!received) {
      failure_ = "the instance ended unexpectedly: its supervisor is gone";
      return kOwnFailure;
    }
    if (received->message.type == MessageType::kExited) return ExitStatusOf(received->message.value);
    if (received->message.type != MessageType::kFailed) return std::nullopt;
    const auto text = protocol::ReadPayload(*received);
    failure_ = text ? std::string(reinterpret_cast<const char*>(text->data()), text->size()) : "the instance failed";
    return kOwnFailure;
  }

  void Forward(int signal) {
    // A supervisor that is gone is seen by the next poll.
    (void)Send(socket_.get(), {MessageType::kSignal, 1, signal, 0});
  }

  const JoinOptions& options_;
  PtyPair pty_;
  UniqueFd payload_;
  uint64_t payload_size_ = 0;
  UniqueFd socket_;
  std::string failure_;
};

// Calls `use` with the place of the running instance, which is started as `spec` says where none takes `use`. 0, or 125
// after a line on standard error.
int WithInstance(const std::string& key, const InstanceSpec* spec,
                 const std::function<Result<void>(const InstancePlace&)>& use) {
  std::string why;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    auto place = InstancePlace::Open(key, spec != nullptr, &why);
    if (!place) return Refuse(why);
    // A session that needs an instance of its own does not go into another one, whose options are others.
    const auto try_running = [&]() -> Result<void> {
      if (!spec || !spec->must_start) return use(*place);
      const auto running = place->Connect();
      return Fail(running ? Error(EEXIST) : running.error());
    };
    auto used = try_running();
    if (used) return 0;
    if (used.error() == Error(EEXIST)) return Refuse(format("the name \"{}\" is taken; give another by --name", key));
    if (MeansAbsent(used.error()) && !spec) return Refuse(format("\"{}\" is not running", key));
    if (MeansAbsent(used.error())) {
      // One at a time from here on: somebody may be starting it, or it may just be ending.
      const auto start = place->LockStart();
      if (!start) return Refuse(format("cannot lock \"{}\": {}", key, ErrorText(start.error().code())));
      used = try_running();
      if (used) return 0;
      if (used.error() == Error(EEXIST)) return Refuse(format("the name \"{}\" is taken; give another by --name", key));
      if (MeansAbsent(used.error())) {
        if (const auto life = place->LockLife(); !life) {
          return Refuse(format("cannot lock \"{}\": {}", key, ErrorText(life.error().code())));
        }
        if (place->IsRemoved()) continue;
        if (!StartInstance(*spec, *place)) return kOwnFailure;
        used = use(*place);
        if (used) return 0;
        if (MeansAbsent(used.error())) return Refuse(format("\"{}\" ended right after its start", key));
      }
    }
    return Refuse(format("cannot reach \"{}\": {}", key, ErrorText(used.error().code())));
  }
  return Refuse(format("\"{}\" ended each time when it was to be used", key));
}

}  // namespace

int RunSession(const std::string& key, const InstanceSpec* spec, const JoinOptions& options) {
  FillStandardDescriptors();
  JoinOptions joined = options;
  if (spec) {
    const std::vector<std::string>& common = spec->options.environment;
    joined.environment.insert(joined.environment.begin(), common.begin(), common.end());
  }
  SessionClient client(joined);
  const std::string why = client.Prepare(spec && spec->options.IsHostView());
  if (!why.empty()) return Refuse(why);
  const int status = WithInstance(key, spec, [&](const InstancePlace& place) { return client.Ask(place); });
  if (status != 0) return status;
  BlockSupervisedSignals();
  return client.Run();
}

int EnsureStarted(const InstanceSpec& spec) {
  const bool keep = spec.idle_milliseconds && *spec.idle_milliseconds < 0;
  return WithInstance(spec.key, &spec, [keep](const InstancePlace& place) -> Result<void> {
    const UniqueFd socket = USL_TRY(place.Connect());
    LimitWaiting(socket.get());
    if (keep) {
      // Also one that was started with less.
      USL_TRY_VOID(Send(socket.get(), {MessageType::kKeep, 0, 0, 0}));
      const auto answer = USL_TRY(protocol::ReceiveControl(socket.get()));
      return answer.message.type == MessageType::kAccepted ? Result<void>() : Fail(ESHUTDOWN);
    }
    USL_TRY_VOID(Send(socket.get(), {MessageType::kAskState, 0, 0, 0}));
    const auto received = USL_TRY(protocol::ReceiveControl(socket.get()));
    const auto text = USL_TRY(protocol::ReadPayload(received));
    const auto state = USL_TRY(FromJson({reinterpret_cast<const char*>(text.data()), text.size()}));
    if (state.stopping) return Fail(ESHUTDOWN);
    return {};
  });
}

Result<void> StopInstance(const std::string& key, int grace_milliseconds) {
  std::string why;
  const auto place = USL_TRY(InstancePlace::Open(key, false, &why));
  const auto socket = place.Connect();
  if (!socket) return Fail(MeansAbsent(socket.error()) ? Error(ENOENT) : socket.error());
  USL_TRY_VOID(Send(socket->get(), {MessageType::kShutdown, 0, grace_milliseconds, 0}));
  AwaitEnd(socket->get());
  return {};
}

bool EndIdleInstance(const std::string& key) {
  std::string why;
  const auto place = InstancePlace::Open(key, false, &why);
  if (!place) return false;
  const auto socket = place->Connect();
  if (!socket) return false;
  LimitWaiting(socket->get());
  if (!Send(socket->get(), {MessageType::kEndIfIdle, 0, kGraceMilliseconds, 0})) return false;
  const auto answer = protocol::ReceiveControl(socket->get());
  if (!answer || answer->message.type != MessageType::kAccepted) return false;
  AwaitEnd(socket->get());
  return true;
}

Result<InstanceState> AskState(const std::string& key) {
  std::string why;
  const auto place = USL_TRY(InstancePlace::Open(key, false, &why));
  const auto socket = place.Connect();
  if (!socket) return Fail(MeansAbsent(socket.error()) ? Error(ENOENT) : socket.error());
  LimitWaiting(socket->get());
  USL_TRY_VOID(Send(socket->get(), {MessageType::kAskState, 0, 0, 0}));
  const auto received = protocol::ReceiveControl(socket->get());
  if (!received) return Fail(received.error().code() == EAGAIN ? Error(ETIMEDOUT) : received.error());
  if (received->message.type != MessageType::kState) return Fail(EBADMSG);
  const auto text = USL_TRY(protocol::ReadPayload(*received));
  return FromJson({reinterpret_cast<const char*>(text.data()), text.size()});
}

std::vector<InstanceState> RunningInstances() {
  std::vector<InstanceState> running;
  for (const std::string& key : InstancePlace::Keys()) {
    if (auto state = AskState(key)) running.push_back(std::move(*state));
  }
  std::ranges::sort(running, {}, &InstanceState::name);
  return running;
}

}  // namespace usl::manager
