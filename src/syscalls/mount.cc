// The mount table of the instance.
#include <linux/capability.h>
#include <sys/mount.h>

#include "kernel/kernel.h"
#include "kernel/mount_types.h"
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/mount_flags.h"

namespace usl::syscalls {
namespace {

constexpr size_t kMaxMountText = 4095;  // a page with its NUL
constexpr int kUmountNoFollow = 8;      // UMOUNT_NOFOLLOW

Result<std::string> OptionalText(const SyscallContext& context, int index) {
  if (context.AddressArg(index).is_null()) return std::string();
  return ReadText(context, context.AddressArg(index), kMaxMountText, EINVAL);
}

Result<vfs::Path> WalkTo(const SyscallContext& context, const std::string& text, unsigned flags = 0) {
  return context.vfs().Walk(context.FsView(), {context.task().fs()->cwd, text}, flags);
}

vfs::MountNamespace& Mounts(const SyscallContext& context) {
  return *context.task().fs()->mounts;
}

Result<Reply> MountNew(SyscallContext& context, const vfs::Path& target, unsigned long flags) {
  if (context.AddressArg(2).is_null()) return Fail(EINVAL);
  const std::string type = USL_TRY(ReadText(context, context.AddressArg(2), kMaxMountText, EINVAL));
  const vfs::Context view = context.FsView();
  const kernel::MountRequest request{.view = view,
                                     .source = USL_TRY(OptionalText(context, 0)),
                                     .options = USL_TRY(OptionalText(context, 4)),
                                     .flags = NewMountFlags(flags)};
  Ref<vfs::FileSystem> file_system = USL_TRY(context.kernel().mount_types().Make(type, request));
  context.vfs().Register(file_system);
  Ref<vfs::Dentry> root = context.vfs().RootDentry(file_system);
  auto attached = Mounts(context).Attach(target, std::move(file_system), std::move(root), request.flags);
  if (!attached) {
    context.vfs().CollectUnused();
    return Fail(attached.error());
  }
  return 0;
}

Result<Reply> Bind(SyscallContext& context, const vfs::Path& target, unsigned long flags) {
  const std::string source = USL_TRY(OptionalText(context, 0));
  if (source.empty()) return Fail(context.AddressArg(0).is_null() ? EINVAL : ENOENT);
  const vfs::Path from = USL_TRY(WalkTo(context, source));
  USL_TRY(Mounts(context).Bind(from, target, (flags & MS_REC) != 0));
  return 0;
}

Result<Reply> Move(SyscallContext& context, const vfs::Path& target) {
  const std::string source = USL_TRY(OptionalText(context, 0));
  if (source.empty()) return Fail(context.AddressArg(0).is_null() ? EINVAL : ENOENT);
  return Done(Mounts(context).Move(USL_TRY(WalkTo(context, source)), target));
}

Result<Reply> SetPropagation(SyscallContext& context, const vfs::Path& target, unsigned long flags) {
  const unsigned type = PropagationType(flags);
  if (type == 0) return Fail(EINVAL);
  return Done(Mounts(context).SetPropagation(target, type, (flags & MS_REC) != 0));
}

// Is the mount somebody's root or working directory? Its open files are the host's and are not known here.
bool IsInUse(const SyscallContext& context, const vfs::Mount& mount) {
  kernel::TaskTable& tasks = context.kernel().tasks();
  for (const Ref<kernel::Process>& process : tasks.List()) {
    const Ref<kernel::Task> task = tasks.FindTask(process->pid());
    if (!task) continue;
    const kernel::FsContext& fs = *task->fs();
    if (fs.cwd.mount.get() == &mount || fs.root.mount.get() == &mount) return true;
  }
  return false;
}

// After pivot_root: who had the old root as root or working directory gets the new one (chroot_fs_refs of Linux).
void MoveRoots(const SyscallContext& context, const vfs::Path& old_root, const vfs::Path& new_root) {
  kernel::TaskTable& tasks = context.kernel().tasks();
  for (const Ref<kernel::Process>& process : tasks.List()) {
    const Ref<kernel::Task> task = tasks.FindTask(process->pid());
    if (!task || task->fs()->mounts != context.task().fs()->mounts) continue;
    if (task->fs()->root == old_root) task->fs()->root = new_root;
    if (task->fs()->cwd == old_root) task->fs()->cwd = new_root;
  }
}

}  // namespace

Result<Reply> sys_mount(SyscallContext& context) {
  const unsigned long flags = StripMagic(context.Arg(3));
  const PathArgument argument = USL_TRY(ReadPath(context, kNoDirfd, 1));
  const vfs::Path target = USL_TRY(context.vfs().Walk(context.FsView(), argument.location(), 0));
  USL_TRY_VOID(RequireCapability(context, CAP_SYS_ADMIN));
  // In Linux's order: a call with several of these bits means the first.
  if (flags & MS_REMOUNT) {
    return Done(Mounts(context).Remount(target, RemountFlags(flags, target.mount->flags())));
  }
  if (flags & MS_BIND) return Bind(context, target, flags);
  if (flags & kPropagationFlags) return SetPropagation(context, target, flags);
  if (flags & MS_MOVE) return Move(context, target);
  return MountNew(context, target, flags);
}

Result<Reply> sys_umount2(SyscallContext& context) {
  const int flags = context.IntArg(1);
  if (flags & ~(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | kUmountNoFollow)) return Fail(EINVAL);
  const PathArgument argument = USL_TRY(ReadPath(context, kNoDirfd, 0));
  const unsigned walk = flags & kUmountNoFollow ? unsigned{vfs::Vfs::kNoFollow} : 0u;
  const vfs::Path target = USL_TRY(context.vfs().Walk(context.FsView(), argument.location(), walk));
  USL_TRY_VOID(RequireCapability(context, CAP_SYS_ADMIN));
  if ((flags & MNT_EXPIRE) && (flags & (MNT_FORCE | MNT_DETACH))) return Fail(EINVAL);
  const bool busy = IsInUse(context, *target.mount);
  USL_TRY_VOID(Mounts(context).Detach(target, flags, busy));
  context.vfs().CollectUnused();
  return 0;
}

Result<Reply> sys_pivot_root(SyscallContext& context) {
  USL_TRY_VOID(RequireCapability(context, CAP_SYS_ADMIN));
  const PathArgument new_argument = USL_TRY(ReadPath(context, kNoDirfd, 0));
  const PathArgument old_argument = USL_TRY(ReadPath(context, kNoDirfd, 1));
  const vfs::Context view = context.FsView();
  const vfs::Path new_root = USL_TRY(context.vfs().Walk(view, new_argument.location(), vfs::Vfs::kDirectory));
  const vfs::Path put_old = USL_TRY(context.vfs().Walk(view, old_argument.location(), vfs::Vfs::kDirectory));
  const vfs::Path old_root = context.task().fs()->root;
  USL_TRY_VOID(Mounts(context).Pivot(new_root, put_old, old_root));
  MoveRoots(context, old_root, new_root);
  return 0;
}

}  // namespace usl::syscalls
