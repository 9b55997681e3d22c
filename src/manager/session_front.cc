#include "manager/session_front.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>

namespace usl::manager {
namespace {

// Passed on to the session; SIGTSTP is translated, SIGWINCH and SIGCHLD are for this process itself.
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

enum { kSignals, kMaster, kInput };

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

SessionFront::SessionFront(UniqueFd master, Callbacks callbacks) : callbacks_(std::move(callbacks)) {
  const sigset_t set = SupervisedSignals();
  signals_.Reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (master) relay_.emplace(std::move(master), STDIN_FILENO, STDOUT_FILENO);
}

SessionFront::PollSet SessionFront::ToPoll() const {
  PollSet fds{pollfd{signals_.get(), POLLIN, 0}, pollfd{-1, 0, 0}, pollfd{-1, 0, 0}};
  if (relay_ && raw_) {
    fds[kMaster] = {master_ended_ ? -1 : relay_->master(), relay_->MasterEvents(), 0};
    fds[kInput] = {relay_->InputEvents() ? relay_->input() : -1, relay_->InputEvents(), 0};
  }
  return fds;
}

void SessionFront::Handle(const PollSet& polled) {
  if (polled[kMaster].revents && !relay_->OnMaster(polled[kMaster].revents)) master_ended_ = true;
  if (polled[kInput].revents && !relay_->OnInput(polled[kInput].revents)) {
    callbacks_.forward(SIGHUP);  // the terminal vanished
  }
  if (polled[kSignals].revents) OnSignals();
}

void SessionFront::Begin() {
  if (relay_) raw_.emplace(STDIN_FILENO);
}

void SessionFront::End() {
  if (relay_) relay_->Drain();
  raw_.reset();
}

void SessionFront::OnSignals() {
  signalfd_siginfo info;
  while (read(signals_.get(), &info, sizeof info) == sizeof info) {
    const int signal = static_cast<int>(info.ssi_signo);
    switch (signal) {
      case SIGCHLD:
        if (callbacks_.child) callbacks_.child();
        break;
      case SIGWINCH:
        if (relay_) relay_->CopyWindowSize();
        break;
      case SIGTSTP: Suspend(); break;
      case SIGCONT:
        if (raw_) raw_->Apply();
        if (relay_) relay_->CopyWindowSize();
        break;
      default:
        callbacks_.forward(signal);
        // Whoever insists shall not be kept waiting by a session that does not end.
        if (signal == SIGTERM && ++requests_to_end_ >= kPatience) callbacks_.give_up();
    }
  }
}

// Ctrl-Z in the user's shell, when the session has no pty of its own: stops the session's processes and this one.
void SessionFront::Suspend() {
  callbacks_.forward(SIGSTOP);
  kill(getpid(), SIGSTOP);
  callbacks_.forward(SIGCONT);
}

}  // namespace usl::manager
