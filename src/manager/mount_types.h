// The types of file systems that guests can mount(2).
#pragma once

#include <memory>

#include "fs/synthetic.h"
#include "kernel/kernel.h"
#include "manager/host_shares.h"
#include "vfs/context.h"

namespace usl::manager {

// Fills kernel.mount_types(). New tmpfs are made; mqueue shows the instance's message queues; proc, sysfs, devpts,
// devtmpfs, cgroup2 and binfmt_misc exist once in an instance and are those that are mounted in `view`'s tree already.
// Of the host's directories (drvfs) guests get what `shares` allows.
void AddMountTypes(kernel::Kernel& kernel, const vfs::Context& view, const fs::SyntheticInstance& instance,
                   std::shared_ptr<const HostShares> shares);

}  // namespace usl::manager
