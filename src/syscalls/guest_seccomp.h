// A guest's own seccomp filters: installed natively, below USL's in the same chain.
#pragma once

#include "base/result.h"
#include "kernel/syscall_context.h"

namespace usl::syscalls {

// seccomp(2) SECCOMP_SET_MODE_FILTER and its prctl form, after their other checks. Native no_new_privs is always set,
// so it is the virtual one or CAP_SYS_ADMIN that decides: EACCES. The host's own errors (EFAULT, EINVAL) come natively.
Result<kernel::Reply> InstallGuestFilter(kernel::SyscallContext& context);

}  // namespace usl::syscalls
