// Clocks. Reading the host's is native; setting it is nobody's right in here, so even guest root gets EPERM, as root in
// a container does. The clocks of processes carry a pid in their negative id, which must be one of this instance.
#include <linux/capability.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>

#include "kernel/kernel.h"
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {
namespace {

// A clock id of a process, thread or descriptor (include/linux/posix-timers.h of Linux): ~number in the upper bits.
struct DynamicClock {
  pid_t pid;
  bool is_thread;
  bool is_descriptor;
};

DynamicClock Decode(int clock_id) {
  return {~(clock_id >> 3), (clock_id & 4) != 0, (clock_id & 3) == 3};
}

enum class ClockKind {
  kOwn,    // the caller's own, or one that the host refuses by itself: the host carries the call out
  kOther,  // the process clock of another process of the instance
};

// EINVAL for clocks that the guest must not see: of descriptors (host hardware) and of host processes.
Result<ClockKind> CheckClock(const SyscallContext& context, int clock_id) {
  if (clock_id >= 0) return ClockKind::kOwn;
  const DynamicClock clock = Decode(clock_id);
  if (clock.is_descriptor) return Fail(EINVAL);
  // Linux gives thread clocks to threads of the same process only.
  if (clock.pid == 0 || clock.is_thread || clock.pid == context.process().pid()) return ClockKind::kOwn;
  if (!context.kernel().tasks().FindProcess(clock.pid)) return Fail(EINVAL);
  return ClockKind::kOther;
}

bool IsValid(const timespec& time) {
  return time.tv_nsec >= 0 && time.tv_nsec < 1'000'000'000;
}

Result<Reply> AdjustClock(SyscallContext& context, int clock_id, int address_index) {
  auto change = USL_TRY(context.memory().ReadObject<timex>(context.AddressArg(address_index)));
  // These two only read, though the second has the bits of one that sets.
  const bool reads = change.modes == 0 || change.modes == ADJ_OFFSET_SS_READ;
  if (!reads) return Fail(EPERM);
  const int state = clock_adjtime(clock_id, &change);
  if (state < 0) return FailErrno();
  USL_TRY_VOID(context.CopyOut(address_index, change));
  return state;
}

}  // namespace

Result<Reply> sys_clock_gettime(SyscallContext& context) {
  const int clock_id = context.IntArg(0);
  if (USL_TRY(CheckClock(context, clock_id)) == ClockKind::kOwn) return Reply::ContinueByRegisters();
  timespec time{};
  if (clock_gettime(clock_id, &time) < 0) return FailErrno();
  USL_TRY_VOID(context.CopyOut(1, time));
  return 0;
}

Result<Reply> sys_clock_getres(SyscallContext& context) {
  const int clock_id = context.IntArg(0);
  if (USL_TRY(CheckClock(context, clock_id)) == ClockKind::kOwn) return Reply::ContinueByRegisters();
  timespec resolution{};
  if (clock_getres(clock_id, &resolution) < 0) return FailErrno();
  if (!context.AddressArg(1).is_null()) USL_TRY_VOID(context.CopyOut(1, resolution));
  return 0;
}

Result<Reply> sys_clock_nanosleep(SyscallContext& context) {
  // A pid that is reused within the window would make the caller wait for a stranger's CPU time: no more than a wait.
  USL_TRY(CheckClock(context, context.IntArg(0)));
  return Reply::ContinueByRegisters();
}

Result<Reply> sys_timer_create(SyscallContext& context) {
  // As for clock_nanosleep; whom the timer signals, Linux restricts to the caller's own threads.
  USL_TRY(CheckClock(context, context.IntArg(0)));
  return Reply::ContinueByRegisters();
}

Result<Reply> sys_clock_settime(SyscallContext& context) {
  const int clock_id = context.IntArg(0);
  const auto time = USL_TRY(context.memory().ReadObject<timespec>(context.AddressArg(1)));
  if (clock_id != CLOCK_REALTIME || !IsValid(time)) return Fail(EINVAL);
  return Fail(EPERM);
}

Result<Reply> sys_settimeofday(SyscallContext& context) {
  const bool sets_time = !context.AddressArg(0).is_null();
  if (sets_time) {
    const auto time = USL_TRY(context.memory().ReadObject<timeval>(context.AddressArg(0)));
    if (time.tv_usec < 0 || time.tv_usec > 1'000'000) return Fail(EINVAL);
  }
  const bool sets_zone = !context.AddressArg(1).is_null();
  if (sets_zone) USL_TRY(context.memory().ReadObject<struct timezone>(context.AddressArg(1)));
  if (sets_time || sets_zone) return Fail(EPERM);
  return Done(RequireCapability(context, CAP_SYS_TIME));
}

Result<Reply> sys_adjtimex(SyscallContext& context) {
  return AdjustClock(context, CLOCK_REALTIME, 0);
}

Result<Reply> sys_clock_adjtime(SyscallContext& context) {
  const int clock_id = context.IntArg(0);
  if (clock_id < 0) return Fail(EINVAL);
  return AdjustClock(context, clock_id, 1);
}

}  // namespace usl::syscalls
