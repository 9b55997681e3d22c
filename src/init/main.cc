// The guest's init: process 1 of an instance. It adopts and reaps orphans, starts sessions that the supervisor asks for
// over the control socket, tells how they ended, and brings everything down at the end.
//
// It is a pico process like any other: the calls below are served by the USL kernel, and nothing here is trusted.
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <map>
#include <string>
#include <string_view>

#include "init/services.h"
#include "init/session.h"
#include "protocol/control.h"
#include "protocol/control_socket.h"

namespace usl::init {
namespace {

using protocol::ControlMessage;
using protocol::MessageType;

int64_t NowMilliseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

void Complain(std::string_view text) {
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
}

class Init {
 public:
  Init(int control, bool owns_all) : control_(control), owns_all_(owns_all) {}

  // Until everything has ended after a shutdown.
  int Run() {
    for (;;) {
      const bool alone = !ReapChildren();
      services_.Advance(NowMilliseconds());
      if (shutting_down_) {
        if (alone || !owns_all_) return 0;
        EndAll();
      }
      TellWhetherIdle();
      pollfd control{control_.get(), POLLIN, 0};
      const int timeout = Timeout();
      const timespec limit{timeout / 1000, timeout % 1000 * 1'000'000L};
      // SIGCHLD is blocked everywhere else, so that none is missed between reaping and waiting.
      sigset_t open_mask;
      sigemptyset(&open_mask);
      const int ready = ppoll(&control, control_ ? 1 : 0, timeout < 0 ? nullptr : &limit, &open_mask);
      if (ready > 0) HandleControl();
    }
  }

 private:
  // Returns whether children are left.
  bool ReapChildren() {
    for (;;) {
      int status = 0;
      const pid_t pid = waitpid(-1, &status, WNOHANG);
      if (pid <= 0) return has_children_ = pid == 0 || errno != ECHILD;
      if (services_.OnExit(pid, status, NowMilliseconds())) continue;
      const auto session = sessions_.find(pid);
      if (session == sessions_.end()) continue;  // an orphan
      Report(session->second, status);
      sessions_.erase(session);
    }
  }

  void Report(uint32_t session, int status) {
    if (control_) (void)protocol::SendControl(control_.get(), {MessageType::kExited, session, status & 0xFFFF, 0});
  }

  // Only where an instance is asked for by many: its life depends on it.
  void TellWhetherIdle() {
    const bool idle = !has_children_ && !services_.busy();
    if (!booted_ || !control_ || idle == told_idle_) return;
    told_idle_ = idle;
    (void)protocol::SendControl(control_.get(), {MessageType::kIdle, 0, idle, 0});
  }

  void HandleControl() {
    auto received = protocol::ReceiveControl(control_.get());
    if (!received) {
      if (received.error().code() == EAGAIN) return;
      // The supervisor is gone, or talks nonsense: nobody is left to run for.
      control_.Reset();
      BeginShutdown(0);
      return;
    }
    const ControlMessage& message = received->message;
    switch (message.type) {
      case MessageType::kLaunch: Launch(*received); break;
      case MessageType::kSignal: Signal(message.session, message.value); break;
      case MessageType::kShutdown: BeginShutdown(message.value); break;
      case MessageType::kBoot: Boot(*received); break;
      default: break;
    }
  }

  void Launch(const protocol::ReceivedMessage& received) {
    const uint32_t id = received.message.session;
    const auto payload = protocol::ReadPayload(received);
    if (!payload) return Report(id, kSetupFailed << 8);
    auto request = protocol::DecodeLaunch(*payload);
    if (!request || shutting_down_) return Report(id, kSetupFailed << 8);
    if (request->flags & protocol::kLaunchFindUser) {
      if (request->user.empty()) request->user = default_user_;
      request->umask = umask_;
    }
    const auto pid = StartSession(*request, std::span(received.fds).first<3>());
    if (!pid) {
      Complain("usl: init: cannot fork for a session\n");
      return Report(id, kSetupFailed << 8);
    }
    has_children_ = true;
    sessions_[*pid] = id;
  }

  void Boot(const protocol::ReceivedMessage& received) {
    const auto payload = protocol::ReadPayload(received);
    auto plan = payload ? protocol::DecodeBootPlan(*payload) : Fail(payload.error());
    if (!plan || booted_) {
      Complain("usl: init: a boot plan that cannot be understood\n");
      return;
    }
    booted_ = true;
    default_user_ = plan->default_user;
    umask_ = plan->umask;
    services_.Begin(std::move(*plan));
  }

  void Signal(uint32_t session, int signal) {
    for (const auto& [pid, id] : sessions_) {
      // The group exists once the child has called setsid; until then it is the process alone.
      if (id == session && kill(-pid, signal) < 0) kill(pid, signal);
    }
  }

  void BeginShutdown(int grace) {
    const int64_t kill_at = NowMilliseconds() + grace;
    if (!shutting_down_ || kill_at < kill_at_) kill_at_ = kill_at;
    if (!shutting_down_ && grace > 0) {
      // Shells at a prompt ignore SIGTERM.
      for (const auto& [pid, id] : sessions_) Signal(id, SIGHUP);
      services_.BeginStop();
    }
    shutting_down_ = true;
  }

  // First the services, in their order; then whoever is left.
  void EndAll() {
    if (NowMilliseconds() >= kill_at_) return KillAll(SIGKILL);
    if (services_.stopping() || told_to_end_) return;
    told_to_end_ = true;
    KillAll(SIGTERM);
    KillAll(SIGCONT);  // what is stopped shall feel it too
  }

  void KillAll(int signal) {
    if (owns_all_) kill(-1, signal);
  }

  int Timeout() const {
    const int64_t now = NowMilliseconds();
    int64_t wake = services_.WakeTime();
    // After the kill only SIGCHLD is awaited; the interval kills those that were being forked meanwhile.
    if (shutting_down_) wake = std::min(wake, kill_at_ > now ? kill_at_ : now + 10);
    if (wake == kNever) return -1;
    return static_cast<int>(std::clamp<int64_t>(wake - now, 0, 3'600'000));
  }

  UniqueFd control_;
  const bool owns_all_;
  std::map<pid_t, uint32_t> sessions_;
  Services services_;
  std::string default_user_;
  mode_t umask_ = 022;
  bool booted_ = false;
  bool has_children_ = false;
  bool told_idle_ = true;
  bool shutting_down_ = false;
  bool told_to_end_ = false;
  int64_t kill_at_ = 0;
};

void OnChild(int) {}

int Main(bool owns_all) {
  struct sigaction action {};
  action.sa_handler = SIG_IGN;
  for (int signal = 1; signal < NSIG; ++signal) sigaction(signal, &action, nullptr);
  action.sa_handler = OnChild;
  sigaction(SIGCHLD, &action, nullptr);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_SETMASK, &child, nullptr);

  // Natively, so that orphans come here and not to the kernel process.
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  // The socket away from number 0, which stays taken, so that no session's descriptor lands there.
  const int control = fcntl(protocol::kInitControlFd, F_DUPFD_CLOEXEC, 10);
  if (control < 0) {
    Complain("usl: init: no control socket on descriptor 0\n");
    return kSetupFailed;
  }
  if (dup2(STDOUT_FILENO, STDIN_FILENO) < 0) close(STDIN_FILENO);
  return Init(control, owns_all).Run();
}

}  // namespace
}  // namespace usl::init

int main(int argc, char** argv) {
  // Only inside an instance does kill(-1) mean the instance; the unit tests run this program natively, without the
  // word.
  return usl::init::Main(argc == 2 && std::string_view(argv[1]) == usl::protocol::kInitOwnsInstance);
}
