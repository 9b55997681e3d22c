#include "manager/supervisor.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>

#include "base/format.h"
#include "manager/host_paths.h"
#include "platform/supervisor_tree.h"
#include "protocol/control_socket.h"

namespace usl::manager {
namespace {

using protocol::MessageType;

// Passed on to the session; SIGTSTP is translated, SIGWINCH and SIGCHLD are for the supervisor itself.
constexpr int kForwarded[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};

sigset_t SupervisedSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : kForwarded) {
    // What our parent ignores (nohup) stays ignored.
    struct sigaction action;
    if (sigaction(signal, nullptr, &action) == 0 && action.sa_handler != SIG_IGN) sigaddset(&set, signal);
  }
  for (const int signal : {SIGTSTP, SIGWINCH, SIGCHLD, SIGCONT}) sigaddset(&set, signal);
  return set;
}

// So many requests to end are passed on; with the last of them everything is killed.
constexpr int kPatience = 3;

class Supervisor {
 public:
  explicit Supervisor(SupervisorInputs inputs) : inputs_(std::move(inputs)) {
    const sigset_t set = SupervisedSignals();
    signals_.Reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (inputs_.master) relay_.emplace(std::move(inputs_.master), STDIN_FILENO, STDOUT_FILENO);
  }

  int Run() {
    while (!kernel_status_) Step();
    // The guests are gone, so what they wrote is in the pty.
    if (relay_) relay_->Drain();
    raw_.reset();
    const size_t left = platform::KillDescendants();
    return Conclude(left);
  }

 private:
  void Step() {
    enum { kSignals, kControl, kStatus, kMaster, kInput, kCount };
    pollfd fds[kCount] = {{signals_.get(), POLLIN, 0},
                          {inputs_.control.get(), POLLIN, 0},
                          {inputs_.status.get(), POLLIN, 0},
                          {-1, 0, 0},
                          {-1, 0, 0}};
    if (relay_ && raw_) {
      fds[kMaster] = {master_ended_ ? -1 : relay_->master(), relay_->MasterEvents(), 0};
      fds[kInput] = {relay_->InputEvents() ? relay_->input() : -1, relay_->InputEvents(), 0};
    }
    if (poll(fds, kCount, -1) < 0) return;
    if (fds[kStatus].revents) OnStatus();
    if (fds[kMaster].revents && !relay_->OnMaster(fds[kMaster].revents)) master_ended_ = true;
    if (fds[kInput].revents && !relay_->OnInput(fds[kInput].revents)) relay_->HangUp();
    if (fds[kControl].revents) OnControl();
    if (fds[kSignals].revents) OnSignals();
  }

  void OnStatus() {
    char status = 0;
    if (read(inputs_.status.get(), &status, 1) <= 0) {
      inputs_.status.Reset();
      return;
    }
    if (status == kStatusReported) told_ = true;
    if (status == kStatusStarted) {
      if (relay_) raw_.emplace(STDIN_FILENO);
      started_ = true;
    }
  }

  void OnControl() {
    const auto received = protocol::ReceiveControl(inputs_.control.get());
    if (received && received->message.type == MessageType::kExited && received->message.session == kMainSession) {
      session_status_ = received->message.value;
      (void)protocol::SendControl(inputs_.control.get(), {MessageType::kShutdown, 0, inputs_.grace_milliseconds, 0});
      return;
    }
    if (!received && received.error().code() == EAGAIN) return;
    // Init is gone (the kernel ends with it), or talks nonsense: without it nothing can be told to the guests.
    inputs_.control.Reset();
    if (received || received.error().code() != ECONNRESET) inputs_.lifeline.Reset();
  }

  void OnSignals() {
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof info) == sizeof info) {
      const int signal = static_cast<int>(info.ssi_signo);
      switch (signal) {
        case SIGCHLD: ReapKernel(); break;
        case SIGWINCH:
          if (relay_) relay_->CopyWindowSize();
          break;
        case SIGTSTP: Suspend(); break;
        case SIGCONT:
          if (raw_) raw_->Apply();
          if (relay_) relay_->CopyWindowSize();
          break;
        case SIGHUP:
          // The signal alone would leave the session a terminal that nobody reads; a shell that is about to wait for
          // input may even take the signal and go on waiting.
          if (started_ && relay_ && relay_->IsHungUp()) {
            relay_->HangUp();
          } else {
            Forward(SIGHUP);
          }
          break;
        default:
          Forward(signal);
          // Whoever insists shall not be kept waiting by a session that does not end.
          if (signal == SIGTERM && ++requests_to_end_ >= kPatience) inputs_.lifeline.Reset();
      }
    }
  }

  // Ctrl-Z in the user's shell, when the session has no pty of its own: stops the session's processes and this one.
  void Suspend() {
    Forward(SIGSTOP);
    kill(getpid(), SIGSTOP);
    Forward(SIGCONT);
  }

  void Forward(int signal) {
    if (inputs_.control && started_) {
      (void)protocol::SendControl(inputs_.control.get(), {MessageType::kSignal, kMainSession, signal, 0});
    } else if (signal != SIGSTOP && signal != SIGCONT) {  // nothing runs yet
      inputs_.lifeline.Reset();
    }
  }

  void ReapKernel() {
    int status = 0;
    // By its number: orphans of the guest that come here must not be waited for before the kernel has let go of them.
    if (waitpid(inputs_.kernel, &status, WNOHANG) == inputs_.kernel) {
      kernel_status_ = status;
      while (inputs_.control && !session_status_ && PollControl()) OnControl();
      while (inputs_.status && PollStatus()) OnStatus();
    }
  }

  bool PollControl() const {
    pollfd control{inputs_.control.get(), POLLIN, 0};
    return poll(&control, 1, 0) > 0;
  }
  bool PollStatus() const {
    pollfd status{inputs_.status.get(), POLLIN, 0};
    return poll(&status, 1, 0) > 0;
  }

  int Conclude(size_t killed) const {
    const bool kernel_failed = !WIFEXITED(*kernel_status_) || WEXITSTATUS(*kernel_status_) != 0;
    // What a session without a kernel process came to (its calls fail with ENOSYS) says nothing about the command, and
    // init may report it before the kernel's own end is seen here.
    if (WIFEXITED(*kernel_status_) && WEXITSTATUS(*kernel_status_) == kHalted) return 0;
    if (session_status_ && !kernel_failed) {
      return WIFSIGNALED(*session_status_) ? 128 + WTERMSIG(*session_status_) : WEXITSTATUS(*session_status_);
    }
    if (told_) return kOwnFailure;
    std::string what = "the guest's init ended unexpectedly";
    if (WIFSIGNALED(*kernel_status_)) {
      what = format("the kernel process was killed by signal {} ({})", WTERMSIG(*kernel_status_),
                    sigabbrev_np(WTERMSIG(*kernel_status_)));
    } else if (kernel_failed) {
      what = format("the kernel process ended with status {}", WEXITSTATUS(*kernel_status_));
    }
    fprintf(stderr, "usl: %s; %zu guest processes were killed\n", what.c_str(), killed);
    return kOwnFailure;
  }

  SupervisorInputs inputs_;
  UniqueFd signals_;
  std::optional<PtyRelay> relay_;
  std::optional<RawTerminal> raw_;
  std::optional<int> session_status_;
  std::optional<int> kernel_status_;
  int requests_to_end_ = 0;
  bool master_ended_ = false;
  bool started_ = false;
  bool told_ = false;
};

}  // namespace

void BlockSupervisedSignals() {
  const sigset_t set = SupervisedSignals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

void UnblockSignals() {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

int Supervise(SupervisorInputs inputs) {
  return Supervisor(std::move(inputs)).Run();
}

}  // namespace usl::manager
