// Finding and killing everything below a process: the supervisor's duty when the USL kernel dies.
#pragma once

#include <sys/types.h>

#include <vector>

#include "base/result.h"

namespace usl::platform {

// PR_SET_CHILD_SUBREAPER: orphans below this process become its children. Keeps the kernel an ancestor of every guest
// (Yama 1) and lets the supervisor find them all. prctl(2).
Result<void> BecomeSubreaper();
// All descendants of `root` (without it), by the parents in /proc/PID/stat, zombies included. A snapshot.
std::vector<pid_t> DescendantsOf(pid_t root);
// SIGKILLs all descendants of the calling process, by pid, and reaps those that become its children, until none is
// left. Ends because guests cannot fork once the listener is closed (served calls fail with ENOSYS). The caller must be
// a subreaper. Returns how many were killed.
size_t KillDescendants();

}  // namespace usl::platform
