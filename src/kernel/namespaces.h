// The namespaces that instances have more than one of: mounts and names (namespaces(7)). All are virtual; the host is
// never asked for one.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <unordered_map>

#include "fs/proc_source.h"
#include "kernel/fs_context.h"
#include "kernel/task.h"
#include "kernel/uts.h"

namespace usl::kernel {

class Kernel;
class SyscallContext;

// What a child starts with instead of its parent's; null = the parent's.
struct NewNamespaces {
  Ref<FsContext> fs;
  Ref<UtsNames> uts;
};

// A copy with mounts of its own: root and working directory are the same places in the new namespace.
Ref<FsContext> CloneWithMounts(const FsContext& fs);
// As CLONE_NEWNS and CLONE_NEWUTS of `flags` ask.
NewNamespaces MakeNamespaces(const Task& task, uint64_t flags);

// The number of a task's namespace, as in /proc/PID/ns: that of the initial one, or its own.
uint64_t NamespaceNumber(Kernel& kernel, const Task& task, fs::ProcNamespace kind);
// A task that lives in the namespace of this number, or null.
Ref<Task> FindMember(Kernel& kernel, fs::ProcNamespace kind, uint64_t number);
// setns(2) to a namespace of `member`'s, which the caller may enter. EPERM without the capabilities that the kind
// needs; EINVAL for a user namespace, and for mounts while other threads share root and working directory. The kinds
// that an instance has one of are the caller's already.
Result<void> JoinNamespace(const SyscallContext& context, const Task& member, fs::ProcNamespace kind);

// clone(2) with CLONE_NEWNS or CLONE_NEWUTS: the host must not see these flags, so the task is made to call clone again
// without them, with a mark in the upper half of the argument, which the host ignores. Guarded by the kernel lock.
class MarkedClones {
 public:
  explicit MarkedClones(Kernel& kernel);
  // Makes the caller start over with the flags that are left; the reply is then given. EINVAL where that cannot be done
  // (a debugger traces the task).
  Result<void> StartOver(const SyscallContext& context, NewNamespaces namespaces, uint64_t flags);
  // What the second call of `tid` is to start with; nothing for a call without a mark.
  NewNamespaces Take(pid_t tid, uint64_t argument);

 private:
  struct Pending {
    uint64_t argument;
    NewNamespaces namespaces;
  };
  Kernel& kernel_;
  std::unordered_map<pid_t, Pending> pending_;
};

}  // namespace usl::kernel
