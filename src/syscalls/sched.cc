// Scheduling of processes of the instance: sched_*(2), getpriority(2), ioprio_get(2). The caller's own thread group
// goes on natively; for others the kernel makes the call itself, as a number could be used again before a continued
// call ran.
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <span>
#include <vector>

#include "kernel/kernel.h"
#include "kernel/process_access.h"
#include "platform/placement.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {
namespace {

using kernel::Process;
using kernel::Reply;
using kernel::SyscallContext;

constexpr size_t kMaxAttr = 4096;

struct Target {
  Ref<kernel::Task> task;
  bool own = false;
};

Result<Target> FindTarget(SyscallContext& context, bool changes) {
  pid_t pid = context.IntArg(0);
  if (pid < 0) return Fail(EINVAL);
  Ref<kernel::Task> task = USL_TRY(TaskByPid(context.kernel(), context.task(), pid));
  bool own = &task->process() == &context.process() && pid != 1;
  if (changes) USL_TRY_VOID(CheckSchedule(context.kernel(), context.task(), task->process()));
  return Target{std::move(task), own};
}

Result<Reply> Native(long result) {
  if (result < 0) return FailErrno();
  return result;
}

// A call with a structure that goes in: copied once, then applied by the kernel.
Result<Reply> ApplyTo(SyscallContext& context, size_t size, int address_index,
                      const std::function<long(pid_t, void*)>& apply) {
  Target target = USL_TRY(FindTarget(context, true));
  if (target.own) return Reply::ContinueByRegisters();
  std::vector<char> buffer(std::max<size_t>(size, 1));
  USL_TRY_VOID(context.memory().Read(context.AddressArg(address_index), buffer.data(), size));
  return Native(apply(target.task->tid(), buffer.data()));
}

// A call with a structure that comes out.
Result<Reply> Ask(SyscallContext& context, size_t size, int address_index,
                  const std::function<long(pid_t, void*)>& ask) {
  Target target = USL_TRY(FindTarget(context, false));
  if (target.own) return Reply::ContinueByRegisters();
  std::vector<char> buffer(std::max<size_t>(size, 1));
  long result = ask(target.task->tid(), buffer.data());
  if (result < 0) return FailErrno();
  USL_TRY_VOID(context.memory().Write(context.AddressArg(address_index), buffer.data(), size));
  return result;
}

// The processes that (which, who) of getpriority(2) and ioprio_get(2) mean. `kinds` gives the numbers of the three
// kinds.
struct PriorityKinds {
  int process, group, user;
};

Result<std::vector<Ref<Process>>> Selected(SyscallContext& context, PriorityKinds kinds) {
  int which = context.IntArg(0);
  int who = context.IntArg(1);
  std::vector<Ref<Process>> selected;
  if (which == kinds.process) {
    selected.push_back(USL_TRY(TaskByPid(context.kernel(), context.task(), who))->process_ref());
  } else if (which == kinds.group) {
    selected = ProcessesInGroup(context.kernel(), who == 0 ? getpgid(context.process().pid()) : who);
  } else if (which == kinds.user) {
    uid_t user = who == 0 ? context.credentials().uid : static_cast<uid_t>(who);
    selected = context.kernel().tasks().List();
    std::erase_if(selected,
                  [&](const Ref<Process>& process) { return CredentialsOf(context.kernel(), *process)->uid != user; });
  } else {
    return Fail(EINVAL);
  }
  std::erase(selected, context.kernel().tasks().init());
  if (selected.empty()) return Fail(ESRCH);
  return selected;
}

// True where the call concerns only the calling thread or its thread group's threads.
bool IsOwn(SyscallContext& context, int process_kind) {
  if (context.IntArg(0) != process_kind) return false;
  auto task = TaskByPid(context.kernel(), context.task(), context.IntArg(1));
  return task && &(*task)->process() == &context.process();
}

Result<Reply> SetForAll(SyscallContext& context, PriorityKinds kinds, const std::function<long(pid_t)>& set) {
  if (IsOwn(context, kinds.process)) return Reply::ContinueByRegisters();
  auto selected = USL_TRY(Selected(context, kinds));
  Result<void> last;
  for (const Ref<Process>& process : selected) {
    Result<void> one = CheckSchedule(context.kernel(), context.task(), *process);
    if (one && set(process->pid()) < 0) one = FailErrno();
    if (!one) last = one;
  }
  if (!last) return Fail(last.error());
  return 0;
}

constexpr PriorityKinds kNiceKinds{PRIO_PROCESS, PRIO_PGRP, PRIO_USER};
constexpr PriorityKinds kIoKinds{1, 2, 3};  // IOPRIO_WHO_PROCESS, _PGRP, _USER

}  // namespace

Result<Reply> sys_sched_setparam(SyscallContext& context) {
  return ApplyTo(context, sizeof(sched_param), 1,
                 [](pid_t tid, void* data) { return syscall(SYS_sched_setparam, tid, data); });
}

Result<Reply> sys_sched_getparam(SyscallContext& context) {
  return Ask(context, sizeof(sched_param), 1,
             [](pid_t tid, void* data) { return syscall(SYS_sched_getparam, tid, data); });
}

Result<Reply> sys_sched_setscheduler(SyscallContext& context) {
  int policy = context.IntArg(1);
  return ApplyTo(context, sizeof(sched_param), 2,
                 [policy](pid_t tid, void* data) { return syscall(SYS_sched_setscheduler, tid, policy, data); });
}

Result<Reply> sys_sched_getscheduler(SyscallContext& context) {
  Target target = USL_TRY(FindTarget(context, false));
  if (target.own) return Reply::ContinueByRegisters();
  return Native(syscall(SYS_sched_getscheduler, target.task->tid()));
}

Result<Reply> sys_sched_rr_get_interval(SyscallContext& context) {
  return Ask(context, sizeof(timespec), 1,
             [](pid_t tid, void* data) { return syscall(SYS_sched_rr_get_interval, tid, data); });
}

// Always served, for the caller itself too: a thread that makes many calls may carry a borrowed mask, which nobody may
// see or overwrite (platform/placement.h).
Result<Reply> sys_sched_setaffinity(SyscallContext& context) {
  if (context.IntArg(0) < 0) return Fail(ESRCH);
  Target target = USL_TRY(FindTarget(context, true));
  std::array<std::byte, sizeof(platform::CpuMask)> mask{};
  size_t size = std::min<size_t>(context.UintArg(1), mask.size());
  USL_TRY_VOID(context.memory().Read(context.AddressArg(2), mask.data(), size));
  if (const auto& allowed = context.kernel().options().cpus) {
    // As a cpuset does it: what is left over, and EINVAL where that is nothing.
    const auto bytes = std::as_bytes(std::span(*allowed));
    for (size_t i = 0; i < mask.size(); ++i) mask[i] &= bytes[i];
  }
  USL_TRY_VOID(context.kernel().listener().placement().SetAffinity(target.task->tid(), std::span(mask)));
  return 0;
}

Result<Reply> sys_sched_getaffinity(SyscallContext& context) {
  if (context.IntArg(0) < 0) return Fail(ESRCH);  // the other calls say EINVAL
  Target target = USL_TRY(FindTarget(context, false));
  size_t size = context.UintArg(1);
  if (size % sizeof(long) != 0) return Fail(EINVAL);
  std::array<std::byte, sizeof(platform::CpuMask)> mask{};
  auto shown = std::span(mask).first(std::min(size, mask.size()));
  size_t used = USL_TRY(context.kernel().listener().placement().GetAffinity(target.task->tid(), shown));
  USL_TRY_VOID(context.memory().Write(context.AddressArg(2), mask.data(), used));
  return static_cast<int64_t>(used);
}

Result<Reply> sys_sched_setattr(SyscallContext& context) {
  Target target = USL_TRY(FindTarget(context, true));
  if (target.own) return Reply::ContinueByRegisters();
  uint32_t size = USL_TRY(context.memory().ReadObject<uint32_t>(context.AddressArg(1)));
  constexpr uint32_t kFirstVersion = 48;  // SCHED_ATTR_SIZE_VER0
  if (size == 0) size = kFirstVersion;
  if (size < kFirstVersion || size > kMaxAttr) return Fail(E2BIG);
  std::array<char, kMaxAttr> attr{};
  USL_TRY_VOID(context.memory().Read(context.AddressArg(1), attr.data(), size));
  memcpy(attr.data(), &size, sizeof size);  // as it was when it was checked
  return Native(syscall(SYS_sched_setattr, target.task->tid(), attr.data(), context.UintArg(2)));
}

Result<Reply> sys_sched_getattr(SyscallContext& context) {
  size_t size = std::min<size_t>(context.UintArg(2), kMaxAttr);
  unsigned flags = context.UintArg(3);
  return Ask(context, size, 1,
             [size, flags](pid_t tid, void* data) { return syscall(SYS_sched_getattr, tid, data, size, flags); });
}

Result<Reply> sys_getpriority(SyscallContext& context) {
  if (IsOwn(context, PRIO_PROCESS)) return Reply::ContinueByRegisters();
  auto selected = USL_TRY(Selected(context, kNiceKinds));
  long best = 0;
  for (const Ref<Process>& process : selected) {
    // The system call itself gives 20 - nice, so that it is never negative.
    best = std::max(best, syscall(SYS_getpriority, PRIO_PROCESS, process->pid()));
  }
  if (best <= 0) return Fail(ESRCH);
  return best;
}

Result<Reply> sys_setpriority(SyscallContext& context) {
  int nice_value = context.IntArg(2);
  return SetForAll(context, kNiceKinds,
                   [nice_value](pid_t pid) { return syscall(SYS_setpriority, PRIO_PROCESS, pid, nice_value); });
}

Result<Reply> sys_ioprio_get(SyscallContext& context) {
  if (IsOwn(context, kIoKinds.process)) return Reply::ContinueByRegisters();
  auto selected = USL_TRY(Selected(context, kIoKinds));
  return Native(syscall(SYS_ioprio_get, kIoKinds.process, selected.front()->pid()));
}

Result<Reply> sys_ioprio_set(SyscallContext& context) {
  int value = context.IntArg(2);
  return SetForAll(context, kIoKinds,
                   [value](pid_t pid) { return syscall(SYS_ioprio_set, kIoKinds.process, pid, value); });
}

}  // namespace usl::syscalls
