// Binds the table's symbolic handlers to their functions.
#pragma once

#include <vector>

#include "kernel/syscall_context.h"

namespace usl::syscalls {

// Indexed by system call number, abi::kSyscallLimit long; null where the filter never notifies. Linking fails if the
// table names a handler that nobody defines.
std::vector<kernel::Handler> MakeHandlers();

}  // namespace usl::syscalls
