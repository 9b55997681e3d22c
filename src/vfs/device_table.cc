#include "vfs/device_table.h"

namespace usl::vfs {

void DeviceTable::Register(uint32_t type, dev_t device, OpenFunction open) {
  if (open) {
    drivers_[{type, device}] = std::move(open);
  } else {
    drivers_.erase({type, device});
  }
}

Result<UniqueFd> DeviceTable::Open(uint32_t type, dev_t device, const Path& path, int flags,
                                   const Context& context) const {
  auto found = drivers_.find({type, device});
  if (found == drivers_.end()) return Fail(ENXIO);
  // A copy: the driver may register or remove others (ptmx makes pts nodes).
  OpenFunction open = found->second;
  return open(path, flags, context);
}

}  // namespace usl::vfs
