// What the system is and does as a whole, and the calls of administration that an instance has nothing for.
#include <linux/capability.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <set>

#include "kernel/kernel.h"
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {
namespace {

Result<void> SyncFileSystem(vfs::FileSystem& file_system) {
  // It opens a BlockingScope of its own, over which the file system must live.
  const Ref<vfs::FileSystem> held(&file_system);
  return held->Sync();
}

}  // namespace

Result<Reply> sys_sysinfo(SyscallContext& context) {
  struct sysinfo info {};
  if (sysinfo(&info) < 0) return FailErrno();
  const auto processes = context.kernel().tasks().List().size();
  info.procs = static_cast<unsigned short>(std::min<size_t>(processes, 0xffff));
  USL_TRY_VOID(context.CopyOut(0, info));
  return 0;
}

Result<Reply> sys_sync(SyscallContext& context) {
  std::set<vfs::FileSystem*> done;
  for (const Ref<vfs::Mount>& mount : context.task().fs()->mounts->List()) {
    // sync(2) never fails; each file system reports its own errors in the log.
    if (done.insert(&mount->file_system()).second) (void)SyncFileSystem(mount->file_system());
  }
  return 0;
}

Result<Reply> sys_syncfs(SyscallContext& context) {
  const Target target = USL_TRY(TargetByFd(context, context.IntArg(0), false));
  if (target.IsNative()) return 0;
  return Done(SyncFileSystem(target.file.inode->file_system()));
}

Result<Reply> sys_acct(SyscallContext& context) {
  USL_TRY_VOID(RequireCapability(context, CAP_SYS_PACCT));
  return Fail(ENOSYS);
}

Result<Reply> sys_swapon(SyscallContext&) {
  return Fail(EPERM);
}
Result<Reply> sys_swapoff(SyscallContext&) {
  return Fail(EPERM);
}

Result<Reply> sys_quotactl(SyscallContext&) {
  return Fail(ENOSYS);
}
Result<Reply> sys_quotactl_fd(SyscallContext&) {
  return Fail(ENOSYS);
}

Result<Reply> sys_vhangup(SyscallContext& context) {
  // Hanging up the host's terminal would take it from the user; programs use it to clean a line before a login.
  return Done(RequireCapability(context, CAP_SYS_TTY_CONFIG));
}

}  // namespace usl::syscalls
