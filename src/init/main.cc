// The guest's init: process 1 of an instance. It adopts and reaps orphans, starts sessions that the supervisor asks for
// over the control socket, tells how they ended, and brings everything down at the end.
//
// It is a pico process like any other: the calls below are served by the USL kernel, and nothing here is trusted.
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <map>
#include <string_view>

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
      if (shutting_down_) {
        if (alone || !owns_all_) return 0;
        if (NowMilliseconds() >= kill_at_) KillAll(SIGKILL);
      }
      pollfd control{control_.get(), POLLIN, 0};
      const int timeout = shutting_down_ ? RemainingMilliseconds() : -1;
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
      if (pid < 0) return errno != ECHILD;
      if (pid == 0) return true;
      const auto session = sessions_.find(pid);
      if (session == sessions_.end()) continue;  // an orphan
      Report(session->second, status);
      sessions_.erase(session);
    }
  }

  void Report(uint32_t session, int status) {
    if (control_) (void)protocol::SendControl(control_.get(), {MessageType::kExited, session, status & 0xFFFF, 0});
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
      case MessageType::kLaunch: Launch(message, received->fds); break;
      case MessageType::kSignal: Signal(message.session, message.value); break;
      case MessageType::kShutdown: BeginShutdown(message.value); break;
      case MessageType::kExited: break;
    }
  }

  void Launch(const ControlMessage& message, std::span<UniqueFd> fds) {
    std::vector<std::byte> payload(message.payload_size);
    const ssize_t size = pread(fds[3].get(), payload.data(), payload.size(), 0);
    if (size != static_cast<ssize_t>(payload.size())) return Report(message.session, kSetupFailed << 8);
    const auto request = protocol::DecodeLaunch(payload);
    if (!request || shutting_down_) return Report(message.session, kSetupFailed << 8);
    const auto pid = StartSession(*request, std::span<const UniqueFd, 3>(fds.first<3>()));
    if (!pid) {
      Complain("usl: init: cannot fork for a session\n");
      return Report(message.session, kSetupFailed << 8);
    }
    sessions_[*pid] = message.session;
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
      KillAll(SIGTERM);
      KillAll(SIGCONT);  // what is stopped shall feel it too
    }
    shutting_down_ = true;
  }

  void KillAll(int signal) {
    if (owns_all_) kill(-1, signal);
  }

  int RemainingMilliseconds() const {
    const int64_t left = kill_at_ - NowMilliseconds();
    // After the kill only SIGCHLD is awaited; the interval kills those that were being forked meanwhile.
    return left > 0 ? static_cast<int>(left) : 10;
  }

  UniqueFd control_;
  const bool owns_all_;
  std::map<pid_t, uint32_t> sessions_;
  bool shutting_down_ = false;
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
