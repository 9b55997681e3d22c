// The commands of fcntl(2) that the filter does not let pass.
#include <fcntl.h>

#include "kernel/kernel.h"
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/owner.h"

namespace usl::syscalls {
namespace {

Result<Reply> SetOwnerExtended(SyscallContext& context, const UniqueFd& fd) {
  const auto request = USL_TRY(context.memory().ReadObject<f_owner_ex>(context.AddressArg(2)));
  Owner owner{OwnerKind::kProcess, request.pid};
  switch (static_cast<int>(request.type)) {
    case F_OWNER_TID: owner.kind = OwnerKind::kThread; break;
    case F_OWNER_PID: break;
    case F_OWNER_PGRP: owner.kind = OwnerKind::kGroup; break;
    default: return Fail(EINVAL);
  }
  if (owner.id < 0) return Fail(ESRCH);
  return Done(SetOwner(context, fd, owner));
}

Result<Reply> SetStatusFlags(SyscallContext& context, const UniqueFd& fd) {
  const int flags = context.IntArg(2);
  if (flags & O_ASYNC) {
    USL_TRY_VOID(EnsureOwner(context, fd));
    // The host notes the number of the descriptor for si_fd, so the call should be the guest's own. Should the number
    // be re-bound to a terminal without an owner meanwhile, its foreground group is the owner: nobody outside the
    // guest's domain gets a signal by that where the host confines it, and elsewhere the kernel makes the call.
    if (context.kernel().options().confined_by_host) return Reply::ContinueByRegisters();
  }
  if (fcntl(fd.get(), F_SETFL, flags) < 0) return FailErrno();
  return 0;
}

}  // namespace

Result<Reply> sys_fcntl(SyscallContext& context) {
  const UniqueFd fd = USL_TRY(context.DuplicateFd(context.IntArg(0)));
  USL_TRY_VOID(RefusePathOnly(context, fd));
  switch (context.IntArg(1)) {
    case F_SETOWN: return Done(SetOwner(context, fd, USL_TRY(DecodeOwner(context.IntArg(2)))));
    case F_SETOWN_EX: return SetOwnerExtended(context, fd);
    case F_SETFL: return SetStatusFlags(context, fd);
    // Leases would make the kernel's own opens wait, directory notification would tell of the host: as on file systems
    // that have neither, F_SETLEASE and F_NOTIFY give EINVAL like unknown commands.
    default: return Fail(EINVAL);
  }
}

}  // namespace usl::syscalls
