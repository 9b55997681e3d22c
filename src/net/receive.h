// recvfrom, recvmsg and recvmmsg. The host receives natively wherever nothing has to be translated; AF_UNIX names and
// credentials, and the addresses of netlink, are the guest's, so those messages the kernel receives and hands over.
#pragma once

#include "kernel/syscall_context.h"

namespace usl::net {

// Each serves the call in `context`, whose registers are those of the system call of its name.
Result<kernel::Reply> ReceiveFrom(kernel::SyscallContext& context);
Result<kernel::Reply> ReceiveMessage(kernel::SyscallContext& context);
Result<kernel::Reply> ReceiveMessages(kernel::SyscallContext& context);

}  // namespace usl::net
