// Who may do what to which process: the guest's own rules (kill(2), ptrace(2), setpriority(2), prlimit(2)). All the
// processes named here are the instance's; whatever is not in the task table does not exist for the guest.
#pragma once

#include <sys/types.h>

#include <functional>
#include <vector>

#include "base/result.h"
#include "kernel/kernel.h"
#include "kernel/task.h"

namespace usl::kernel {

// The task that `pid` names for `caller`; 0 is the caller itself. ESRCH.
Result<Ref<Task>> TaskByPid(Kernel& kernel, Task& caller, pid_t pid);
// The same for a process (a thread group leader's number). ESRCH.
Result<Ref<Process>> ProcessByPid(Kernel& kernel, pid_t pid);
// The process of a pidfd, by its fdinfo: ESRCH when it is gone or none of the instance; EBADF when it is no pidfd.
Result<Ref<Process>> ProcessOfPidfd(Kernel& kernel, int pidfd);
// The credentials of a process: its leader's. Root's for one that cannot be found any more, so that nobody may touch
// it.
cred::CredentialsRef CredentialsOf(Kernel& kernel, const Process& process);

// kill(2): EPERM. `signal` matters for SIGCONT within a session.
Result<void> CheckSignal(Kernel& kernel, Task& sender, const Process& target, int signal);
// ptrace_may_access with PTRACE_MODE_ATTACH_REALCREDS: EPERM.
Result<void> CheckTrace(Kernel& kernel, Task& caller, const Process& target);
// Changing the scheduling of another: same effective user as the target's real or effective one, or CAP_SYS_NICE.
// EPERM.
Result<void> CheckSchedule(Kernel& kernel, Task& caller, const Process& target);

// The instance's processes whose process group is `group`.
std::vector<Ref<Process>> ProcessesInGroup(Kernel& kernel, pid_t group);

// Sends `signal` to a process or (tid > 0) one thread of it, by the pidfd, so never to another that got its number.
Result<void> SendSignal(Kernel& kernel, Task& sender, const Process& target, pid_t tid, int signal);

}  // namespace usl::kernel
