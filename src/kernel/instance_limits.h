// What one instance may use of the host: processes and threads, and memory (`usl run --pids`, `--memory`). For hosts
// that give an ordinary user no control groups: the kernel counts by itself. Guarded by the kernel lock.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace usl::kernel {

class Kernel;

// Parses what /proc/PID/status or smaps_rollup says: the sum of the lines "NAME: N kB" for each of `names`, in bytes.
uint64_t SumOfLines(const std::string& text, const std::vector<const char*>& names);

class InstanceLimits {
 public:
  // How often memory is looked at.
  static constexpr int kMemoryMilliseconds = 50;

  // Takes the limits from Kernel::options().
  explicit InstanceLimits(Kernel& kernel);

  // Before a fork or a new thread. EAGAIN, as of the pids control group: there are as many as there may be, init left
  // out. Forks that are on their way are not seen by a count, so for an instant there may be more, twice as many at
  // most.
  Result<void> ChargeTask();

  // Looks at the instance's memory from now on and kills the largest process while there is too much. Called once.
  // Errors of timerfd_create(2).
  Result<void> WatchMemory();

 private:
  using Clock = std::chrono::steady_clock;

  void CheckMemory();
  void KillLargest(uint64_t total, pid_t largest);

  Kernel& kernel_;
  std::optional<uint64_t> max_tasks_, max_memory_;
  uint64_t tasks_ = 0;  // at most so many: counted ones and those charged since
  Clock::time_point last_count_{}, next_check_{};
  Clock::duration count_time_{};  // that may be spent on counts
  bool refusal_logged_ = false;
  UniqueFd timer_;
  UniqueFd victim_;  // a pidfd: nobody else is killed before it is gone
};

}  // namespace usl::kernel
