#include "manager/instance_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <ctime>
#include <list>
#include <vector>

#include "base/format.h"
#include "manager/border_environment.h"
#include "manager/instance_state.h"
#include "manager/supervisor.h"
#include "platform/supervisor_tree.h"
#include "protocol/boot_plan.h"
#include "protocol/control_socket.h"

namespace usl::manager {
namespace {

using protocol::MessageType;
using protocol::ReceivedMessage;

// Who has started the instance gets this long to connect, however short the idle time is.
constexpr int64_t kFirstClientMilliseconds = 10'000;
// What a guest that does not listen gets beyond its grace, twice: once for init, once for the kernel process.
constexpr int64_t kOverdueMilliseconds = 3'000;
constexpr size_t kMaxClients = 4096;
constexpr int64_t kNever = INT64_MAX;

int64_t NowMilliseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

// A connection, and the session that it may have asked for. A detached session outlives its connection.
struct Client {
  UniqueFd socket;
  SessionState session;  // id 0: none
  bool detached = false;
  bool launched = false;                   // init has it
  std::optional<ReceivedMessage> pending;  // until its terminal is known in the guest
  std::vector<int> early_signals;          // that came before it was launched
  bool gone = false;
};

class InstanceServer {
 public:
  explicit InstanceServer(ServerInputs inputs) : in_(std::move(inputs)), started_at_(time(nullptr)) {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGCHLD, SIGTERM}) sigaddset(&set, signal);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    signals_.Reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    // A guest that does not read must not stop the supervisor.
    for (const UniqueFd* fd : {&in_.control, &in_.channel, &in_.output, &in_.status}) {
      fcntl(fd->get(), F_SETFL, fcntl(fd->get(), F_GETFL) | O_NONBLOCK);
    }
  }

  void Run() {
    while (!kernel_status_) Step();
    const size_t killed = platform::KillDescendants();
    while (OnOutput()) {
    }
    Conclude(killed);
  }

 private:
  void Step() {
    enum { kSignals, kControl, kStatus, kChannel, kOutput, kListener, kClients };
    std::vector<pollfd> fds{
        {signals_.get(), POLLIN, 0},   {in_.control.get(), POLLIN, 0},
        {in_.status.get(), POLLIN, 0}, {in_.channel.get(), POLLIN, 0},
        {in_.output.get(), POLLIN, 0}, {clients_.size() < kMaxClients ? listener_.get() : -1, POLLIN, 0}};
    for (const Client& client : clients_) fds.push_back({client.socket.get(), POLLIN, 0});
    const int64_t now = NowMilliseconds();
    const int timeout = wake_at_ == kNever ? -1 : static_cast<int>(std::clamp<int64_t>(wake_at_ - now, 0, 60'000));
    if (poll(fds.data(), fds.size(), timeout) < 0) return;
    if (fds[kOutput].revents) OnOutput();
    if (fds[kChannel].revents) OnChannel();
    if (fds[kStatus].revents) OnStatus();
    if (fds[kControl].revents) OnControl();
    size_t i = kClients;
    for (Client& client : clients_) {
      if (fds[i++].revents) OnClient(client);
    }
    // Behind them: whoever is new was not polled.
    if (fds[kListener].revents) Accept();
    if (fds[kSignals].revents) OnSignals();
    std::erase_if(clients_, [](const Client& client) { return client.gone; });
    Decide();
  }

  // --- the kernel process and init

  // False when nothing was there.
  bool OnOutput() {
    char buffer[16384];
    const ssize_t size = read(in_.output.get(), buffer, sizeof buffer);
    if (size > 0) in_.log->Append({buffer, static_cast<size_t>(size)});
    return size > 0;
  }

  void OnStatus() {
    char status = 0;
    const ssize_t size = read(in_.status.get(), &status, 1);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) return in_.status.Reset();
    if (status == kStatusReported) told_ = true;
    if (status == kStatusStarted) BeginToListen();
  }

  void BeginToListen() {
    auto listener = in_.place->Listen();
    if (!listener) {
      Tell(format("cannot listen on the control socket: {}", strerrordesc_np(listener.error().code())));
      told_ = true;
      in_.lifeline.Reset();
      return;
    }
    listener_ = std::move(*listener);
    idle_since_ = NowMilliseconds();
    const char ready = kStatusStarted;
    [[maybe_unused]] const ssize_t written = write(in_.ready.get(), &ready, 1);  // the starter may be gone
    in_.ready.Reset();
  }

  void OnChannel() {
    const auto received = protocol::ReceiveControl(in_.channel.get());
    if (!received) {
      if (received.error().code() != EAGAIN) in_.channel.Reset();
      return;
    }
    if (received->message.type == MessageType::kBoot) return OnBootPlan(*received);
    if (received->message.type != MessageType::kTerminalAdded) return;
    for (Client& client : clients_) {
      if (client.session.id == received->message.session && client.pending) Launch(client);
    }
  }

  void OnBootPlan(const ReceivedMessage& received) {
    const auto payload = protocol::ReadPayload(received);
    const auto plan = payload ? protocol::DecodeBootPlan(*payload) : Fail(payload.error());
    if (!plan) return Tell("the boot plan cannot be understood");
    idle_milliseconds_ = in_.idle_milliseconds.value_or(plan->idle_milliseconds);
    keep_alive_ = plan->keep_alive;
    const int fds[] = {received.fds[0].get()};
    (void)protocol::SendControl(in_.control.get(), received.message, fds);  // without init the instance ends anyway
  }

  void OnControl() {
    const auto received = protocol::ReceiveControl(in_.control.get());
    if (!received) {
      if (received.error().code() == EAGAIN) return;
      // Init is gone (the kernel ends with it), or talks nonsense: without it nothing can be told to the guests.
      in_.control.Reset();
      if (received.error().code() != ECONNRESET) in_.lifeline.Reset();
      return;
    }
    const protocol::ControlMessage& message = received->message;
    if (message.type == MessageType::kIdle) {
      guests_idle_ = message.value == 1;
      idle_since_ = NowMilliseconds();
    }
    if (message.type != MessageType::kExited) return;
    for (Client& client : clients_) {
      if (client.session.id == message.session && client.launched) ReportExit(client, message.value);
    }
  }

  void ReportExit(Client& client, int wait_status) {
    if (client.socket) (void)protocol::SendControl(client.socket.get(), {MessageType::kExited, 1, wait_status, 0});
    if (client.detached)
      Tell(format("the detached session {} ended with status {}", client.session.id, ExitStatusOf(wait_status)));
    client.gone = true;
    idle_since_ = NowMilliseconds();
  }

  void OnSignals() {
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof info) == sizeof info) {
      if (info.ssi_signo == SIGTERM) BeginStop(in_.grace_milliseconds);
      int status = 0;
      // By its number: orphans of the guest must not be waited for before the kernel has let go of them.
      if (waitpid(in_.kernel, &status, WNOHANG) != in_.kernel) continue;
      kernel_status_ = status;
      while (in_.control && IsReadable(in_.control)) OnControl();
      while (in_.status && IsReadable(in_.status)) OnStatus();
    }
  }

  static bool IsReadable(const UniqueFd& fd) {
    pollfd one{fd.get(), POLLIN, 0};
    return poll(&one, 1, 0) > 0;
  }

  // --- clients

  void Accept() {
    UniqueFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) return;
    ucred peer{};
    socklen_t size = sizeof peer;
    // The directory's mode keeps others out; this is for a directory whose mode somebody has changed.
    if (getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ||
        (peer.uid != geteuid() && peer.uid != 0)) {
      return Tell(format("a connection of user {} was refused", peer.uid));
    }
    clients_.emplace_back().socket = std::move(socket);
  }

  void OnClient(Client& client) {
    auto received = protocol::ReceiveControl(client.socket.get());
    if (!received) {
      const int error = received.error().code();
      if (error == EAGAIN) return;
      if (error != ECONNRESET && error != EPIPE) Tell("a client sent what is no message; its connection was closed");
      return Abandon(client);
    }
    switch (received->message.type) {
      case MessageType::kLaunch: return OnLaunch(client, std::move(*received));
      case MessageType::kSignal: return Signal(client, received->message.value);
      case MessageType::kShutdown:
        (void)protocol::SendControl(client.socket.get(), {MessageType::kAccepted, 0, 0, 0});
        return BeginStop(received->message.value);
      case MessageType::kEndIfIdle:
        if (IsUsed()) {
          (void)protocol::SendControl(client.socket.get(), {MessageType::kIdle, 0, 0, 0});
          return;
        }
        (void)protocol::SendControl(client.socket.get(), {MessageType::kAccepted, 0, 0, 0});
        return BeginStop(received->message.value);
      case MessageType::kKeep:
        if (!stopping_) idle_milliseconds_ = -1;
        (void)protocol::SendControl(client.socket.get(),
                                    {stopping_ ? MessageType::kStopping : MessageType::kAccepted, 0, 0, 0});
        return;
      case MessageType::kAskState: return SendState(client);
      default: return Abandon(client);
    }
  }

  // The client is gone: its session feels what it would feel if its terminal had gone.
  void Abandon(Client& client) {
    client.socket.Reset();
    if (client.detached) return;
    if (client.session.id == 0 || client.pending) {
      client.gone = true;
    } else {
      SendSignal(client, SIGHUP);
      SendSignal(client, SIGCONT);
      client.session.attached = false;
      idle_since_ = NowMilliseconds();
    }
  }

  void OnLaunch(Client& client, ReceivedMessage received) {
    if (stopping_) {
      (void)protocol::SendControl(client.socket.get(), {MessageType::kStopping, 0, 0, 0});
      client.gone = true;
      return;
    }
    const auto payload = protocol::ReadPayload(received);
    auto request = payload ? protocol::DecodeLaunch(*payload) : Fail(payload.error());
    if (!request || client.session.id != 0) {
      Tell("a client sent a request that is none; its connection was closed");
      return Abandon(client);
    }
    if (request->flags & protocol::kLaunchHostDirectory) {
      request->cwd = in_.paths.ToGuest(request->cwd).value_or("");
      if (request->cwd.empty()) request->flags &= ~protocol::kLaunchHostDirectory;
    }
    request->env = TranslateListed(request->env, in_.paths);
    client.detached = (request->flags & protocol::kLaunchDetached) != 0;
    request->flags &= ~protocol::kLaunchDetached;
    const auto bytes = protocol::EncodeLaunch(*request);
    auto memory = bytes ? protocol::MakePayload(*bytes) : Fail(bytes.error());
    if (!memory) {
      Tell(format("cannot pass a session on: {}", strerrordesc_np(memory.error().code())));
      return Abandon(client);
    }
    received.fds.back() = std::move(*memory);
    if (client.detached) {
      for (const int i : {1, 2}) received.fds[i].Reset(fcntl(in_.output_write.get(), F_DUPFD_CLOEXEC, 0));
    }
    client.session = {.id = ++last_session_, .user = request->user, .attached = true, .started = time(nullptr)};
    for (const std::string& word : request->argv)
      client.session.command += (&word == &request->argv[0] ? "" : " ") + word;
    received.message = {MessageType::kLaunch, client.session.id, 0, bytes->size()};
    (void)protocol::SendControl(client.socket.get(), {MessageType::kAccepted, 0, 0, 0});
    client.session.terminal = isatty(received.fds[0].get());
    client.pending = std::move(received);
    // Its terminal has to have a name in the guest before the first program asks for it.
    for (const UniqueFd& fd : std::span(client.pending->fds).first<3>()) {
      if (!isatty(fd.get())) continue;
      const int fds[] = {fd.get()};
      if (protocol::SendControl(in_.channel.get(), {MessageType::kAddTerminal, client.session.id, 0, 0}, fds)) return;
    }
    Launch(client);
  }

  void Launch(Client& client) {
    int fds[protocol::kMaxDescriptors];
    std::ranges::transform(client.pending->fds, fds, [](const UniqueFd& fd) { return fd.get(); });
    const auto sent = protocol::SendControl(in_.control.get(), client.pending->message, fds);
    client.pending.reset();
    client.launched = true;
    if (!sent) {
      Tell(format("cannot reach the guest's init: {}", strerrordesc_np(sent.error().code())));
      return ReportExit(client, kOwnFailure << 8);
    }
    for (const int signal : std::exchange(client.early_signals, {})) SendSignal(client, signal);
  }

  void Signal(Client& client, int signal) {
    if (client.launched) return SendSignal(client, signal);
    if (client.early_signals.size() < 64) client.early_signals.push_back(signal);
  }

  void SendSignal(const Client& client, int signal) {
    if (!client.launched || !in_.control) return;
    (void)protocol::SendControl(in_.control.get(), {MessageType::kSignal, client.session.id, signal, 0});
  }

  void SendState(Client& client) {
    InstanceState state{.key = in_.place->key(),
                        .name = in_.name,
                        .rootfs = in_.rootfs,
                        .supervisor = getpid(),
                        .kernel = in_.kernel,
                        .started = started_at_,
                        .served_calls = in_.counters->served_calls.load(std::memory_order_relaxed),
                        .idle_milliseconds = idle_milliseconds_,
                        .stopping = stopping_};
    for (const Client& other : clients_) {
      if (other.session.id != 0) state.sessions.push_back(other.session);
    }
    const std::string text = ToJson(state);
    if (!protocol::SendPayload(client.socket.get(), {MessageType::kState, 0, 0, 0}, std::as_bytes(std::span(text)))) {
      Abandon(client);
    }
  }

  // --- the end

  void BeginStop(int grace) {
    stopping_ = true;
    const int64_t kill_at = NowMilliseconds() + grace;
    if (kill_at < kill_at_) kill_at_ = kill_at;
    if (grace == 0 || !in_.control ||
        !protocol::SendControl(in_.control.get(), {MessageType::kShutdown, 0, grace, 0})) {
      in_.lifeline.Reset();
    }
  }

  // Is there a session that somebody waits for, or shall it go on without one?
  bool IsUsed() const {
    const bool attached = std::ranges::any_of(clients_, [](const Client& client) { return client.session.attached; });
    return attached || idle_milliseconds_ < 0 || (keep_alive_ && !guests_idle_);
  }

  // What the time asks for: the end of an instance that nobody uses, or of one that does not end.
  void Decide() {
    const int64_t now = NowMilliseconds();
    wake_at_ = kNever;
    if (stopping_) {
      if (now >= kill_at_ + 2 * kOverdueMilliseconds) {
        kill(in_.kernel, SIGKILL);
      } else if (now >= kill_at_ + kOverdueMilliseconds) {
        in_.lifeline.Reset();
        wake_at_ = kill_at_ + 2 * kOverdueMilliseconds;
      } else {
        wake_at_ = kill_at_ + kOverdueMilliseconds;
      }
      return;
    }
    if (IsUsed() || !listener_) return;
    const int64_t idle =
        last_session_ == 0 ? std::max<int64_t>(idle_milliseconds_, kFirstClientMilliseconds) : idle_milliseconds_;
    if (now < idle_since_ + idle) {
      wake_at_ = idle_since_ + idle;
      return;
    }
    BeginStop(in_.grace_milliseconds);
    wake_at_ = kill_at_ + kOverdueMilliseconds;
  }

  // Tells the clients that are left, and the log.
  void Conclude(size_t killed) {
    const bool halted = WIFEXITED(*kernel_status_) && WEXITSTATUS(*kernel_status_) == kHalted;
    const bool wanted = stopping_ || halted;
    const std::string why = ExplainKernelEnd(*kernel_status_, killed);
    if (!wanted && !told_) Tell(why);
    for (Client& client : clients_) {
      if (!client.socket || client.session.id == 0) continue;
      if (wanted) {
        (void)protocol::SendControl(client.socket.get(), {MessageType::kExited, 1, halted ? 0 : SIGKILL, 0});
      } else {
        (void)protocol::SendPayload(client.socket.get(), {MessageType::kFailed, 0, 0, 0},
                                    std::as_bytes(std::span(why)));
      }
    }
  }

  void Tell(const std::string& text) { in_.log->Append("usl: " + text + "\n"); }

  ServerInputs in_;
  const int64_t started_at_;
  UniqueFd signals_;
  UniqueFd listener_;
  std::list<Client> clients_;
  std::optional<int> kernel_status_;
  uint32_t last_session_ = 0;
  int32_t idle_milliseconds_ = 0;
  bool keep_alive_ = false;
  bool guests_idle_ = true;
  bool told_ = false;
  bool stopping_ = false;
  int64_t idle_since_ = 0;
  int64_t kill_at_ = kNever;
  int64_t wake_at_ = kNever;
};

}  // namespace

void ServeInstance(ServerInputs inputs) {
  InstanceServer(std::move(inputs)).Run();
}

}  // namespace usl::manager
