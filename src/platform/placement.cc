#include "platform/placement.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>

#include "platform/task_token.h"

namespace usl::platform {
namespace {

// Every so many calls the way that looked worse is tried.
constexpr uint32_t kProbeEvery = 64;
// So many calls in a row make a pair.
constexpr int kPairAfter = 4;
// So many calls of other tasks beside a pair mean that several work at once.
constexpr int kForeignMax = 24;

// The pair to whose CPU this thread is held; 0 = none.
thread_local uint64_t held_for = 0;

int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// The raw calls: glibc's want a cpu_set_t and hide how many bytes the host wrote.
bool GetMask(pid_t tid, CpuMask* mask) {
  *mask = {};
  return syscall(SYS_sched_getaffinity, tid, sizeof *mask, mask->data()) > 0;
}
bool SetMask(pid_t tid, const CpuMask& mask) {
  return syscall(SYS_sched_setaffinity, tid, sizeof mask, mask.data()) == 0;
}
bool Contains(const CpuMask& mask, size_t cpu) {
  return cpu < 1024 && ((mask[cpu / 64] >> (cpu % 64)) & 1);
}
int CountCpus(const CpuMask& mask) {
  int count = 0;
  for (uint64_t word : mask) count += std::popcount(word);
  return count;
}
// Guests carry a token, others no limit: a number that a process of the host has got meanwhile is left alone.
bool IsGuest(pid_t tid) {
  auto token = ReadToken(tid);
  return token && *token != RLIM64_INFINITY;
}
CpuMask Only(int cpu) {
  CpuMask mask{};
  mask[static_cast<size_t>(cpu) / 64] = uint64_t{1} << (cpu % 64);
  return mask;
}

}  // namespace

Placement::Placement() {
  enabled_ = GetMask(0, &own_mask_) && CountCpus(own_mask_) > 1;
}

// Moves the estimate by a fraction towards the sample's side: the median of the samples, which a sample of 3 ms (this
// thread lost its CPU) moves no more than one of 30 us.
void Placement::Learn(Estimate& estimate, int64_t sample, int64_t part) {
  int64_t old = estimate.load(std::memory_order_relaxed);
  int64_t step = std::max<int64_t>(old / part, 1);
  int64_t next = old == 0 ? sample : sample > old ? std::min(old + step, sample) : std::max(old - step, sample);
  estimate.store(next, std::memory_order_relaxed);
}

bool Placement::ShouldPlace() {
  if (!enabled_.load(std::memory_order_relaxed)) return false;
  const int64_t plain = plain_.load(std::memory_order_relaxed), placed = placed_.load(std::memory_order_relaxed);
  const bool better = plain != 0 && (placed == 0 || placed < plain);
  const bool probe = calls_.fetch_add(1, std::memory_order_relaxed) % kProbeEvery == kProbeEvery - 1;
  return better != probe;
}

Result<int> Placement::Run(pid_t tid, const std::function<Result<int>()>& donate) {
  // Of both the usual and the probing way: what is seldom seen has to be learnt from faster.
  constexpr int64_t kUsual = 16, kProbe = 4;
  if (IsPaired(tid)) return donate();
  const int64_t start = NowNs();
  bool placed = false;
  Result<int> result = Fail(EAGAIN);
  if (ShouldPlace() && mutex_.TryLock()) {
    result = RunPlaced(tid, donate, &placed);
    mutex_.Unlock();
  } else {
    result = donate();
  }
  if (!result || !enabled_.load(std::memory_order_relaxed)) return result;
  Estimate& mine = placed ? placed_ : plain_;
  const Estimate& other = placed ? plain_ : placed_;
  const bool usual = mine.load(std::memory_order_relaxed) <= other.load(std::memory_order_relaxed);
  Learn(mine, NowNs() - start, usual ? kUsual : kProbe);
  return result;
}

Result<int> Placement::RunPlaced(pid_t tid, const std::function<Result<int>()>& donate, bool* placed) {
  CpuMask guest_mask;
  int cpu = sched_getcpu();
  // A task that may not run here, or nowhere else, stays as it is.
  if (cpu < 0 || !GetMask(tid, &guest_mask) || !Contains(guest_mask, static_cast<size_t>(cpu)) ||
      CountCpus(guest_mask) == 1) {
    return donate();
  }
  if (!SetMask(tid, Only(cpu))) {
    // EPERM: a USL of root without CAP_SYS_NICE whose guests are another user's.
    if (errno == EPERM) enabled_ = false;
    return donate();
  }
  *placed = true;
  Result<int> result = donate();
  SetMask(tid, Restored(guest_mask));
  return result;
}

// The host remembers a mask that was asked for and would hold the task to it when more CPUs come (a container's cpuset
// that grows). A task with all CPUs is therefore given all that there could be.
CpuMask Placement::Restored(CpuMask mask) const {
  if (mask == own_mask_) mask.fill(~uint64_t{0});
  return mask;
}

bool Placement::OnCall(pid_t tid, bool more) {
  if (!enabled_.load(std::memory_order_relaxed)) return false;
  MutexLock lock(mutex_);
  if (paired_ == 0) LeaveReceiver();  // the pair was ended by another thread
  streak_ = tid == last_caller_ ? streak_ + 1 : 1;
  last_caller_ = tid;
  if (tid == paired_) {
    if (held_for != pair_serial_) {  // another thread has become the receiver
      SetMask(0, pair_cpu_);
      held_for = pair_serial_;
    }
    return false;
  }
  if (paired_ != 0 && ++foreign_ > kForeignMax) {
    Unpair();
    hold_off_ = true;
  }
  if (hold_off_ || (streak_ < kPairAfter && !more)) return false;
  if (paired_ != 0) Unpair();
  Pair(tid);
  if (ticking_) return false;
  ticking_ = true;
  return true;
}

void Placement::Pair(pid_t tid) {
  CpuMask mask;
  const int cpu = sched_getcpu();
  streak_ = 0;  // a task that cannot be paired is not asked at each call
  if (cpu < 0 || !IsGuest(tid) || !GetMask(tid, &mask) || !Contains(mask, static_cast<size_t>(cpu)) ||
      CountCpus(mask) == 1) {
    return;
  }
  const CpuMask here = Only(cpu);
  if (!SetMask(tid, here)) {
    if (errno == EPERM) enabled_ = false;
    return;
  }
  paired_ = tid;
  paired_mask_ = mask;
  pair_cpu_ = here;
  foreign_ = 0;
  ++pair_serial_;
  SetMask(0, here);
  held_for = pair_serial_;
}

void Placement::Unpair() {
  if (paired_ == 0) return;
  if (IsGuest(paired_)) SetMask(paired_, Restored(paired_mask_));
  paired_ = 0;
  streak_ = 0;
}

void Placement::Release(pid_t tid) {
  MutexLock lock(mutex_);
  if (tid == paired_) Unpair();
}

bool Placement::IsPaired(pid_t tid) {
  MutexLock lock(mutex_);
  return tid == paired_;
}

void Placement::LeaveReceiver() {
  if (held_for == 0) return;
  SetMask(0, Restored(own_mask_));
  held_for = 0;
}

bool Placement::Tick() {
  MutexLock lock(mutex_);
  const bool busy = paired_ != 0 || hold_off_;
  Unpair();
  hold_off_ = false;
  ticking_ = busy;
  return busy;
}

Result<size_t> Placement::GetAffinity(pid_t tid, std::span<std::byte> mask) {
  MutexLock lock(mutex_);
  if (tid == paired_) Unpair();
  long size = syscall(SYS_sched_getaffinity, tid, mask.size(), mask.data());
  if (size < 0) return FailErrno();
  return static_cast<size_t>(size);
}

Result<void> Placement::SetAffinity(pid_t tid, std::span<const std::byte> mask) {
  MutexLock lock(mutex_);
  if (tid == paired_) Unpair();
  if (syscall(SYS_sched_setaffinity, tid, mask.size(), mask.data()) != 0) return FailErrno();
  return {};
}

}  // namespace usl::platform
