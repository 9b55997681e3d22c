#include "kernel/namespaces.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/random.h>

#include <algorithm>
#include <map>

#include "kernel/kernel.h"
#include "kernel/mount_use.h"
#include "platform/exec_redirect.h"

namespace usl::kernel {
namespace {

// As the numbers of the initial namespaces in include/linux/proc_ns.h of Linux.
uint64_t InitialNamespace(fs::ProcNamespace kind) {
  switch (kind) {
    case fs::ProcNamespace::kTime: return 0xEFFFFFFA;
    case fs::ProcNamespace::kCgroup: return 0xEFFFFFFB;
    case fs::ProcNamespace::kPid: return 0xEFFFFFFC;
    case fs::ProcNamespace::kUser: return 0xEFFFFFFD;
    case fs::ProcNamespace::kUts: return 0xEFFFFFFE;
    case fs::ProcNamespace::kIpc: return 0xEFFFFFFF;
    case fs::ProcNamespace::kNet: return 0xF0000000;
    case fs::ProcNamespace::kMount: return 0xF0000001;
  }
  return 0;
}

Result<void> JoinMounts(const SyscallContext& context, const Task& member) {
  Task& self = context.task();
  for (const Ref<Task>& other : ListTasks(context.kernel())) {
    if (other.get() != &self && other->fs() == self.fs()) return Fail(EINVAL);
  }
  Ref<FsContext> fs = self.fs()->Clone();
  fs->mounts = member.fs()->mounts;
  fs->root = vfs::Path{fs->mounts->root(), fs->mounts->root()->root()};
  vfs::FollowMounts(fs->root);
  fs->cwd = fs->root;
  self.SetFs(std::move(fs));
  return {};
}

}  // namespace

Ref<FsContext> CloneWithMounts(const FsContext& fs) {
  Ref<FsContext> own = fs.Clone();
  std::map<const vfs::Mount*, Ref<vfs::Mount>> copies;
  own->mounts = fs.mounts->Clone(copies);
  for (vfs::Path* path : {&own->root, &own->cwd}) {
    if (auto copy = copies.find(path->mount.get()); copy != copies.end()) path->mount = copy->second;
  }
  return own;
}

NewNamespaces MakeNamespaces(const Task& task, uint64_t flags) {
  NewNamespaces made;
  if (flags & CLONE_NEWNS) made.fs = CloneWithMounts(*task.fs());
  if (flags & CLONE_NEWUTS) {
    made.uts = MakeRef<UtsNames>();
    made.uts->node_name = task.process().uts->node_name;
    made.uts->domain_name = task.process().uts->domain_name;
  }
  return made;
}

uint64_t NamespaceNumber(Kernel& kernel, const Task& task, fs::ProcNamespace kind) {
  const Ref<Process>& init = kernel.tasks().init();
  const Ref<Task> first = init ? kernel.tasks().FindTask(init->pid()) : nullptr;
  if (first && kind == fs::ProcNamespace::kMount && task.fs()->mounts != first->fs()->mounts) {
    return task.fs()->mounts->id();
  }
  if (first && kind == fs::ProcNamespace::kUts && task.process().uts != init->uts) return task.process().uts->id;
  return InitialNamespace(kind);
}

Ref<Task> FindMember(Kernel& kernel, fs::ProcNamespace kind, uint64_t number) {
  for (const Ref<Task>& task : ListTasks(kernel)) {
    if (NamespaceNumber(kernel, *task, kind) == number) return task;
  }
  return nullptr;
}

Result<void> JoinNamespace(const SyscallContext& context, const Task& member, fs::ProcNamespace kind) {
  if (kind == fs::ProcNamespace::kUser) return Fail(EINVAL);  // the caller's own, as of an ordinary setns(2)
  const cred::Credentials& credentials = context.credentials();
  if (!credentials.Has(CAP_SYS_ADMIN)) return Fail(EPERM);
  if (kind == fs::ProcNamespace::kMount) {
    if (!credentials.Has(CAP_SYS_CHROOT)) return Fail(EPERM);
    return JoinMounts(context, member);
  }
  if (kind == fs::ProcNamespace::kUts) context.process().uts = member.process().uts;
  return {};
}

MarkedClones::MarkedClones(Kernel& kernel) : kernel_(kernel) {
  kernel.OnProcessExit([this](Process& process) {
    pending_.erase(process.pid());
    for (pid_t tid : process.threads()) pending_.erase(tid);
  });
}

Result<void> MarkedClones::StartOver(const SyscallContext& context, NewNamespaces namespaces, uint64_t flags) {
  uint32_t mark = 0;
  while (mark == 0) {
    if (getrandom(&mark, sizeof mark, 0) != sizeof mark) return FailErrno();
  }
  const uint64_t argument = (uint64_t{mark} << 32) | (flags & 0xffffffff);
  // The second call cannot be served before this one is: the kernel lock is held.
  auto repeated = platform::RepeatCall(kernel_.listener(), context.notification(), argument);
  if (!repeated && repeated.error() != Error(ESRCH)) return Fail(EINVAL);
  if (repeated) pending_[context.task().tid()] = Pending{argument, std::move(namespaces)};
  return {};
}

NewNamespaces MarkedClones::Take(pid_t tid, uint64_t argument) {
  const auto found = pending_.find(tid);
  if (found == pending_.end() || found->second.argument != argument) return {};
  NewNamespaces namespaces = std::move(found->second.namespaces);
  pending_.erase(found);
  return namespaces;
}

}  // namespace usl::kernel
