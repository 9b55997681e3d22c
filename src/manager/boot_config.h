// From the guest's configuration to what its init and its supervisor are told.
#pragma once

#include "manager/run_options.h"
#include "manager/session.h"
#include "protocol/boot_plan.h"

namespace usl::manager {

// Reads /etc/usl.conf (TOML: [boot] command, [user] default, [filesystem] umask, [instance] idle_timeout in seconds or
// "never", keep_alive; [services] enabled; [[service]] name, command, user, restart) and, where that says nothing,
// boot.command and user.default of /etc/wsl.conf. What is wrong there is told on standard error and left out.
protocol::BootPlan MakeBootPlan(const RunOptions& options, const GuestView& view);

}  // namespace usl::manager
