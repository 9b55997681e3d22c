#include "platform/fd_access.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/syscall.h>

#include <cstdio>
#include <cstring>

#include "platform/proc_status.h"

namespace usl::platform {
namespace {

// What /proc/PID/fdinfo/N says in octal behind "flags:"; -1 if the fd does not exist.
int OpenFlags(pid_t pid, int fd) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", pid, fd);
  auto flags = ReadStatusField(path, "flags:", 8);
  return flags ? static_cast<int>(*flags) : -1;
}

Result<UniqueFd> Reopen(int pidfd, int guest_fd) {
  char info[64];
  snprintf(info, sizeof info, "/proc/self/fdinfo/%d", pidfd);
  auto pid = ReadStatusField(info, "Pid:", 10);
  if (!pid || static_cast<int64_t>(*pid) <= 0) return Fail(ESRCH);
  int flags = OpenFlags(static_cast<pid_t>(*pid), guest_fd);
  if (flags < 0) return Fail(EBADF);
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/fd/%d", static_cast<pid_t>(*pid), guest_fd);
  // O_NONBLOCK: a FIFO or a device must not hold the kernel up.
  int wanted = (flags & (O_ACCMODE | O_PATH | O_APPEND | O_DIRECTORY)) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  UniqueFd fd(open(path, wanted));
  if (!fd) return FailErrno();
  return fd;
}

}  // namespace

Result<UniqueFd> OpenPidfd(pid_t pid) {
  UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!fd) return FailErrno();
  return fd;
}

Result<UniqueFd> DuplicateFd(int pidfd, int guest_fd) {
  UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd, guest_fd, 0)));
  if (fd) return fd;
  if (errno != EPERM && errno != ENOSYS) return FailErrno();
  return Reopen(pidfd, guest_fd);
}

Result<std::string> FdPath(int fd) {
  char link[32];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  // d_path works within a page: what is longer gives ENAMETOOLONG.
  char path[PATH_MAX];
  ssize_t length = readlink(link, path, sizeof path);
  if (length < 0) return Fail(errno == ENOENT ? EBADF : errno);
  return std::string(path, static_cast<size_t>(length));
}

bool ClosesOnExec(pid_t tid, int guest_fd) {
  const int flags = OpenFlags(tid, guest_fd);
  return flags >= 0 && (flags & O_CLOEXEC);
}

}  // namespace usl::platform
