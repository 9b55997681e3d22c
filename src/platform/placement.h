// Keeping a guest and the receiver on one CPU while an fd is donated.
//
// A donation wakes the guest and then the receiver, and the host, which does not know that each waits for the other,
// likes to wake them on different, idle CPUs. Where that is expensive (a virtual machine: 30 us each), it helps to set
// the guest's affinity to the receiver's CPU for the time. Where it is not, that costs more than it saves. So both ways
// are timed, the cheaper one is used, and the other tried now and then.
//
// The guest never sees the borrowed mask: it is restored before the call is answered, and the task cannot run, fork or
// ask until then. Other guests could ask for it or change it by tid: those calls are served by GetAffinity and
// SetAffinity here, which wait for the loan to end.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "base/result.h"
#include "base/thread_annotations.h"

namespace usl::platform {

// sched_setaffinity(2)'s bit mask, for up to 1024 CPUs.
using CpuMask = std::array<uint64_t, 16>;

class Placement {
 public:
  Placement();

  // Runs `donate`, which makes `tid` wake up and answer this thread, with or without placing it, and learns from the
  // time that it took. Returns what it returned. Thread-safe: while one thread has a task placed, others do without.
  Result<int> Run(pid_t tid, const std::function<Result<int>()>& donate);

  // The affinity of a task as the guest should see it. sched_getaffinity(2): the bytes that the host wrote, ESRCH,
  // EINVAL (mask too small).
  Result<size_t> GetAffinity(pid_t tid, std::span<std::byte> mask);
  // sched_setaffinity(2): EINVAL, EPERM, ESRCH.
  Result<void> SetAffinity(pid_t tid, std::span<const std::byte> mask);

 private:
  // A running median in ns; 0 = nothing known.
  using Estimate = std::atomic<int64_t>;
  bool ShouldPlace();
  static void Learn(Estimate& estimate, int64_t sample, int64_t part);
  Result<int> RunPlaced(pid_t tid, const std::function<Result<int>()>& donate, bool* placed) USL_REQUIRES(mutex_);

  CpuMask own_mask_{};
  std::atomic<bool> enabled_ = false;  // more than one CPU, and the host lets us
  Estimate plain_ = 0, placed_ = 0;
  std::atomic<uint32_t> calls_ = 0;
  Mutex mutex_;  // held while a task's mask is a borrowed one; a leaf lock
};

}  // namespace usl::platform
