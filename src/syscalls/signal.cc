// Sending signals: kill(2), tkill(2), tgkill(2), rt_sigqueueinfo(2), pidfd_send_signal(2), and pidfds themselves.
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <climits>

#include "base/format.h"
#include "fs/proc_pid.h"
#include "kernel/host_proc.h"
#include "kernel/kernel.h"
#include "kernel/process_access.h"
#include "platform/fd_access.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {
namespace {

using kernel::Process;
using kernel::Reply;
using kernel::SyscallContext;

bool IsInit(const SyscallContext& context, const Process& process) {
  return &process == context.kernel().tasks().init().get();
}

bool IsSignal(int signal) {
  return signal >= 0 && signal <= SIGRTMAX;
}

// To one process or thread, after the permission check. Init takes no signal from inside, as Linux's takes none that it
// has no handler for.
Result<Reply> Send(SyscallContext& context, const Process& target, pid_t tid, int signal) {
  USL_TRY_VOID(CheckSignal(context.kernel(), context.task(), target, signal));
  if (IsInit(context, target)) return 0;
  if (&target == &context.process() || context.kernel().options().confined_by_host) {
    return Reply::ContinueByRegisters();
  }
  USL_TRY_VOID(SendSignal(context.kernel(), context.task(), target, tid, signal));
  return 0;
}

// To several: success if one of them got it, else the last error (kill(2)).
Result<Reply> SendToAll(SyscallContext& context, const std::vector<Ref<Process>>& targets, int signal) {
  if (targets.empty()) return Fail(ESRCH);
  Result<void> last = Fail(ESRCH);
  bool sent = false;
  // The caller comes last: the signal may end it.
  for (bool self : {false, true}) {
    for (const Ref<Process>& target : targets) {
      if ((target.get() == &context.process()) != self || IsInit(context, *target)) continue;
      last = CheckSignal(context.kernel(), context.task(), *target, signal);
      if (last) last = SendSignal(context.kernel(), context.task(), *target, 0, signal);
      sent = sent || last.has_value();
    }
  }
  if (sent) return 0;
  return Fail(last.error());
}

Result<Reply> SendToGroup(SyscallContext& context, pid_t group, int signal) {
  auto members = ProcessesInGroup(context.kernel(), group);
  bool all_permitted = !members.empty();
  for (const Ref<Process>& member : members) {
    all_permitted = all_permitted && !IsInit(context, *member) &&
                    CheckSignal(context.kernel(), context.task(), *member, signal).has_value();
  }
  // One step for all members is the host's to do, where it cannot reach anybody else.
  if (all_permitted && context.kernel().options().confined_by_host) return Reply::ContinueByRegisters();
  return SendToAll(context, members, signal);
}

Result<Reply> SendToEverybody(SyscallContext& context, int signal) {
  auto targets = context.kernel().tasks().List();
  std::erase_if(targets, [&](const Ref<Process>& process) {
    return process.get() == &context.process() || IsInit(context, *process);
  });
  return SendToAll(context, targets, signal);
}

// The process that an open /proc/PID stands for: pidfd_send_signal takes such a descriptor too. EBADF: it is none.
Result<Ref<Process>> ProcessOfProcDirectory(SyscallContext& context, int guest_fd) {
  const auto identified = USL_TRY(context.IdentifyFd(guest_fd));
  const vfs::Path& path = identified.identity.path;
  const fs::ProcId* id = path && path.inode() ? fs::ProcessOfPidDirectory(*path.inode()) : nullptr;
  if (!id) return Fail(EBADF);
  Ref<Process> process = context.kernel().tasks().FindProcess(id->pid);
  if (!process || process->serial != id->serial || !process->IsAlive()) return Fail(ESRCH);
  return process;
}

// A siginfo that the caller made up: Linux lets nobody impersonate the kernel or kill(2) towards another process.
Result<siginfo_t> ReadSigInfo(SyscallContext& context, int index, int signal, const Process& target) {
  siginfo_t info = USL_TRY(context.memory().ReadObject<siginfo_t>(context.AddressArg(index)));
  if (info.si_signo != signal) info.si_signo = signal;
  if ((info.si_code >= 0 || info.si_code == SI_TKILL) && &target != &context.process()) return Fail(EPERM);
  return info;
}

Result<Reply> QueueInfo(SyscallContext& context, const Process& target, pid_t tid, int signal, int info_index) {
  siginfo_t info = USL_TRY(ReadSigInfo(context, info_index, signal, target));
  USL_TRY_VOID(CheckSignal(context.kernel(), context.task(), target, signal));
  if (IsInit(context, target)) return 0;
  if (&target == &context.process() || context.kernel().options().confined_by_host) {
    return Reply::ContinueByRegisters();
  }
  long sent = tid > 0 ? syscall(SYS_rt_tgsigqueueinfo, target.pid(), tid, signal, &info)
                      : syscall(SYS_pidfd_send_signal, target.pidfd(), signal, &info, 0);
  if (sent < 0) return FailErrno();
  return 0;
}

Result<Reply> SendToThread(SyscallContext& context, pid_t group, pid_t tid, int signal) {
  if (tid <= 0) return Fail(EINVAL);
  Ref<kernel::Task> task = context.kernel().tasks().FindTask(tid);
  if (!task || (group > 0 && task->process().pid() != group)) return Fail(ESRCH);
  if (!IsSignal(signal)) return Fail(EINVAL);
  return Send(context, task->process(), tid, signal);
}

}  // namespace

Result<Reply> sys_kill(SyscallContext& context) {
  pid_t pid = context.IntArg(0);
  int signal = context.IntArg(1);
  if (!IsSignal(signal)) return Fail(EINVAL);
  if (pid == -1) return SendToEverybody(context, signal);
  if (pid == 0) return SendToGroup(context, getpgid(context.process().pid()), signal);
  if (pid == INT_MIN) return Fail(ESRCH);
  if (pid < 0) return SendToGroup(context, -pid, signal);
  Ref<Process> target = context.kernel().tasks().FindProcess(pid);
  if (!target) {
    // kill(2) takes the number of any thread for its process.
    Ref<kernel::Task> task = context.kernel().tasks().FindTask(pid);
    if (!task) return Fail(ESRCH);
    target = task->process_ref();
  }
  return Send(context, *target, 0, signal);
}

Result<Reply> sys_tkill(SyscallContext& context) {
  return SendToThread(context, 0, context.IntArg(0), context.IntArg(1));
}

Result<Reply> sys_tgkill(SyscallContext& context) {
  if (context.IntArg(0) <= 0) return Fail(EINVAL);
  return SendToThread(context, context.IntArg(0), context.IntArg(1), context.IntArg(2));
}

Result<Reply> sys_rt_sigqueueinfo(SyscallContext& context) {
  int signal = context.IntArg(1);
  if (!IsSignal(signal)) return Fail(EINVAL);
  Ref<Process> target = USL_TRY(ProcessByPid(context.kernel(), context.IntArg(0)));
  return QueueInfo(context, *target, 0, signal, 2);
}

Result<Reply> sys_rt_tgsigqueueinfo(SyscallContext& context) {
  int signal = context.IntArg(2);
  if (context.IntArg(0) <= 0 || context.IntArg(1) <= 0 || !IsSignal(signal)) return Fail(EINVAL);
  Ref<kernel::Task> task = context.kernel().tasks().FindTask(context.IntArg(1));
  if (!task || task->process().pid() != context.IntArg(0)) return Fail(ESRCH);
  return QueueInfo(context, task->process(), task->tid(), signal, 3);
}

Result<Reply> sys_pidfd_open(SyscallContext& context) {
  pid_t pid = context.IntArg(0);
  unsigned flags = context.UintArg(1);
  constexpr unsigned kThread = O_EXCL;  // PIDFD_THREAD
  if (pid <= 0 || (flags & ~(O_NONBLOCK | kThread))) return Fail(EINVAL);
  pid_t host_pid = pid;
  if (flags & kThread) {
    Ref<kernel::Task> task = context.kernel().tasks().FindTask(pid);
    if (!task) return Fail(ESRCH);
    host_pid = task->tid();
  } else {
    Ref<Process> process = context.kernel().tasks().FindProcess(pid);
    // A thread that is no leader: EINVAL until Linux 6.15, ENOENT since; a number of nobody: ESRCH.
    if (!process) return Fail(context.kernel().tasks().FindTask(pid) ? EINVAL : ESRCH);
    host_pid = process->pid();
  }
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, host_pid, flags)));
  if (!pidfd) return FailErrno();
  // What it names now is still the instance's: the record's own pidfd is alive, so the number was not used again.
  if (!(flags & kThread) && !USL_TRY(ProcessByPid(context.kernel(), pid))->IsAlive()) return Fail(ESRCH);
  return Reply::Donate(std::move(pidfd), true);
}

Result<Reply> sys_pidfd_send_signal(SyscallContext& context) {
  int signal = context.IntArg(1);
  constexpr unsigned kScopes = 7;  // PIDFD_SIGNAL_THREAD, _THREAD_GROUP, _PROCESS_GROUP (Linux 6.9)
  unsigned flags = context.UintArg(3);
  if (flags & ~kScopes) return Fail(EINVAL);
  if (flags & (flags - 1)) return Fail(EINVAL);
  UniqueFd pidfd = USL_TRY(context.DuplicateFd(context.IntArg(0)));
  auto named = kernel::ProcessOfPidfd(context.kernel(), pidfd.get());
  int host_pidfd = pidfd.get();
  if (!named && named.error() == Error(EBADF)) {
    named = ProcessOfProcDirectory(context, context.IntArg(0));
    if (named) host_pidfd = (*named)->pidfd();
  }
  Ref<Process> target = USL_TRY(std::move(named));
  if (!IsSignal(signal)) return Fail(EINVAL);
  constexpr unsigned kProcessGroup = 4;
  if (flags & kProcessGroup) return SendToGroup(context, getpgid(target->pid()), signal);
  USL_TRY_VOID(CheckSignal(context.kernel(), context.task(), *target, signal));
  siginfo_t info{};
  if (context.Arg(2) != 0) {
    info = USL_TRY(context.memory().ReadObject<siginfo_t>(context.AddressArg(2)));
    if (info.si_signo != signal) return Fail(EINVAL);
    if ((info.si_code >= 0 || info.si_code == SI_TKILL) && target.get() != &context.process()) return Fail(EPERM);
    // The host would take SI_USER from the sender itself only, and the sender here is the kernel.
    if (info.si_code >= 0 || info.si_code == SI_TKILL) info.si_code = SI_QUEUE;
  } else {
    info.si_signo = signal;
    info.si_code = SI_QUEUE;
    info.si_pid = context.process().pid();
    info.si_uid = context.credentials().uid;
  }
  if (IsInit(context, *target)) return 0;
  if (syscall(SYS_pidfd_send_signal, host_pidfd, signal, signal == 0 ? nullptr : &info, flags) < 0) {
    return FailErrno();
  }
  return 0;
}

Result<Reply> sys_pidfd_getfd(SyscallContext& context) {
  if (context.UintArg(2) != 0) return Fail(EINVAL);
  UniqueFd pidfd = USL_TRY(context.DuplicateFd(context.IntArg(0)));
  Ref<Process> target = USL_TRY(kernel::ProcessOfPidfd(context.kernel(), pidfd.get()));
  USL_TRY_VOID(CheckTrace(context.kernel(), context.task(), *target));
  UniqueFd fd = USL_TRY(platform::DuplicateFd(pidfd.get(), context.IntArg(1)));
  return Reply::Donate(std::move(fd), true);
}

}  // namespace usl::syscalls
