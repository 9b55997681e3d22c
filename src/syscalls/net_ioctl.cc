// Requests on network interfaces.
#include "syscalls/ioctl.h"

namespace usl::syscalls {

Result<kernel::Reply> NetworkIoctl(kernel::SyscallContext&, const UniqueFd&, uint32_t) {
  // As on a system whose interfaces nobody may look at.
  return Fail(ENODEV);
}

}  // namespace usl::syscalls
