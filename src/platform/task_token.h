// Which record of the kernel an unknown task belongs to: the task token, kept in the soft RLIMIT_LOCKS.
//
// Linux ignores that limit, it holds 64 bits, a child inherits it at fork, and it can be set from outside. Guests
// cannot set it, as prlimit and setrlimit are served. So the token that an unknown tid shows is the one of the process
// that forked it, over fork, vfork, CLONE_VM and double forks alike; threads share the one of their process.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "base/result.h"

namespace usl::platform {

// prlimit(2). ESRCH: no such task; EPERM: of another user.
Result<uint64_t> ReadToken(pid_t tid);
// Sets the soft limit only: a lowered hard limit could not rise again. EINVAL: above the hard limit (RLIM_INFINITY
// where nobody set one; `usl doctor` tells).
Result<void> WriteToken(pid_t tid, uint64_t token);
// Whether `tid` is a thread of the process `tgid` (its leader included): tgkill(2) with signal 0.
bool IsThreadOf(pid_t tgid, pid_t tid);

}  // namespace usl::platform
