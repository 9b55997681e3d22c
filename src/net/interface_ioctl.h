// Requests on network interfaces (netdevice(7)): facts are read through a socket of the kernel's own and copied out;
// whatever would change an interface is refused.
#pragma once

#include "kernel/syscall_context.h"

namespace usl::net {

// Serves ioctl(2) with a request from 0x8910 to 0x89ff on a socket; the guest's structure is at argument 2. EPERM for
// requests that change something, ENODEV without a network, EOPNOTSUPP for those of drivers, else the host's errors.
Result<kernel::Reply> InterfaceIoctl(kernel::SyscallContext& context);

}  // namespace usl::net
