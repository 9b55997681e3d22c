#include "interop/terminal_relay.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace usl::interop {
namespace {

bool WriteAll(int fd, const char* data, ssize_t size) {
  while (size > 0) {
    const ssize_t written = write(fd, data, static_cast<size_t>(size));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    data += written;
    size -= written;
  }
  return true;
}

bool Copy(int from, int to) {
  char buffer[16384];
  const ssize_t size = read(from, buffer, sizeof buffer);
  if (size < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  return size > 0 && WriteAll(to, buffer, size);
}

}  // namespace

bool TerminalRelay::Open() {
  master_.Reset(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  char name[64];
  if (!master_ || unlockpt(master_.get()) < 0 || ptsname_r(master_.get(), name, sizeof name) != 0) return false;
  slave_.Reset(open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!slave_ || tcgetattr(STDIN_FILENO, &settings_) < 0) return false;
  if (tcsetattr(slave_.get(), TCSANOW, &settings_) < 0) return false;
  CopySize();
  termios raw = settings_;
  cfmakeraw(&raw);
  raw_ = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
  return raw_;
}

void TerminalRelay::CopySize() const {
  winsize size;
  if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0) ioctl(master_.get(), TIOCSWINSZ, &size);
}

bool TerminalRelay::FromCaller() const {
  return Copy(STDIN_FILENO, master_.get());
}

bool TerminalRelay::FromProgram() const {
  return Copy(master_.get(), STDOUT_FILENO);
}

void TerminalRelay::Drain() const {
  pollfd ready{master_.get(), POLLIN, 0};
  while (poll(&ready, 1, 0) > 0 && (ready.revents & POLLIN) && FromProgram()) {
  }
}

void TerminalRelay::Restore() {
  if (raw_) tcsetattr(STDIN_FILENO, TCSADRAIN, &settings_);
  raw_ = false;
}

}  // namespace usl::interop
