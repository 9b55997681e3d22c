// A terminal for a program of the host: a pty, as one terminal cannot be the controlling one of two sessions. What
// comes and goes is copied between it and the caller's terminal.
#pragma once

#include <termios.h>

#include "base/unique_fd.h"

namespace usl::interop {

class TerminalRelay {
 public:
  TerminalRelay() = default;
  ~TerminalRelay() { Restore(); }
  TerminalRelay(const TerminalRelay&) = delete;
  TerminalRelay& operator=(const TerminalRelay&) = delete;

  // Makes the pty with the settings and size of the terminal on standard input, which becomes raw. False: there is no
  // pty, errno says why.
  bool Open();
  // The program's end; to be closed once it was passed on.
  UniqueFd& slave() { return slave_; }
  int master() const { return master_.get(); }

  void CopySize() const;
  // One piece each. False: nothing more will come.
  bool FromCaller() const;
  bool FromProgram() const;
  // What the program wrote before it ended.
  void Drain() const;
  // Gives the caller's terminal its settings back.
  void Restore();

 private:
  UniqueFd master_, slave_;
  termios settings_{};
  bool raw_ = false;
};

}  // namespace usl::interop
