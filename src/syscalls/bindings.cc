#include "syscalls/bindings.h"

#include "abi/syscall_table.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {

std::vector<kernel::Handler> MakeHandlers() {
  std::vector<kernel::Handler> handlers(abi::kSyscallLimit, nullptr);
#define USL_MAY_NOTIFY(nr, name) handlers[nr] = sys_##name;
#include "abi/syscalls.def"
  return handlers;
}

}  // namespace usl::syscalls
