// The lines of `usl trace`, in the manner of `strace -f -T`:
//   1234 openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3 <0.000012>
// The time is what the kernel process needed to serve the call. Native calls have no result and no time, as the host
// answers them behind USL's back.
#pragma once

#include <memory>
#include <string>

#include "base/unique_fd.h"
#include "kernel/kernel.h"

namespace usl::manager {

class TraceLines final : public kernel::TraceSink {
 public:
  // Lines go to `fd`, each written whole.
  explicit TraceLines(UniqueFd fd) : fd_(std::move(fd)) {}

  void BeforeCall(const kernel::Task& task, const platform::Notification& notification) override;
  void OnCall(const kernel::Task& task, const platform::Notification& notification, bool known, int64_t result,
              uint64_t nanoseconds) override;

 private:
  UniqueFd fd_;
  std::string call_;  // of the call that is being served: an exec takes its memory away
};

}  // namespace usl::manager
