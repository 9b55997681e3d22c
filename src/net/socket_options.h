// The options of setsockopt(2) and getsockopt(2) that the filter does not let pass: those that name a peer, a device or
// a group, and all of netlink.
#pragma once

#include "kernel/syscall_context.h"

namespace usl::net {

// Each serves the call in `context`, whose registers are those of the system call of its name.
Result<kernel::Reply> SetOption(kernel::SyscallContext& context);
Result<kernel::Reply> GetOption(kernel::SyscallContext& context);

}  // namespace usl::net
