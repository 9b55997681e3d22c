// Requests on network interfaces.
#include "net/interface_ioctl.h"
#include "syscalls/ioctl.h"

namespace usl::syscalls {

Result<kernel::Reply> NetworkIoctl(kernel::SyscallContext& context, const UniqueFd&, uint32_t) {
  return net::InterfaceIoctl(context);
}

}  // namespace usl::syscalls
