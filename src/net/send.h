// sendto, sendmsg and sendmmsg: the kernel sends what it copied once, on its own duplicate of the socket.
#pragma once

#include "kernel/syscall_context.h"

namespace usl::net {

// Each serves the call in `context`, whose registers are those of the system call of its name.
Result<kernel::Reply> SendTo(kernel::SyscallContext& context);
Result<kernel::Reply> SendMessage(kernel::SyscallContext& context);
Result<kernel::Reply> SendMessages(kernel::SyscallContext& context);

}  // namespace usl::net
