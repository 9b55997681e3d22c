// Copying between the kernel process and a guest's memory. Every copy is made once: check the copy, act on the copy.
//
// Bound to the address space of one task, which must be in a served call (or otherwise known to be alive): a tid names
// another task once this one is dead. While a call is served that window is microseconds; before using the memory of a
// call that was parked, ask Listener::IsValid.
//
// Errors: EFAULT for memory that the guest itself could not access; EPERM when ptrace access is denied; ESRCH when the
// task is gone.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "base/result.h"
#include "platform/guest_address.h"
#include "platform/memory_file.h"

namespace usl::platform {

// One element of a guest's struct iovec array.
struct GuestIovec {
  GuestAddress base;
  uint64_t length = 0;
};

class GuestMemory {
 public:
  // `file` (of the same address space, outliving this object) makes reads about twice as cheap; none is fine.
  explicit GuestMemory(pid_t tid, const MemoryFile* file = nullptr) : tid_(tid), file_(file) {}

  pid_t tid() const { return tid_; }

  // Copies exactly `size` bytes in, or fails with EFAULT (as copy_from_user: nothing is promised about `to` then).
  Result<void> Read(GuestAddress from, void* to, size_t size) const;
  // A NUL-terminated string of at most `max` bytes without its NUL. EFAULT; ENAMETOOLONG when no NUL is among the first
  // max + 1 bytes (for a path pass PATH_MAX - 1). Never touches the page behind the one with the NUL.
  Result<std::string> ReadString(GuestAddress from, size_t max) const;
  // An argv- or envp-like array: pointers up to the NULL one, without it. A null `from` is an empty array, as for
  // execve(2). E2BIG when there are more than `max`.
  Result<std::vector<GuestAddress>> ReadPointers(GuestAddress from, size_t max) const;
  // `count` elements of struct iovec. EINVAL: count > 1024 (IOV_MAX), a length over SSIZE_MAX, or a sum over it.
  Result<std::vector<GuestIovec>> ReadIovecs(GuestAddress from, uint64_t count) const;

  // Copies out with the guest's own write permissions. EFAULT if any byte cannot be written (the first ones may be).
  Result<void> Write(GuestAddress to, const void* from, size_t size) const;
  // Scatters `size` bytes over the iovecs in order; returns how many were stored (short where the iovecs end).
  Result<size_t> WriteIovecs(const std::vector<GuestIovec>& to, const void* from, size_t size) const;

  template <typename T>
  requires std::is_trivially_copyable_v<T> Result<T> ReadObject(GuestAddress from)
  const {
    T object;
    USL_TRY_VOID(Read(from, &object, sizeof object));
    return object;
  }
  // Padding bytes of T go out too: value-initialise it first (`T object{}`), or host memory leaks.
  template <typename T>
  requires std::is_trivially_copyable_v<T> Result<void> WriteObject(GuestAddress to, const T& object)
  const { return Write(to, &object, sizeof object); }

 private:
  Result<size_t> ReadSome(GuestAddress from, void* to, size_t size) const;

  pid_t tid_;
  const MemoryFile* file_;
};

}  // namespace usl::platform
