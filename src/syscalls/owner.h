// Who gets the signals of a descriptor (F_SETOWN, FIOSETOWN). Natively any host process of the same user could be
// named, and F_SETSIG chooses the signal: so the owner is checked, and set by the kernel on its own duplicate.
#pragma once

#include "base/unique_fd.h"
#include "syscalls/arguments.h"

namespace usl::syscalls {

enum class OwnerKind { kThread, kProcess, kGroup };

struct Owner {
  OwnerKind kind = OwnerKind::kProcess;
  pid_t id = 0;  // 0 = nobody
};

// As F_SETOWN and FIOSETOWN write it: negative is a process group. EINVAL for INT_MIN.
Result<Owner> DecodeOwner(int pid);

// ESRCH unless the owner is of this instance. An owner that the caller could not signal is accepted and not set, as
// Linux drops such signals when they are due.
Result<void> SetOwner(const SyscallContext& context, const UniqueFd& fd, const Owner& owner);

// Before O_ASYNC is switched on: a terminal without an owner would signal its own foreground group, which may be the
// host's, so the caller becomes the owner.
Result<void> EnsureOwner(const SyscallContext& context, const UniqueFd& fd);

}  // namespace usl::syscalls
