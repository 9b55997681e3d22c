// The pico page: the one page of USL in every guest process (layout in protocol/exec_plan.h).
//
// It starts with the loader's host path and is the only path whose execve is native, so nobody in the guest may change
// it: it is a write-sealed memfd, mapped MAP_SHARED read and execute. Neither mprotect nor ptrace-like writes get
// through such a mapping; the filter refuses to unmap, replace or move it.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "protocol/exec_plan.h"

namespace usl::platform {

class PicoPage {
 public:
  // `loader_path` is absolute. ENAMETOOLONG if it and its NUL do not fit kPicoPathMax; EINVAL: base not page-aligned,
  // or not below 4 GiB; EOVERFLOW: the embedded code does not fit its place.
  static Result<PicoPage> Create(std::string_view loader_path, uint64_t base = protocol::kDefaultPicoBase);

  uint64_t base() const { return base_; }
  // Opened O_RDONLY (before Linux 6.7 a sealed memfd maps shared only so, and a guest may keep it); close-on-exec.
  // This is what exec plans donate.
  int fd() const { return fd_.get(); }
  // Maps it at its base in the calling process. EEXIST: something is there; EPERM: below vm.mmap_min_addr.
  // Async-signal-safe: the launcher calls it between fork and exec.
  Result<void> Map() const;

 private:
  PicoPage(UniqueFd fd, uint64_t base) : fd_(std::move(fd)), base_(base) {}
  UniqueFd fd_;
  uint64_t base_ = 0;
};

}  // namespace usl::platform
