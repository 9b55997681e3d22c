#include "syscalls/bindings.h"

#include <algorithm>
#include <string_view>

#include "abi/syscall_table.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {
namespace {

// NOT BOUND YET: the network family, whose handlers come with src/syscalls/net*.cc; its calls give ENOSYS until then.
// Whoever adds them empties this list, and with it IsBound.
constexpr std::string_view kUnbound[] = {
    "accept",   "accept4",  "bind",    "connect",  "getpeername", "getsockname", "getsockopt", "listen",
    "recvfrom", "recvmmsg", "recvmsg", "sendmmsg", "sendmsg",     "sendto",      "setsockopt", "socket"};

consteval bool IsBound(std::string_view name) {
  return std::ranges::find(kUnbound, name) == std::end(kUnbound);
}

}  // namespace

std::vector<kernel::Handler> MakeHandlers() {
  std::vector<kernel::Handler> handlers(abi::kSyscallLimit, nullptr);
#define USL_MAY_NOTIFY(nr, name) \
  if constexpr (IsBound(#name)) handlers[nr] = sys_##name;
#include "abi/syscalls.def"
  return handlers;
}

}  // namespace usl::syscalls
