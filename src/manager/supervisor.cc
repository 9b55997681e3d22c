#include "manager/supervisor.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <string>

#include "base/format.h"
#include "manager/session_front.h"
#include "platform/supervisor_tree.h"
#include "protocol/control_socket.h"

namespace usl::manager {
namespace {

using protocol::MessageType;

class Supervisor {
 public:
  explicit Supervisor(SupervisorInputs inputs)
      : inputs_(std::move(inputs)),
        front_(std::move(inputs_.master), {.forward = [this](int signal) { Forward(signal); },
                                           .child = [this] { ReapKernel(); },
                                           .give_up = [this] { inputs_.lifeline.Reset(); }}) {}

  int Run() {
    while (!kernel_status_) Step();
    // The guests are gone, so what they wrote is in the pty.
    front_.End();
    const size_t left = platform::KillDescendants();
    return Conclude(left);
  }

 private:
  void Step() {
    SessionFront::PollSet front = front_.ToPoll();
    enum { kControl, kStatus, kFront };
    pollfd fds[kFront + SessionFront::kPolled] = {{inputs_.control.get(), POLLIN, 0},
                                                  {inputs_.status.get(), POLLIN, 0}};
    std::ranges::copy(front, fds + kFront);
    if (poll(fds, std::size(fds), -1) < 0) return;
    if (fds[kStatus].revents) OnStatus();
    if (fds[kControl].revents) OnControl();
    std::copy_n(fds + kFront, front.size(), front.begin());
    front_.Handle(front);
  }

  void OnStatus() {
    char status = 0;
    if (read(inputs_.status.get(), &status, 1) <= 0) {
      inputs_.status.Reset();
      return;
    }
    if (status == kStatusReported) told_ = true;
    if (status == kStatusStarted) {
      front_.Begin();
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
    if (session_status_ && !kernel_failed) return ExitStatusOf(*session_status_);
    if (!told_) fprintf(stderr, "usl: %s\n", ExplainKernelEnd(*kernel_status_, killed).c_str());
    return kOwnFailure;
  }

  SupervisorInputs inputs_;
  SessionFront front_;
  std::optional<int> session_status_;
  std::optional<int> kernel_status_;
  bool started_ = false;
  bool told_ = false;
};

}  // namespace

int ExitStatusOf(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

std::string ExplainKernelEnd(int kernel_status, size_t killed) {
  std::string what = "the guest's init ended unexpectedly";
  if (WIFSIGNALED(kernel_status)) {
    const int signal = WTERMSIG(kernel_status);
    what = format("the kernel process was killed by signal {} ({})", signal, sigabbrev_np(signal));
  } else if (WEXITSTATUS(kernel_status) != 0) {
    what = format("the kernel process ended with status {}", WEXITSTATUS(kernel_status));
  }
  return format("{}; {} guest processes were killed", what, killed);
}

int Supervise(SupervisorInputs inputs) {
  return Supervisor(std::move(inputs)).Run();
}

}  // namespace usl::manager
