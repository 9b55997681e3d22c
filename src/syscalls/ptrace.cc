// ptrace(2): native, once the kernel has said that the guest may trace that process.
#include <linux/capability.h>
#include <sys/ptrace.h>

#include <utility>

#include "kernel/exec_service.h"
#include "kernel/fast_path.h"
#include "kernel/host_proc.h"
#include "kernel/kernel.h"
#include "kernel/process_access.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {
namespace {

using kernel::Reply;
using kernel::SyscallContext;

constexpr uint64_t kSuspendSeccomp = 1 << 21;  // PTRACE_O_SUSPEND_SECCOMP
constexpr unsigned kSeccompGetFilter = 0x420c, kSeccompGetMetadata = 0x420d;

// A tracer wants to see every call.
void BecomesTraced(SyscallContext& context, kernel::Process& process) {
  process.was_traced = true;
  if (kernel::FastPath* fast = context.kernel().fast_path()) fast->SwitchOff(process);
}

Result<Reply> Attach(SyscallContext& context) {
  Ref<kernel::Task> target = USL_TRY(TaskByPid(context.kernel(), context.task(), context.IntArg(1)));
  if (&target->process() == &context.process()) return Fail(EPERM);
  USL_TRY_VOID(CheckTrace(context.kernel(), context.task(), target->process()));
  // The number could be used again before the host attaches; only a host that confines the guest rules out a stranger.
  if (!context.kernel().options().confined_by_host) return Fail(EPERM);
  if (!context.credentials().Has(CAP_SYS_PTRACE)) target->process().within_reach = true;
  BecomesTraced(context, target->process());
  return Reply::ContinueByRegisters();
}

// ptrace_access_vm of Linux: memory of a process that is not dumpable (its image may be executed only, not read) is not
// for a tracer without privilege. A tracee stands still meanwhile, and only its tracer could let it go on.
Result<Reply> AccessWord(SyscallContext& context) {
  Ref<kernel::Task> target = USL_TRY(TaskByPid(context.kernel(), context.task(), context.IntArg(1)));
  if (!target->process().dumpable && !context.credentials().Has(CAP_SYS_PTRACE)) return Fail(EIO);
  return Reply::ContinueByRegisters();
}

// Whether the request concerns the state of the tracee's program, so that an exec under way must be finished first.
// From the exec stop PTRACE_SYSCALL leads to the end of execve, which is as the host has it.
bool NeedsProgram(unsigned request, kernel::Process& tracee) {
  switch (request) {
    case PTRACE_GETEVENTMSG:
    case PTRACE_GETSIGINFO:
    case PTRACE_GET_SYSCALL_INFO:
    case PTRACE_SETOPTIONS:
    case PTRACE_INTERRUPT:
    case PTRACE_LISTEN:
    case PTRACE_KILL:
    case PTRACE_DETACH: return false;
    case PTRACE_SYSCALL: return std::exchange(tracee.pending_exec->exit_stop_taken, true);
    default: return true;
  }
}

bool FollowExec(SyscallContext& context) {
  kernel::ExecService& exec = context.kernel().exec();
  if (exec.IsOwnCode(context.notification())) return false;
  Ref<kernel::Process> tracee = context.kernel().tasks().FindProcess(context.IntArg(1));
  if (!tracee || !exec.AtExecStop(*tracee)) return false;
  return NeedsProgram(static_cast<unsigned>(context.Arg(0)), *tracee) && exec.Follow(context, *tracee);
}

}  // namespace

Result<Reply> sys_ptrace(SyscallContext& context) {
  if (FollowExec(context)) return Reply::Answered();
  switch (static_cast<unsigned>(context.Arg(0))) {
    case PTRACE_TRACEME: {
      // The tracer would be the native parent: for the session's first process that is USL's init.
      auto stat = kernel::ReadHostStat(context.process().pid());
      if (!stat || stat->parent == context.kernel().tasks().init()->pid()) return Fail(EPERM);
      context.process().within_reach = true;
      BecomesTraced(context, context.process());
      return Reply::ContinueByRegisters();
    }
    case PTRACE_ATTACH: return Attach(context);
    case PTRACE_SEIZE:
      if (context.Arg(3) & kSuspendSeccomp) return Fail(EPERM);
      return Attach(context);
    case PTRACE_SETOPTIONS:
      if (context.Arg(3) & kSuspendSeccomp) return Fail(EPERM);
      return Reply::ContinueByRegisters();
    case PTRACE_PEEKTEXT:
    case PTRACE_PEEKDATA:
    case PTRACE_POKETEXT:
    case PTRACE_POKEDATA: return AccessWord(context);
    case kSeccompGetFilter:
    case kSeccompGetMetadata: return Fail(EACCES);
    // All others work on tracees of the caller only (ESRCH else), and those passed the check when they were attached.
    default: return Reply::ContinueByRegisters();
  }
}

}  // namespace usl::syscalls
