// The kernel's own view of a guest's open files.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace usl::platform {

// pidfd_open(2) of a thread group leader (host pid). ESRCH.
Result<UniqueFd> OpenPidfd(pid_t pid);
// The same open file description as the guest's fd number `guest_fd` in the process of `pidfd`; close-on-exec. Never
// keep one of a pipe or socket beyond the call: its end-of-file would not come. EBADF; ESRCH: the process is gone.
// pidfd_getfd(2). Where the host forbids that (EPERM under some container profiles), /proc/PID/fd/N is reopened with
// the same access mode: another description of the same file, and ENXIO for sockets.
Result<UniqueFd> DuplicateFd(int pidfd, int guest_fd);
// What the host calls the open file: readlink of /proc/self/fd/N. It follows renames; " (deleted)" may be appended, and
// files without a name give "pipe:[123]", "socket:[123]", "anon_inode:..." or "/memfd:NAME (deleted)". EBADF.
Result<std::string> FdPath(int fd);

// Is the guest's fd closed by an exec (FD_CLOEXEC)? `tid` is a thread of it. False for one that does not exist.
bool ClosesOnExec(pid_t tid, int guest_fd);

}  // namespace usl::platform
