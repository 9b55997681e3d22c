// A cached /proc/TID/mem: the cheap way to read guest memory.
//
// It belongs to the address space (mm) that the task had when it was opened, not to the task: after vfork or CLONE_VM
// it is the parent's memory too, and it stays valid, showing the OLD memory, after an exec. Whoever owns tasks keeps
// one for each mm, bounds their number (RLIMIT_NOFILE) and drops it at each accepted exec.
#pragma once

#include <sys/types.h>

#include <cstddef>

#include "base/result.h"
#include "base/unique_fd.h"
#include "platform/guest_address.h"

namespace usl::platform {

class MemoryFile {
 public:
  // EACCES/EPERM when ptrace access is denied (Yama, another user, a non-dumpable task); ENOENT/ESRCH: no such task.
  static Result<MemoryFile> Open(pid_t tid);

  // Reads up to `size` bytes and returns how many could be read; EFAULT if none. Short at the first unmapped page.
  // Like ptrace it also reads memory mapped without PROT_READ; GuestMemory hides that difference.
  Result<size_t> ReadSome(GuestAddress from, void* to, size_t size) const;
  // Patches code of a traced task: writes through read-only private mappings. Never for results of system calls, which
  // must fail with EFAULT there. EFAULT; EIO where the host forbids forced writes.
  Result<void> ForceWrite(GuestAddress to, const void* from, size_t size) const;

 private:
  explicit MemoryFile(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace usl::platform
