// Making processes and asking about them: clone(2), getppid(2), setpgid(2), unshare(2), kcmp(2), process_vm_readv(2).
#include <linux/capability.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

#include "fs/proc_namespace.h"
#include "kernel/exec_service.h"
#include "kernel/fast_path.h"
#include "kernel/instance_limits.h"
#include "kernel/kernel.h"
#include "kernel/namespaces.h"
#include "kernel/process_access.h"
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {
namespace {

using kernel::Reply;
using kernel::SyscallContext;

constexpr uint64_t kNewNamespaces =
    CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP;
constexpr uint64_t kNewTime = 0x80;  // CLONE_NEWTIME, in the exit signal's bits for clone: unshare only
constexpr size_t kTransferChunk = 64 * 1024;

Result<Reply> Fork(SyscallContext& context, uint64_t flags, const kernel::NewNamespaces& namespaces = {}) {
  if (context.kernel().options().max_tasks) {
    USL_TRY_VOID(context.kernel().Extension<kernel::InstanceLimits>().ChargeTask());
  }
  if (kernel::FastPath* fast = context.kernel().fast_path()) {
    fast->BeforeFork(context.task(), flags);
    if (namespaces.fs) fast->BeforeNamespaceFork(context.task(), *namespaces.fs);
  }
  USL_TRY_VOID(context.kernel().tasks().PrepareFork(context.task(), flags, namespaces));
  context.kernel().listener().placement().Release(context.task().tid());  // a child inherits the affinity
  return Reply::ContinueByRegisters();
}

// The process by whose number a call may continue: within the caller's own thread group always, else only where the
// host confines the guest to its own domain should the number be used again in between.
Result<Reply> ContinueOnProcess(SyscallContext& context, const kernel::Process& target) {
  if (&target == &context.process() || context.kernel().options().confined_by_host) {
    return Reply::ContinueByRegisters();
  }
  return Fail(EPERM);
}

// Copies between the caller (`local`) and another process without continuing the call.
Result<Reply> Transfer(SyscallContext& context, const kernel::Process& target, bool to_target) {
  if (context.Arg(5) != 0) return Fail(EINVAL);
  auto local = USL_TRY(context.memory().ReadIovecs(context.AddressArg(1), context.Arg(2)));
  auto remote = USL_TRY(context.memory().ReadIovecs(context.AddressArg(3), context.Arg(4)));
  platform::GuestMemory mine = context.memory();
  platform::GuestMemory other(target.pid());
  const auto& from = to_target ? local : remote;
  const auto& to = to_target ? remote : local;
  const platform::GuestMemory& from_memory = to_target ? mine : other;
  const platform::GuestMemory& to_memory = to_target ? other : mine;
  int64_t done = 0;
  std::vector<char> buffer(kTransferChunk);
  size_t i = 0, j = 0;
  uint64_t from_used = 0, to_used = 0;
  while (i < from.size() && j < to.size()) {
    uint64_t size = std::min({from[i].length - from_used, to[j].length - to_used, uint64_t{kTransferChunk}});
    if (size > 0) {
      auto copied = from_memory.Read(from[i].base + from_used, buffer.data(), size);
      if (copied) copied = to_memory.Write(to[j].base + to_used, buffer.data(), size);
      if (!copied) return done > 0 ? Result<Reply>(done) : Fail(copied.error());
      done += static_cast<int64_t>(size);
      from_used += size;
      to_used += size;
    }
    if (from_used == from[i].length) ++i, from_used = 0;
    if (to_used == to[j].length) ++j, to_used = 0;
  }
  return done;
}

Result<Reply> AccessMemory(SyscallContext& context, bool to_target) {
  Ref<kernel::Task> target = USL_TRY(TaskByPid(context.kernel(), context.task(), context.IntArg(0)));
  if (context.IntArg(0) == 0) return Fail(ESRCH);
  USL_TRY_VOID(CheckTrace(context.kernel(), context.task(), target->process()));
  if (&target->process() == &context.process()) return Reply::ContinueByRegisters();
  if (context.kernel().options().confined_by_host) {
    if (!context.credentials().Has(CAP_SYS_PTRACE)) target->process().within_reach = true;
    return Reply::ContinueByRegisters();
  }
  return Transfer(context, target->process(), to_target);
}

// EPERM, ENOSPC for user namespaces (as with user.max_user_namespaces = 0), EINVAL for those that an instance has one
// of.
Result<void> CheckNamespaceFlags(const SyscallContext& context, uint64_t flags) {
  if (flags & CLONE_NEWUSER) return Fail(ENOSPC);
  if (flags & kNewNamespaces & ~uint64_t{CLONE_NEWNS | CLONE_NEWUTS}) return Fail(EINVAL);
  if ((flags & kNewNamespaces) && !context.credentials().Has(CAP_SYS_ADMIN)) return Fail(EPERM);
  return {};
}

constexpr fs::ProcNamespace kKinds[] = {fs::ProcNamespace::kUser, fs::ProcNamespace::kCgroup, fs::ProcNamespace::kIpc,
                                        fs::ProcNamespace::kNet,  fs::ProcNamespace::kPid,    fs::ProcNamespace::kTime,
                                        fs::ProcNamespace::kUts,  fs::ProcNamespace::kMount};

uint64_t CloneFlagOf(fs::ProcNamespace kind) {
  switch (kind) {
    case fs::ProcNamespace::kCgroup: return CLONE_NEWCGROUP;
    case fs::ProcNamespace::kIpc: return CLONE_NEWIPC;
    case fs::ProcNamespace::kMount: return CLONE_NEWNS;
    case fs::ProcNamespace::kNet: return CLONE_NEWNET;
    case fs::ProcNamespace::kPid: return CLONE_NEWPID;
    case fs::ProcNamespace::kTime: return kNewTime;
    case fs::ProcNamespace::kUser: return CLONE_NEWUSER;
    case fs::ProcNamespace::kUts: return CLONE_NEWUTS;
  }
  return 0;
}

}  // namespace

// personality(2), where it turns the randomisation of addresses off: the next exec has to look.
Result<Reply> sys_personality(SyscallContext& context) {
  context.kernel().exec().MayHaveFixedAddresses();
  return Reply::ContinueByRegisters();
}

Result<Reply> sys_clone(SyscallContext& context) {
  const uint64_t flags = context.Arg(0) & 0xffffffff;
  const bool may_be_marked = context.Arg(0) != flags;
  if (!(flags & kNewNamespaces) && !may_be_marked) return Fork(context, flags);
  kernel::MarkedClones& marked = context.kernel().Extension<kernel::MarkedClones>();
  if (!(flags & kNewNamespaces)) return Fork(context, flags, marked.Take(context.task().tid(), context.Arg(0)));
  if ((flags & CLONE_NEWNS) && (flags & CLONE_FS)) return Fail(EINVAL);
  USL_TRY_VOID(CheckNamespaceFlags(context, flags));
  // A thread's names are its process's.
  if (flags & CLONE_THREAD) return Fail(EINVAL);
  USL_TRY_VOID(marked.StartOver(context, kernel::MakeNamespaces(context.task(), flags), flags & ~kNewNamespaces));
  return Reply::Answered();
}

Result<Reply> sys_fork(SyscallContext& context) {
  return Fork(context, 0);
}
Result<Reply> sys_vfork(SyscallContext& context) {
  return Fork(context, CLONE_VFORK | CLONE_VM);
}

Result<Reply> sys_getppid(SyscallContext& context) {
  return context.kernel().tasks().ParentOf(context.process());
}

Result<Reply> sys_setpgid(SyscallContext& context) {
  pid_t pid = context.IntArg(0);
  pid_t group = context.IntArg(1);
  if (group < 0) return Fail(EINVAL);
  // The host allows it for the caller and its children only, and only within the session, where all are guests.
  if (pid != 0 && pid != context.process().pid()) USL_TRY(ProcessByPid(context.kernel(), pid));
  return Reply::ContinueByRegisters();
}

Result<Reply> sys_getpgid(SyscallContext& context) {
  pid_t pid = context.IntArg(0);
  if (pid == 0) return Reply::ContinueByRegisters();
  Ref<kernel::Process> process = USL_TRY(ProcessByPid(context.kernel(), pid));
  if (process == context.kernel().tasks().init()) return 1;
  pid_t group = getpgid(process->pid());
  if (group < 0) return FailErrno();
  return group;
}

Result<Reply> sys_getsid(SyscallContext& context) {
  pid_t pid = context.IntArg(0);
  if (pid == 0) return Reply::ContinueByRegisters();
  Ref<kernel::Process> process = USL_TRY(ProcessByPid(context.kernel(), pid));
  if (process == context.kernel().tasks().init()) return 1;
  pid_t session = getsid(process->pid());
  if (session < 0) return FailErrno();
  return session;
}

Result<Reply> sys_unshare(SyscallContext& context) {
  uint64_t flags = context.Arg(0);
  constexpr uint64_t kShared = CLONE_FILES | CLONE_FS | CLONE_SYSVSEM;
  constexpr uint64_t kAlone = CLONE_THREAD | CLONE_VM | CLONE_SIGHAND;
  if (flags & ~(kShared | kAlone | kNewNamespaces | kNewTime)) return Fail(EINVAL);
  if (flags & kNewTime) return Fail(EINVAL);
  USL_TRY_VOID(CheckNamespaceFlags(context, flags));
  // The host's part cannot be passed on together with a new namespace, which would be a real one: refused before
  // anything has changed.
  const bool new_namespace = flags & (CLONE_NEWNS | CLONE_NEWUTS);
  if (new_namespace && (flags & (CLONE_FILES | CLONE_SYSVSEM | kAlone))) return Fail(EINVAL);
  kernel::NewNamespaces made = kernel::MakeNamespaces(context.task(), flags);
  if (made.fs) {
    context.task().SetFs(std::move(made.fs));
  } else if (flags & CLONE_FS) {
    context.task().SetFs(context.task().fs()->Clone());
  }
  if (made.uts) context.process().uts = std::move(made.uts);
  if (new_namespace) return 0;
  if (flags & CLONE_FILES) context.task().own_descriptors = true;
  return Reply::ContinueByRegisters();
}

Result<Reply> sys_setns(SyscallContext& context) {
  const uint64_t flags = context.UintArg(1);
  auto identified = USL_TRY(context.IdentifyFd(context.IntArg(0)));
  if (identified.identity.inode) {
    const auto object = fs::NamespaceOf(*identified.identity.inode);
    if (!object || (flags != 0 && flags != CloneFlagOf(object->kind))) return Fail(EINVAL);
    const Ref<kernel::Task> member = kernel::FindMember(context.kernel(), object->kind, object->number);
    if (!member) return Fail(EINVAL);  // its last process has gone
    return Done(kernel::JoinNamespace(context, *member, object->kind));
  }
  const auto process = kernel::ProcessOfPidfd(context.kernel(), identified.fd.get());
  if (!process) return Fail(process.error() == Error(EBADF) ? Error(EINVAL) : process.error());
  if (flags == 0 || (flags & ~(kNewNamespaces | kNewTime))) return Fail(EINVAL);
  const Ref<kernel::Task> member = USL_TRY(TaskByPid(context.kernel(), context.task(), (*process)->pid()));
  USL_TRY_VOID(CheckTrace(context.kernel(), context.task(), member->process()));
  for (const fs::ProcNamespace kind : kKinds) {
    if (flags & CloneFlagOf(kind)) USL_TRY_VOID(kernel::JoinNamespace(context, *member, kind));
  }
  return 0;
}

Result<Reply> sys_kcmp(SyscallContext& context) {
  for (int index : {0, 1}) {
    Ref<kernel::Task> task = USL_TRY(TaskByPid(context.kernel(), context.task(), context.IntArg(index)));
    if (context.IntArg(index) == 0) return Fail(ESRCH);
    USL_TRY_VOID(CheckTrace(context.kernel(), context.task(), task->process()));
    if (&task->process() != &context.process() && !context.kernel().options().confined_by_host) return Fail(EPERM);
  }
  return Reply::ContinueByRegisters();
}

Result<Reply> sys_process_vm_readv(SyscallContext& context) {
  return AccessMemory(context, false);
}
Result<Reply> sys_process_vm_writev(SyscallContext& context) {
  return AccessMemory(context, true);
}

Result<Reply> sys_get_robust_list(SyscallContext& context) {
  Ref<kernel::Task> task = USL_TRY(TaskByPid(context.kernel(), context.task(), context.IntArg(0)));
  USL_TRY_VOID(CheckTrace(context.kernel(), context.task(), task->process()));
  return ContinueOnProcess(context, task->process());
}

Result<Reply> sys_migrate_pages(SyscallContext& context) {
  return sys_get_robust_list(context);
}
Result<Reply> sys_move_pages(SyscallContext& context) {
  return sys_get_robust_list(context);
}

Result<Reply> sys_reboot(SyscallContext& context) {
  constexpr unsigned kMagic1 = 0xfee1dead;
  constexpr unsigned kMagic2[] = {672274793, 85072278, 369367448, 537993216};
  constexpr unsigned kHalt = 0xcdef0123, kPowerOff = 0x4321fedc, kRestart = 0x01234567, kRestart2 = 0xa1b2c3d4;
  constexpr unsigned kCadOn = 0x89abcdef, kCadOff = 0;
  if (!context.credentials().Has(CAP_SYS_BOOT)) return Fail(EPERM);
  if (context.UintArg(0) != kMagic1 || std::ranges::find(kMagic2, context.UintArg(1)) == std::end(kMagic2)) {
    return Fail(EINVAL);
  }
  switch (context.UintArg(2)) {
    case kCadOn:
    case kCadOff: context.kernel().ctrl_alt_del = context.UintArg(2) == kCadOn; return 0;
    case kHalt:
    case kPowerOff:
    case kRestart:
    // It never returns: everything of the instance is killed.
    case kRestart2: context.kernel().Halt(); return Reply::Answered();
    default: return Fail(EINVAL);
  }
}

}  // namespace usl::syscalls
