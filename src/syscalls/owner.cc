#include "syscalls/owner.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <unistd.h>

#include "kernel/kernel.h"

namespace usl::syscalls {
namespace {

bool MaySignal(const cred::Credentials& sender, const cred::Credentials& target) {
  return sender.Has(CAP_KILL) || sender.euid == target.suid || sender.euid == target.uid || sender.uid == target.suid ||
         sender.uid == target.uid;
}

// A group whose members are the instance's: sessions of the guest never share one with the host.
Ref<kernel::Task> FindInGroup(kernel::TaskTable& tasks, pid_t group) {
  for (const Ref<kernel::Process>& process : tasks.List()) {
    if (getpgid(process->pid()) != group) continue;
    if (Ref<kernel::Task> task = tasks.FindTask(process->pid())) return task;
  }
  return nullptr;
}

__pid_type NativeKind(OwnerKind kind) {
  switch (kind) {
    case OwnerKind::kThread: return F_OWNER_TID;
    case OwnerKind::kProcess: return F_OWNER_PID;
    case OwnerKind::kGroup: return F_OWNER_PGRP;
  }
  return F_OWNER_PID;
}

}  // namespace

Result<Owner> DecodeOwner(int pid) {
  if (pid == INT_MIN) return Fail(EINVAL);
  if (pid < 0) return Owner{OwnerKind::kGroup, -pid};
  return Owner{OwnerKind::kProcess, pid};
}

Result<void> SetOwner(const SyscallContext& context, const UniqueFd& fd, const Owner& owner) {
  f_owner_ex native{NativeKind(owner.kind), owner.id};
  if (owner.id != 0) {
    kernel::TaskTable& tasks = context.kernel().tasks();
    const Ref<kernel::Task> target =
        owner.kind == OwnerKind::kGroup ? FindInGroup(tasks, owner.id) : tasks.FindTask(owner.id);
    if (!target) return Fail(ESRCH);
    if (!MaySignal(context.credentials(), target->credentials())) native.pid = 0;
    if (fcntl(fd.get(), F_SETOWN_EX, &native) < 0) return FailErrno();
    // The host keeps the process itself, not its number. If it ended meanwhile, the number may be a stranger's.
    if (target->process().IsAlive()) return {};
    native.pid = 0;
  }
  if (fcntl(fd.get(), F_SETOWN_EX, &native) < 0) return FailErrno();
  return {};
}

Result<void> EnsureOwner(const SyscallContext& context, const UniqueFd& fd) {
  f_owner_ex owner{};
  if (fcntl(fd.get(), F_GETOWN_EX, &owner) < 0) return FailErrno();
  if (owner.pid != 0) return {};
  return SetOwner(context, fd, {OwnerKind::kProcess, context.process().pid()});
}

}  // namespace usl::syscalls
