#include "syscalls/guest_seccomp.h"

#include <linux/capability.h>
#include <linux/seccomp.h>

#include "abi/constants.h"
#include "kernel/fast_path.h"
#include "kernel/kernel.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {

using kernel::Reply;
using kernel::SyscallContext;

Result<Reply> InstallGuestFilter(SyscallContext& context) {
  const cred::Credentials& mine = context.credentials();
  if (!mine.no_new_privs && !mine.Has(CAP_SYS_ADMIN)) return Fail(EACCES);
  context.process().seccomp_mode = SECCOMP_MODE_FILTER;
  ++context.process().guest_filters;
  if (kernel::FastPath* fast = context.kernel().fast_path()) fast->SwitchOff(context.process());
  return Reply::ContinueByRegisters();
}

Result<Reply> sys_seccomp(SyscallContext& context) {
  constexpr unsigned kGetActionAvail = 2, kGetNotifSizes = 3;
  switch (context.UintArg(0)) {
    case SECCOMP_SET_MODE_FILTER:
      // One listener for a tree is all that Linux allows, and it is USL's.
      if (context.Arg(1) & SECCOMP_FILTER_FLAG_NEW_LISTENER) return Fail(EBUSY);
      return InstallGuestFilter(context);
    case kGetActionAvail:
    case kGetNotifSizes: return Reply::ContinueByRegisters();
    default: return Fail(EINVAL);  // strict mode cannot follow a filter (seccomp_may_assign_mode)
  }
}

}  // namespace usl::syscalls
