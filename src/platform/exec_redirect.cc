#include "platform/exec_redirect.h"

#include <linux/kcmp.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>

#include "platform/loader/embedded.h"
#include "platform/memory_file.h"
#include "platform/proc_status.h"
#include "protocol/exec_plan.h"

namespace usl::platform {
namespace {

constexpr uint64_t kSyscallSize = 2;  // bytes of the `syscall` instruction

struct Stop {
  int inject = 0;  // the signal that is being delivered, to go on with; 0 = none
};

// Reaps a tracee that died, unless it is a child of this process that somebody else here waits for.
void ReapTracee(pid_t tid, const siginfo_t& info) {
  char path[32];
  snprintf(path, sizeof path, "/proc/%d/status", tid);
  auto parent = ReadStatusField(path, "PPid:", 10);
  auto group = ReadStatusField(path, "Tgid:", 10);
  bool own_child =
      parent && group && *parent == static_cast<uint64_t>(getpid()) && *group == static_cast<uint64_t>(info.si_pid);
  if (own_child) return;
  // The host passes the status on to the real parent only when the tracer has seen it.
  while (waitpid(tid, nullptr, __WALL) < 0 && errno == EINTR) {
  }
}

// Waits for the stop that PTRACE_INTERRUPT ordered, or whatever stop comes instead. ESRCH: the task died.
Result<Stop> WaitForStop(pid_t tid) {
  siginfo_t info{};
  while (waitid(P_PID, static_cast<id_t>(tid), &info, WSTOPPED | WEXITED | WNOWAIT | __WALL) != 0) {
    // ECHILD: the task is gone although we trace it: another thread's exec took its place.
    if (errno != EINTR) return Fail(ESRCH);
  }
  if (info.si_code != CLD_TRAPPED && info.si_code != CLD_STOPPED) {
    ReapTracee(tid, info);
    return Fail(ESRCH);
  }
  int status;
  while (waitpid(tid, &status, __WALL) < 0) {
    if (errno != EINTR) return Fail(ESRCH);
  }
  if (!WIFSTOPPED(status)) return Fail(ESRCH);
  Stop stop;
  // An event stop (also one for a group stop) needs nothing; a plain one stands before the delivery of a signal, which
  // would be lost if the task went on without it.
  if (status >> 16 == 0) stop.inject = WSTOPSIG(status);
  return stop;
}

Result<void> Seize(const Listener& listener, const Notification& notification) {
  const pid_t tid = notification.tid;
  if (ptrace(PTRACE_SEIZE, tid, nullptr, nullptr) != 0) {
    // The host says EPERM for a dying task too.
    int error = errno;
    return Fail(error == EPERM && !listener.IsValid(notification.id) ? ESRCH : error);
  }
  // Cannot fail for a task that waits in a call, but it may die under our hands.
  if (ptrace(PTRACE_INTERRUPT, tid, nullptr, nullptr) != 0) return FailErrno();
  return {};
}

void Detach(pid_t tid, const Stop& stop) {
  // ESRCH: killed meanwhile. It is a zombie that waits for its tracer then, so look for its end.
  if (ptrace(PTRACE_DETACH, tid, nullptr, static_cast<long>(stop.inject)) == 0 || errno != ESRCH) return;
  (void)WaitForStop(tid);
}

// Signals that wait and are not blocked; none for a task that is gone.
struct PendingSignals {
  uint64_t own = 0;     // sent to this thread
  uint64_t shared = 0;  // sent to the process
  uint64_t threads = 0;
};

PendingSignals ReadPending(pid_t tid) {
  char path[32], text[4096];
  snprintf(path, sizeof path, "/proc/%d/status", tid);
  PendingSignals pending;
  uint64_t blocked = 0;
  if (!ReadSmallFile(path, text, sizeof text) || !FindStatusField(text, "SigPnd:", 16, &pending.own) ||
      !FindStatusField(text, "ShdPnd:", 16, &pending.shared) || !FindStatusField(text, "SigBlk:", 16, &blocked) ||
      !FindStatusField(text, "Threads:", 10, &pending.threads)) {
    return {};
  }
  pending.own &= ~blocked;
  pending.shared &= ~blocked;
  return pending;
}

std::vector<std::byte> JumpBytes(uint64_t pico_base) {
  const auto jump = loader::StubJump(pico_base);
  return {jump.begin(), jump.end()};
}

// Whether two tasks share one address space. kcmp(2) may be missing; then threads only are known to.
bool SameMemory(pid_t a, pid_t b) {
  if (a == b) return true;
  long order = syscall(SYS_kcmp, a, b, KCMP_VM, 0, 0);
  if (order >= 0) return order == 0;
  return syscall(SYS_tgkill, a, b, 0) == 0 || syscall(SYS_tgkill, b, a, 0) == 0;
}

// Answers the notified call, and lets the task go on with other registers.
template <typename Change>
Result<void> GoElsewhere(const Listener& listener, const Notification& notification, const Change& change) {
  const pid_t tid = notification.tid;
  USL_TRY_VOID(Seize(listener, notification));
  // The task leaves the call and stops before it runs another instruction. What the call "returns" is overwritten.
  auto answered = listener.Respond(notification.id, 0);
  auto stop = WaitForStop(tid);
  if (!stop) return Fail(stop.error());
  if (!answered) {
    Detach(tid, *stop);
    return Fail(ESRCH);
  }
  user_regs_struct registers{};
  bool set = ptrace(PTRACE_GETREGS, tid, nullptr, &registers) == 0;
  if (set) {
    registers.orig_rax = ~0ULL;  // not in a call: nothing for the host to restart
    change(registers);
    set = ptrace(PTRACE_SETREGS, tid, nullptr, &registers) == 0;
  }
  // A signal that waits, or the one that stopped it, is delivered now; its handler returns to the registers above.
  Detach(tid, *stop);
  if (!set) return Fail(ESRCH);  // killed while it was stopped
  return {};
}

}  // namespace

Result<void> RedirectExec(const Listener& listener, const Notification& notification, uint64_t pico_base,
                          GuestAddress argv, GuestAddress envp) {
  return GoElsewhere(listener, notification, [&](user_regs_struct& registers) {
    registers.rip = notification.instruction_pointer - kSyscallSize;
    registers.rax = SYS_execve;
    registers.rdi = pico_base;
    registers.rsi = argv.value();
    registers.rdx = envp.value();
  });
}

Result<void> FollowExec(const Listener& listener, const Notification& notification, uint64_t pico_base, pid_t tracee) {
  return GoElsewhere(listener, notification, [&](user_regs_struct& registers) {
    registers.rip = pico_base + protocol::kPicoFollowOffset;
    registers.rax = static_cast<uint64_t>(notification.nr);
    registers.rcx = notification.instruction_pointer - kSyscallSize;
    registers.r11 = static_cast<uint64_t>(tracee);
  });
}

Result<void> RepeatWithoutThirdArgument(const Listener& listener, const Notification& notification) {
  return GoElsewhere(listener, notification, [&](user_regs_struct& registers) {
    registers.rip = notification.instruction_pointer - kSyscallSize;
    registers.rax = static_cast<uint64_t>(notification.nr);
    registers.rdx = 0;
  });
}

Result<void> RepeatCall(const Listener& listener, const Notification& notification, uint64_t first_argument) {
  return GoElsewhere(listener, notification, [&](user_regs_struct& registers) {
    registers.rip = notification.instruction_pointer - kSyscallSize;
    registers.rax = static_cast<uint64_t>(notification.nr);
    registers.rdi = first_argument;
  });
}

namespace {

// `code`: kERESTARTSYS or kERESTARTNOHAND.
Result<void> Restart(const Listener& listener, const Notification& notification, int code) {
  const pid_t tid = notification.tid;
  USL_TRY_VOID(Seize(listener, notification));
  // The ordered stop counts as a pending signal, so the host handles the restart code and it cannot leak.
  auto answered = listener.RespondError(notification.id, code);
  auto stop = WaitForStop(tid);
  if (!stop) return Fail(stop.error());
  Detach(tid, *stop);
  if (!answered) return Fail(ESRCH);
  return {};
}

}  // namespace

Result<void> RestartParked(const Listener& listener, const Notification& notification) {
  return Restart(listener, notification, kERESTARTSYS);
}

Result<void> InterruptParked(const Listener& listener, const Notification& notification, uint64_t ending) {
  const PendingSignals pending = ReadPending(notification.tid);
  const int code = (pending.own | pending.shared) & ending ? kERESTARTNOHAND : kERESTARTSYS;
  auto restarted = Restart(listener, notification, code);
  if (restarted || restarted.error() != Error(EPERM)) return restarted;
  // A lone thread has nobody who could take a signal of the process.
  const bool certain = pending.own || (pending.threads == 1 && pending.shared);
  return listener.RespondError(notification.id, certain ? code : EINTR);
}

bool HasPendingSignal(pid_t tid) {
  const PendingSignals pending = ReadPending(tid);
  return pending.own || pending.shared;
}

Result<uint64_t> BlockedSignals(pid_t tid) {
  char path[32];
  snprintf(path, sizeof path, "/proc/%d/status", tid);
  auto blocked = ReadStatusField(path, "SigBlk:", 16);
  if (!blocked) return Fail(ESRCH);
  return *blocked;
}

pid_t TracerOf(pid_t tid) {
  char path[32];
  snprintf(path, sizeof path, "/proc/%d/status", tid);
  auto tracer = ReadStatusField(path, "TracerPid:", 10);
  return tracer ? static_cast<pid_t>(*tracer) : 0;
}

std::list<TracedExecs::Patch>::iterator TracedExecs::FindPatch(pid_t tid, GuestAddress at) {
  return std::find_if(patches_.begin(), patches_.end(),
                      [&](const Patch& patch) { return patch.at == at && SameMemory(patch.tid, tid); });
}

Result<void> TracedExecs::Redirect(const Listener& listener, const Notification& notification) {
  const pid_t tid = notification.tid;
  if (notification.nr != SYS_execve && notification.nr != SYS_execveat) return Fail(EINVAL);
  const GuestAddress at(notification.instruction_pointer);
  const std::vector<std::byte> jump = JumpBytes(pico_base_);
  MutexLock lock(mutex_);
  auto patch = FindPatch(tid, at);
  if (patch == patches_.end()) {
    MemoryFile memory = USL_TRY(MemoryFile::Open(tid));
    std::vector<std::byte> original(jump.size());
    if (USL_TRY(memory.ReadSome(at, original.data(), original.size())) != original.size()) return Fail(EFAULT);
    USL_TRY_VOID(memory.ForceWrite(at, jump.data(), jump.size()));
    patches_.push_front(Patch{at, tid, 0, std::move(original)});
    patch = patches_.begin();
  }
  ++patch->users;
  // Before the answer: the stub's hypercall may come at once, at another thread.
  pending_.push_front(Pending{tid, notification.nr == SYS_execveat ? 1 : 0, patch});
  auto answered = listener.Respond(notification.id, 0);
  if (!answered) {
    Drop(pending_.begin(), tid);
    return Fail(ESRCH);
  }
  return {};
}

int64_t TracedExecs::RestoreAfterStub(pid_t tid) {
  MutexLock lock(mutex_);
  auto pending = std::find_if(pending_.begin(), pending_.end(), [&](const Pending& one) { return one.tid == tid; });
  if (pending == pending_.end()) return kNotMeant;
  int64_t answer = pending->answer;
  Drop(pending, tid);
  return answer;
}

void TracedExecs::Abandon(pid_t tid, pid_t helper) {
  MutexLock lock(mutex_);
  auto pending = std::find_if(pending_.begin(), pending_.end(), [&](const Pending& one) { return one.tid == tid; });
  if (pending != pending_.end()) Drop(pending, helper);
}

void TracedExecs::Drop(std::list<Pending>::iterator pending, pid_t writer) {
  auto patch = pending->patch;
  pending_.erase(pending);
  if (--patch->users > 0) {
    // The address space stays named by a task that lives.
    auto other = std::find_if(pending_.begin(), pending_.end(), [&](const Pending& one) { return one.patch == patch; });
    if (other != pending_.end()) patch->tid = other->tid;
    return;
  }
  if (writer > 0) {
    if (auto memory = MemoryFile::Open(writer)) {
      (void)memory->ForceWrite(patch->at, patch->original.data(), patch->original.size());
    }
  }
  patches_.erase(patch);
}

}  // namespace usl::platform
