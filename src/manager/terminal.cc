#include "manager/terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

namespace usl::manager {
namespace {

constexpr size_t kChunk = 64 * 1024;
constexpr char kEndOfFile = 4;  // VEOF of a fresh pty: Ctrl-D

// Writes all of it, waiting where the output is a non-blocking pipe or terminal. False when the reader is gone.
bool WriteAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t written = write(fd, data, size);
    if (written >= 0) {
      data += written;
      size -= static_cast<size_t>(written);
    } else if (errno == EAGAIN) {
      pollfd out{fd, POLLOUT, 0};
      poll(&out, 1, -1);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

}  // namespace

Result<PtyPair> OpenPty(int like) {
  PtyPair pair;
  pair.master.Reset(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  if (!pair.master) return FailErrno();
  // Not ptsname(3) and grantpt(3): the name may lie in another mount than /dev/pts, and devpts grants by itself.
  int locked = 0;
  if (ioctl(pair.master.get(), TIOCSPTLCK, &locked) < 0) return FailErrno();
  pair.slave.Reset(ioctl(pair.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!pair.slave) return FailErrno();
  termios modes;
  winsize size;
  if (tcgetattr(like, &modes) == 0) tcsetattr(pair.slave.get(), TCSANOW, &modes);
  if (ioctl(like, TIOCGWINSZ, &size) == 0) ioctl(pair.master.get(), TIOCSWINSZ, &size);
  return pair;
}

RawTerminal::RawTerminal(int fd) : fd_(fd) {
  termios modes;
  if (tcgetattr(fd, &modes) < 0) return;
  saved_ = modes;
  Apply();
}

RawTerminal::~RawTerminal() {
  Restore();
}

void RawTerminal::Apply() {
  if (!saved_) return;
  termios raw = *saved_;
  cfmakeraw(&raw);
  tcsetattr(fd_, TCSADRAIN, &raw);
}

void RawTerminal::Restore() {
  if (saved_) tcsetattr(fd_, TCSADRAIN, &*saved_);
  saved_.reset();
}

PtyRelay::PtyRelay(UniqueFd master, int input, int output)
    : master_(std::move(master)), input_(input), output_(output), input_is_terminal_(isatty(input) != 0) {}

short PtyRelay::MasterEvents() const {
  if (!master_) return 0;
  return static_cast<short>(POLLIN | (to_guest_.empty() ? 0 : POLLOUT));
}

short PtyRelay::InputEvents() const {
  return !input_ended_ && master_ && to_guest_.empty() ? POLLIN : 0;
}

bool PtyRelay::OnMaster(short events) {
  if ((events & POLLOUT) && !to_guest_.empty()) {
    const ssize_t written = write(master_.get(), to_guest_.data(), to_guest_.size());
    if (written > 0) to_guest_.erase(0, static_cast<size_t>(written));
  }
  if (!(events & (POLLIN | POLLHUP | POLLERR))) return true;
  char buffer[kChunk];
  const ssize_t size = read(master_.get(), buffer, sizeof buffer);
  if (size > 0) {
    if (WriteAll(output_, buffer, static_cast<size_t>(size))) return true;
    HangUp();
    return false;
  }
  // EIO: the last slave is closed. It may be opened again, by a session that is still starting.
  return size < 0 && (errno == EAGAIN || errno == EINTR);
}

bool PtyRelay::OnInput(short events) {
  if (!(events & (POLLIN | POLLHUP | POLLERR))) return true;
  char buffer[kChunk];
  const ssize_t size = read(input_, buffer, sizeof buffer);
  if (size < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  if (size <= 0) {
    input_ended_ = true;
    if (input_is_terminal_) return false;
    // A file or pipe ended: the guest's reader sees the end as if Ctrl-D was typed.
    to_guest_.push_back(kEndOfFile);
    return true;
  }
  to_guest_.append(buffer, static_cast<size_t>(size));
  return OnMaster(POLLOUT);
}

bool PtyRelay::IsHungUp() const {
  pollfd input{input_, 0, 0};
  return input_is_terminal_ && poll(&input, 1, 0) > 0 && (input.revents & POLLHUP);
}

void PtyRelay::Drain() {
  char buffer[kChunk];
  ssize_t size;
  while (master_ && (size = read(master_.get(), buffer, sizeof buffer)) > 0) {
    if (!WriteAll(output_, buffer, static_cast<size_t>(size))) return;
  }
}

void PtyRelay::CopyWindowSize() {
  winsize size;
  if (ioctl(input_, TIOCGWINSZ, &size) == 0) ioctl(master_.get(), TIOCSWINSZ, &size);
}

}  // namespace usl::manager
