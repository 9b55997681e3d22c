#include "manager/boot_config.h"

namespace usl::manager {

protocol::BootPlan MakeBootPlan(const RunOptions&, const GuestView&) {
  return {};
}

}  // namespace usl::manager
