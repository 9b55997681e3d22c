// prctl(2), the options that are virtual: what concerns identity and privilege. Options of the caller's own execution
// are native (platform/filter_rule_lists.cc).
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>

#include "kernel/kernel.h"
#include "syscalls/guest_seccomp.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {
namespace {

using kernel::Reply;
using kernel::SyscallContext;

bool IsCapability(uint64_t number) {
  return number <= static_cast<uint64_t>(cred::kLastCapability);
}

Result<Reply> SetSecureBits(SyscallContext& context) {
  const cred::Credentials& old = context.credentials();
  uint64_t bits = context.Arg(1);
  constexpr uint64_t kLocks = SECURE_ALL_LOCKS;
  // Locked bits may not change, locks may not be opened (cap_task_prctl).
  bool changes_locked = (((old.securebits & kLocks) >> 1) & (old.securebits ^ bits)) != 0;
  bool opens_lock = (old.securebits & kLocks & ~bits) != 0;
  bool unknown = (bits & ~(uint64_t{SECURE_ALL_BITS} | SECURE_ALL_LOCKS)) != 0;
  if (changes_locked || opens_lock || unknown || !old.Has(CAP_SETPCAP)) return Fail(EPERM);
  cred::Credentials next = old;
  next.securebits = static_cast<uint32_t>(bits);
  context.process().keep_capabilities = bits & SECBIT_KEEP_CAPS;
  context.task().SetCredentials(std::move(next));
  return 0;
}

Result<Reply> SetKeepCapabilities(SyscallContext& context) {
  if (context.Arg(1) > 1) return Fail(EINVAL);
  cred::Credentials next = context.credentials();
  if (next.securebits & SECBIT_KEEP_CAPS_LOCKED) return Fail(EPERM);
  if (context.Arg(1)) {
    next.securebits |= SECBIT_KEEP_CAPS;
  } else {
    next.securebits &= ~SECBIT_KEEP_CAPS;
  }
  context.process().keep_capabilities = context.Arg(1) != 0;
  context.task().SetCredentials(std::move(next));
  return 0;
}

Result<Reply> DropBounding(SyscallContext& context) {
  if (!context.credentials().Has(CAP_SETPCAP)) return Fail(EPERM);
  if (!IsCapability(context.Arg(1))) return Fail(EINVAL);
  cred::Credentials next = context.credentials();
  next.bounding &= ~(cred::CapabilitySet{1} << context.Arg(1));
  context.task().SetCredentials(std::move(next));
  return 0;
}

Result<Reply> Ambient(SyscallContext& context) {
  uint64_t operation = context.Arg(1);
  if (context.Arg(3) || context.Arg(4)) return Fail(EINVAL);
  cred::Credentials next = context.credentials();
  if (operation == PR_CAP_AMBIENT_CLEAR_ALL) {
    if (context.Arg(2)) return Fail(EINVAL);
    next.ambient = 0;
    context.task().SetCredentials(std::move(next));
    return 0;
  }
  if (!IsCapability(context.Arg(2))) return Fail(EINVAL);
  cred::CapabilitySet bit = cred::CapabilitySet{1} << context.Arg(2);
  switch (operation) {
    case PR_CAP_AMBIENT_IS_SET: return (next.ambient & bit) ? 1 : 0;
    case PR_CAP_AMBIENT_RAISE:
      if (!(next.permitted & bit) || !(next.inheritable & bit)) return Fail(EPERM);
      if (next.securebits & SECBIT_NO_CAP_AMBIENT_RAISE) return Fail(EPERM);
      next.ambient |= bit;
      break;
    case PR_CAP_AMBIENT_LOWER: next.ambient &= ~bit; break;
    default: return Fail(EINVAL);
  }
  context.task().SetCredentials(std::move(next));
  return 0;
}

Result<Reply> SetNoNewPrivileges(SyscallContext& context) {
  if (context.Arg(1) != 1 || context.Arg(2) || context.Arg(3) || context.Arg(4)) return Fail(EINVAL);
  cred::Credentials next = context.credentials();
  next.no_new_privs = true;
  context.task().SetCredentials(std::move(next));
  return 0;
}

}  // namespace

Result<Reply> sys_prctl(SyscallContext& context) {
  kernel::Process& process = context.process();
  switch (context.UintArg(0)) {
    case PR_GET_DUMPABLE: return process.dumpable ? 1 : 0;
    case PR_SET_DUMPABLE:
      if (context.Arg(1) > 1) return Fail(EINVAL);
      process.dumpable = context.Arg(1) == 1;
      return 0;
    case PR_GET_KEEPCAPS: return (context.credentials().securebits & SECBIT_KEEP_CAPS) ? 1 : 0;
    case PR_SET_KEEPCAPS: return SetKeepCapabilities(context);
    case PR_GET_SECUREBITS: return context.credentials().securebits;
    case PR_SET_SECUREBITS: return SetSecureBits(context);
    case PR_CAPBSET_READ:
      if (!IsCapability(context.Arg(1))) return Fail(EINVAL);
      return static_cast<int64_t>((context.credentials().bounding >> context.Arg(1)) & 1);
    case PR_CAPBSET_DROP: return DropBounding(context);
    case PR_CAP_AMBIENT: return Ambient(context);
    case PR_GET_NO_NEW_PRIVS:
      if (context.Arg(1) || context.Arg(2) || context.Arg(3) || context.Arg(4)) return Fail(EINVAL);
      return context.credentials().no_new_privs ? 1 : 0;
    case PR_SET_NO_NEW_PRIVS: return SetNoNewPrivileges(context);
    case PR_GET_SECCOMP: return process.seccomp_mode;
    case PR_SET_SECCOMP:
      if (context.Arg(1) != SECCOMP_MODE_FILTER) return Fail(EINVAL);
      return InstallGuestFilter(context);
    default: return Fail(EINVAL);
  }
}

}  // namespace usl::syscalls
