// Keeping a guest and the receiver on one CPU while the one waits for the other.
//
// A served call wakes the receiver and then the guest again; a donation wakes both once more. The host, which does not
// know that each waits for the other, likes to wake them on different, idle CPUs, and where that is expensive (a
// virtual machine: 20 to 30 us for each) it costs several times what serving does. So:
//
// - A task that makes several calls in a row is *paired*: it and the receiving thread are held to the receiver's CPU
//   until another task calls as often, it forks (a child would inherit the mask), or the next Tick().
// - Where no pair stands, a donation may borrow the guest's mask for its own length; both ways are timed, the cheaper
//   one is used, and the other tried now and then.
//
// The guest never sees a borrowed mask: all its calls that ask for or set an affinity are served, by GetAffinity and
// SetAffinity here. When tasks call in turns, pairs would change all the time and hold back work that could go on side
// by side: then none is made until the next Tick().
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

// Thread-safe.
class Placement {
 public:
  // How long a pair may last, in ms: call Tick() so often while it answers true.
  static constexpr int kTickMilliseconds = 20;

  Placement();

  // The receiving thread has got a call of `tid` and is about to serve it; `more` of them are sure to follow. True when
  // Tick() is needed from now on.
  bool OnCall(pid_t tid, bool more = false);
  // Ends the pair of `tid`, if there is one: before it forks.
  void Release(pid_t tid);
  // The calling thread will not receive for a while (it waits for the host): it must not be held to a CPU.
  void LeaveReceiver();
  // Ends every pair, so that the host can spread load anew; true when it is to be called again.
  bool Tick();

  // Runs `donate`, which makes `tid` wake up and answer this thread, with or without placing it, and learns from the
  // time that it took. Returns what it returned. While one thread has a task placed, others do without.
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
  bool IsPaired(pid_t tid);
  void Pair(pid_t tid) USL_REQUIRES(mutex_);
  void Unpair() USL_REQUIRES(mutex_);
  // The mask that gives a task back what it had.
  CpuMask Restored(CpuMask mask) const;

  CpuMask own_mask_{};
  std::atomic<bool> enabled_ = false;  // more than one CPU, and the host lets us
  Estimate plain_ = 0, placed_ = 0;
  std::atomic<uint32_t> calls_ = 0;

  Mutex mutex_;  // held while Run has a task's mask borrowed, and for all that follows; a leaf lock
  pid_t paired_ USL_GUARDED_BY(mutex_) = 0;
  CpuMask paired_mask_ USL_GUARDED_BY(mutex_){};
  CpuMask pair_cpu_ USL_GUARDED_BY(mutex_){};
  uint64_t pair_serial_ USL_GUARDED_BY(mutex_) = 0;  // of the last pair made
  pid_t last_caller_ USL_GUARDED_BY(mutex_) = 0;
  int streak_ USL_GUARDED_BY(mutex_) = 0;   // calls in a row of last_caller_
  int foreign_ USL_GUARDED_BY(mutex_) = 0;  // calls of others since the pair was made
  bool hold_off_ USL_GUARDED_BY(mutex_) = false;
  bool ticking_ USL_GUARDED_BY(mutex_) = false;
};

}  // namespace usl::platform
