// The user's side of a session: the terminal in front of its pty, and the signals that are passed on to it. The
// supervisor of a foreground run and the client of a joined instance each have one.
#pragma once

#include <poll.h>

#include <array>
#include <functional>
#include <optional>

#include "base/unique_fd.h"
#include "manager/terminal.h"

namespace usl::manager {

// Blocks the signals that a front waits for; before the first fork. Children undo it with UnblockSignals.
void BlockSupervisedSignals();
void UnblockSignals();

class SessionFront {
 public:
  struct Callbacks {
    std::function<void(int signal)> forward;  // to the session; SIGSTOP and SIGCONT are for stopping along
    std::function<void()> child;              // SIGCHLD
    std::function<void()> give_up;            // SIGTERM came for the third time
  };
  // `master` of the session's pty; empty = the session has the user's own descriptors. Signals are blocked already.
  SessionFront(UniqueFd master, Callbacks callbacks);

  // What to poll, and what poll(2) said of it.
  static constexpr size_t kPolled = 3;
  using PollSet = std::array<pollfd, kPolled>;
  PollSet ToPoll() const;
  void Handle(const PollSet& polled);

  // The session runs: the terminal goes into raw mode, its input to the session.
  void Begin();
  // The session has ended: writes what is left in the pty and restores the terminal.
  void End();

 private:
  void OnSignals();
  void Suspend();

  Callbacks callbacks_;
  UniqueFd signals_;
  std::optional<PtyRelay> relay_;
  std::optional<RawTerminal> raw_;
  int requests_to_end_ = 0;
  bool master_ended_ = false;
};

}  // namespace usl::manager
