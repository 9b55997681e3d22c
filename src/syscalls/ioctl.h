// Requests of ioctl(2) that other families serve.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "kernel/syscall_context.h"

namespace usl::syscalls {

// Interface requests (SIOCGIF* and the like, 0x8910 to 0x89ff) of the network family: `request` on the duplicate `fd`,
// with the guest's structure at argument 2.
Result<kernel::Reply> NetworkIoctl(kernel::SyscallContext& context, const UniqueFd& fd, uint32_t request);

}  // namespace usl::syscalls
