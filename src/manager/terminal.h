// A pty of the instance's own, and the user's terminal in raw mode in front of it.
#pragma once

#include <termios.h>

#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace usl::manager {

// pty(7). The slave goes to the session and must not stay open here, or the master never sees its end.
struct PtyPair {
  UniqueFd master;  // non-blocking
  UniqueFd slave;
};
// With the modes and window size of `like` where that is a terminal. ENOSPC: no ptys left.
Result<PtyPair> OpenPty(int like);

// Puts a terminal into raw mode until it dies or Restore is called; also when the process ends by exit(3). Does nothing
// on what is no terminal. One at a time.
class RawTerminal {
 public:
  explicit RawTerminal(int fd);
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  void Restore();
  // After a stop and continue of this process the shell has set its own modes: sets ours again.
  void Apply();

 private:
  int fd_;
  std::optional<termios> saved_;
};

// Copies between the user's input and output and a pty's master. Everything is non-blocking towards the pty: a guest
// that does not read stops the input, not the relay.
class PtyRelay {
 public:
  PtyRelay(UniqueFd master, int input, int output);

  int master() const { return master_.get(); }
  int input() const { return input_; }
  // What to poll the master and the input for now (POLLIN, POLLOUT; 0 = nothing).
  short MasterEvents() const;
  short InputEvents() const;
  // Called with what poll(2) returned. False: that side has ended; of the input, that the user's terminal is gone.
  bool OnMaster(short events);
  bool OnInput(short events);
  // Whether the input is a terminal that was hung up: its window was closed, its line dropped.
  bool IsHungUp() const;
  // Hangs the pty up: the host's kernel signals its session, and its readers and writers see the end. What the guest
  // wrote and nobody has read is dropped, as there is nobody to show it to.
  void HangUp() { master_.Reset(); }
  // Reads what is left after the last slave was closed.
  void Drain();
  // Takes over the user's window size.
  void CopyWindowSize();

 private:
  UniqueFd master_;
  int input_;
  int output_;
  bool input_is_terminal_;  // a terminal that was hung up is none for isatty(3)
  std::string to_guest_;
  bool input_ended_ = false;
};

}  // namespace usl::manager
