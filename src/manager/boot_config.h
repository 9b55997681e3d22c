// From the configuration to what the guest's init and the supervisor are told.
#pragma once

#include "manager/guest_tree.h"
#include "manager/session.h"
#include "protocol/boot_plan.h"

namespace usl::manager {

// Names in services.enabled that are none of a script are left out and told on standard error.
protocol::BootPlan MakeBootPlan(const GuestTree& tree, const GuestView& view);

}  // namespace usl::manager
