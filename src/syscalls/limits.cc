// Resource limits: getrlimit(2), setrlimit(2), prlimit(2).
//
// The host's hard limits are left alone, as a lowered one could not rise again for guest root. A guest's setting is
// kept in the process's record; its soft part is what the host enforces, as far as the host's hard limit goes.
#include <linux/capability.h>
#include <sys/resource.h>

#include <algorithm>

#include "kernel/kernel.h"
#include "kernel/process_access.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {
namespace {

using kernel::Process;
using kernel::Reply;
using kernel::SyscallContext;

// Kept and shown, not enforced by the host: core files stay off, locks hold the task token, and the host counts the
// processes of its own user, not of the guest's.
bool IsVirtual(unsigned resource) {
  return resource == RLIMIT_CORE || resource == RLIMIT_LOCKS || resource == RLIMIT_NPROC;
}

Result<rlimit> GetLimit(const Process& process, unsigned resource) {
  if (process.limits[resource]) return *process.limits[resource];
  if (resource == RLIMIT_CORE) return rlimit{0, RLIM_INFINITY};
  if (resource == RLIMIT_LOCKS) return rlimit{RLIM_INFINITY, RLIM_INFINITY};
  rlimit limit;
  if (prlimit(process.pid(), static_cast<__rlimit_resource>(resource), nullptr, &limit) < 0) return FailErrno();
  return limit;
}

Result<void> SetLimit(SyscallContext& context, Process& process, unsigned resource, const rlimit& wanted) {
  if (wanted.rlim_cur > wanted.rlim_max) return Fail(EINVAL);
  rlimit before = USL_TRY(GetLimit(process, resource));
  if (wanted.rlim_max > before.rlim_max && !context.credentials().Has(CAP_SYS_RESOURCE)) return Fail(EPERM);
  if (resource == RLIMIT_NOFILE && wanted.rlim_max > (1u << 20)) return Fail(EPERM);  // fs.nr_open
  if (!IsVirtual(resource)) {
    auto which = static_cast<__rlimit_resource>(resource);
    rlimit host;
    if (prlimit(process.pid(), which, nullptr, &host) < 0) return FailErrno();
    host.rlim_cur = std::min(wanted.rlim_cur, host.rlim_max);
    if (prlimit(process.pid(), which, &host, nullptr) < 0) return FailErrno();
  }
  process.limits[resource] = wanted;
  return {};
}

// prlimit(2): another process's limits take the same real and effective ids, or CAP_SYS_RESOURCE.
Result<void> CheckLimitAccess(SyscallContext& context, const Process& target) {
  const cred::Credentials& mine = context.credentials();
  if (&target == &context.process() || mine.Has(CAP_SYS_RESOURCE)) return {};
  cred::CredentialsRef other = CredentialsOf(context.kernel(), target);
  bool same_user = mine.uid == other->uid && mine.uid == other->euid && mine.uid == other->suid;
  bool same_group = mine.gid == other->gid && mine.gid == other->egid && mine.gid == other->sgid;
  if (same_user && same_group) return {};
  return Fail(EPERM);
}

Result<Reply> Limit(SyscallContext& context, Process& process, unsigned resource, int new_index, int old_index) {
  if (resource >= RLIM_NLIMITS) return Fail(EINVAL);
  bool sets = new_index >= 0 && context.Arg(new_index) != 0;
  bool gets = old_index >= 0 && context.Arg(old_index) != 0;
  rlimit wanted{};
  if (sets) wanted = USL_TRY(context.memory().ReadObject<rlimit>(context.AddressArg(new_index)));
  USL_TRY_VOID(CheckLimitAccess(context, process));
  rlimit before = USL_TRY(GetLimit(process, resource));
  if (sets) USL_TRY_VOID(SetLimit(context, process, resource, wanted));
  if (gets) USL_TRY_VOID(context.CopyOut(old_index, before));
  return 0;
}

}  // namespace

Result<Reply> sys_getrlimit(SyscallContext& context) {
  if (context.Arg(1) == 0) return Fail(EFAULT);
  return Limit(context, context.process(), context.UintArg(0), -1, 1);
}

Result<Reply> sys_setrlimit(SyscallContext& context) {
  if (context.Arg(1) == 0) return Fail(EFAULT);
  return Limit(context, context.process(), context.UintArg(0), 1, -1);
}

Result<Reply> sys_prlimit64(SyscallContext& context) {
  pid_t pid = context.IntArg(0);
  if (context.UintArg(1) >= RLIM_NLIMITS) return Fail(EINVAL);
  Ref<kernel::Task> target = USL_TRY(TaskByPid(context.kernel(), context.task(), pid));
  return Limit(context, target->process(), context.UintArg(1), 2, 3);
}

}  // namespace usl::syscalls
