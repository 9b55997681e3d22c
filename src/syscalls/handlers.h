// Declares the handler of every call that the filter may send to the kernel: usl::syscalls::sys_NAME, from the table
// (abi/syscalls.def). Each file of this folder defines those of one family.
#pragma once

#include "base/result.h"
#include "kernel/syscall_context.h"

namespace usl::syscalls {

#define USL_MAY_NOTIFY(nr, name) Result<kernel::Reply> sys_##name(kernel::SyscallContext& context);
#include "abi/syscalls.def"

}  // namespace usl::syscalls
