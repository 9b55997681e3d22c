// The types of file systems that guests can mount(2).
#pragma once

#include "fs/synthetic.h"
#include "kernel/kernel.h"
#include "vfs/context.h"

namespace usl::manager {

// Fills kernel.mount_types(). New tmpfs are made; mqueue shows the instance's message queues; proc, sysfs, devpts and
// devtmpfs exist once in an instance and are those that are mounted in `view`'s tree already. Host directories are not
// among them: which ones a guest sees, the user says.
void AddMountTypes(kernel::Kernel& kernel, const vfs::Context& view, const fs::SyntheticInstance& instance);

}  // namespace usl::manager
