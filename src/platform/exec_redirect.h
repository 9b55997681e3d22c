// Making a task that waits in a served call do something else natively: execve of the pico page, or the call again.
//
// ptrace(2) is used for some 40 us at a time. Both ptrace's tracer and its waits belong to the calling THREAD; no other
// thread of this process may wait for all children (waitpid(-1)) without __WNOTHREAD, or it steals the stops.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <list>
#include <vector>

#include "base/result.h"
#include "base/thread_annotations.h"
#include "platform/guest_address.h"
#include "platform/listener.h"

namespace usl::platform {

// Answers the notified execve or execveat by making the task call execve(pico_base, argv, envp) natively. The native
// call replaces the notified one for the guest: signals that arrive meanwhile are delivered before it, as if they had
// come just before the guest's execve (their handler may leave by longjmp: the pending exec is then abandoned); a stop
// signal stops the task first.
// EPERM: the task is traced (a guest debugger), use TracedExecs; or Yama forbids. ESRCH: it died. The call is
// unanswered after EPERM only.
Result<void> RedirectExec(const Listener& listener, const Notification& notification, uint64_t pico_base,
                          GuestAddress argv, GuestAddress envp);

// Lets the caller of the notified call, the tracer of `tracee`, first run the code at kPicoFollowOffset and then make
// its call again: the tracee, which stands at the exec stop of USL's loader, goes on to the SIGTRAP that waits at the
// start of its new program, and the tracer has taken that stop. Errors as RedirectExec.
Result<void> FollowExec(const Listener& listener, const Notification& notification, uint64_t pico_base, pid_t tracee);

// Makes the task call again, with 0 as its third argument. Errors as RedirectExec.
Result<void> RepeatWithoutThirdArgument(const Listener& listener, const Notification& notification);

// Answers a notified call by making the task call it again with another first argument: it is notified again. EPERM:
// the task is traced, the call is then unanswered. ESRCH: it died.
Result<void> RepeatCall(const Listener& listener, const Notification& notification, uint64_t first_argument);

// Makes a parked call start over: it is notified again, or fails with EINTR if a signal handler without SA_RESTART runs
// first. Clean whether or not a signal is pending. EPERM when traced, the call is then unanswered. ESRCH: it died.
Result<void> RestartParked(const Listener& listener, const Notification& notification);

// What "answer with ERESTARTSYS" should mean everywhere: RestartParked, and for a task that a debugger traces the plain
// answer if a signal waits for this very thread, else EINTR. A plain answer of 512 on the word of HasPendingSignal is
// not safe: the signal of a whole process may be taken by another thread meanwhile, and then 512 leaks into the guest.
// `ending` (bit N-1 for signal N): the signals behind the signal trampoline, whose handlers end the call with EINTR
// although the host has SA_RESTART for them.
Result<void> InterruptParked(const Listener& listener, const Notification& notification, uint64_t ending);

// Whether a signal waits that the task does not block: (SigPnd | ShdPnd) & ~SigBlk of /proc/TID/status, 16 us. A parked
// call should then be answered by InterruptParked. False for a task that is gone.
bool HasPendingSignal(pid_t tid);
// The task's signal mask, bit N-1 for signal N. ESRCH: it is gone.
Result<uint64_t> BlockedSignals(pid_t tid);
// The host tid that traces the task, 0 if none.
pid_t TracerOf(pid_t tid);

// The same for tasks that a guest debugger traces, where PTRACE_SEIZE is not possible: a jump to the stub in the pico
// page is written over the code behind the caller's `syscall` instruction (loader/pico_code.S has the contract); the
// stub makes the hypercall execve(pico_base + kStubHypercallOffset, ...), for which the code is restored, and then
// calls execve of the pico page itself. Code may be shared by several tasks, so patches are counted. Thread-safe.
class TracedExecs {
 public:
  explicit TracedExecs(uint64_t pico_base) : pico_base_(pico_base) {}
  TracedExecs(const TracedExecs&) = delete;
  TracedExecs& operator=(const TracedExecs&) = delete;

  // Patches and answers. argv and envp will be the notified call's own (execve: args 1 and 2; execveat: 2 and 3).
  // EFAULT/EIO: the code cannot be patched, EINVAL: not an exec; the call is unanswered then. ESRCH: the task died.
  Result<void> Redirect(const Listener& listener, const Notification& notification);
  // At the stub's hypercall: restores the code if no other task needs the patch, and returns what to answer. For a task
  // that was not redirected (a sibling that ran over the patch, a forgery) that sends it back with its registers kept.
  static constexpr int64_t kNotMeant = 2;  // the answer to those
  int64_t RestoreAfterStub(pid_t tid);
  // The task died or left by longjmp: forget it, restoring the code where its address space still exists. `helper` is
  // any living task of that address space, 0 if none is known.
  void Abandon(pid_t tid, pid_t helper);

 private:
  struct Patch {
    GuestAddress at;
    pid_t tid;  // one that needs it: names the address space
    int users;
    std::vector<std::byte> original;
  };
  struct Pending {
    pid_t tid;
    int64_t answer;
    std::list<Patch>::iterator patch;
  };
  std::list<Patch>::iterator FindPatch(pid_t tid, GuestAddress at) USL_REQUIRES(mutex_);
  void Drop(std::list<Pending>::iterator pending, pid_t writer) USL_REQUIRES(mutex_);

  const uint64_t pico_base_;
  Mutex mutex_;
  std::list<Patch> patches_ USL_GUARDED_BY(mutex_);
  std::list<Pending> pending_ USL_GUARDED_BY(mutex_);
};

}  // namespace usl::platform
