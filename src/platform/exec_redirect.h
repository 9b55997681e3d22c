// Making a task that waits in a served call do something else natively: execve of the pico page, or the call again.
//
// ptrace(2) is used for some 40 us at a time. Both ptrace's tracer and its waits belong to the calling THREAD; no other
// thread of this process may wait for all children (waitpid(-1)) without __WNOTHREAD, or it steals the stops.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <list>

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

// Makes a parked call start over: it is notified again, or fails with EINTR if a signal handler without SA_RESTART runs
// first. Clean whether or not a signal is pending. EPERM when traced: then leave it parked until HasPendingSignal and
// answer kERESTARTSYS. ESRCH: it died.
Result<void> RestartParked(const Listener& listener, const Notification& notification);

// Whether a signal waits that the task does not block: (SigPnd | ShdPnd) & ~SigBlk of /proc/TID/status, 16 us. A parked
// call should then be answered with kERESTARTSYS. False for a task that is gone.
bool HasPendingSignal(pid_t tid);
// The host tid that traces the task, 0 if none.
pid_t TracerOf(pid_t tid);

// The same for tasks that a guest debugger traces, where PTRACE_SEIZE is not possible: a jump to a stub in the pico page
// is written over the code behind the caller's `syscall` instruction; the stub makes the hypercall
// execve(pico_base + kHypercallOffset - 8, ...), for which the code is restored, and then calls execve of the pico page
// itself. Code may be shared by several tasks, so patches are counted. Thread-safe.
class TracedExecs {
 public:
  explicit TracedExecs(uint64_t pico_base) : pico_base_(pico_base) {}

  // Patches and answers. argv and envp are the notified call's own (execve: args 1 and 2; execveat: 2 and 3). `tgid` is
  // the task's thread group. EFAULT/EIO: the code cannot be patched; the call is then unanswered.
  Result<void> Redirect(const Listener& listener, const Notification& notification, pid_t tgid);
  // At the stub's hypercall: restores the code if no other task needs the patch. The caller then answers the hypercall
  // with 0. ENOENT: this task was not redirected.
  Result<void> RestoreAfterStub(pid_t tid);
  // The task died or left by longjmp: forget it, restoring the code where its address space still exists.
  void Abandon(pid_t tid) { (void)RestoreAfterStub(tid); }

 private:
  struct Patch;
  struct Pending {
    pid_t tid;
    GuestAddress at;
    std::list<Patch>::iterator patch;
  };
  const uint64_t pico_base_;
};

}  // namespace usl::platform
