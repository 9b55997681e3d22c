// The mount table of the instance: mount(2), umount2(2), pivot_root(2). Order of checks as in Linux's fs/namespace.c.
#include <linux/capability.h>
#include <sys/mount.h>

#include "kernel/kernel.h"
#include "kernel/mount_use.h"
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/mount_flags.h"

namespace usl::syscalls {
namespace {

constexpr size_t kMaxMountText = 4095;  // a page with its NUL
constexpr int kUmountNoFollow = 8;      // UMOUNT_NOFOLLOW
constexpr unsigned long kNoUser = 1ul << 31;

Result<std::string> OptionalText(const SyscallContext& context, int index) {
  if (context.AddressArg(index).is_null()) return std::string();
  return ReadText(context, context.AddressArg(index), kMaxMountText, EINVAL);
}

vfs::MountNamespace& Mounts(const SyscallContext& context) {
  return *context.task().fs()->mounts;
}

// EINVAL for none. The source of a bind or a move is a path of the guest.
Result<vfs::Path> SourcePath(const SyscallContext& context, const std::string& source) {
  if (source.empty()) return Fail(EINVAL);
  return context.vfs().Walk(context.FsView(), {context.task().fs()->cwd, source}, 0);
}

Result<Reply> MountNew(SyscallContext& context, const vfs::Path& target, unsigned long flags,
                       const kernel::MountRequest& request, const std::string& type) {
  if (context.AddressArg(2).is_null()) return Fail(EINVAL);
  Ref<vfs::FileSystem> file_system = USL_TRY(context.kernel().mount_types().Make(type, request));
  // What is mounted elsewhere already stays as it is there.
  if (file_system->mount_count() == 0 && (flags & MS_RDONLY)) file_system->SetReadOnly(true);
  context.vfs().Register(file_system);
  Ref<vfs::Dentry> root = context.vfs().RootDentry(file_system);
  auto attached = Mounts(context).Attach(target, std::move(file_system), std::move(root), request.flags);
  if (!attached) {
    context.vfs().CollectUnused();
    return Fail(attached.error());
  }
  return 0;
}

// do_remount(): the file system's own options and whether it is read-only, and the flags of this mount.
Result<void> Remount(SyscallContext& context, const vfs::Path& target, unsigned long flags,
                     const std::string& options) {
  if (!vfs::IsMountRoot(target) || target.mount->name_space() != &Mounts(context)) return Fail(EINVAL);
  const unsigned after = RemountFlags(flags, target.mount->flags());
  vfs::FileSystem& file_system = target.mount->file_system();
  if (!(flags & MS_BIND)) {
    const bool read_only = flags & MS_RDONLY;
    const bool may_deny = !file_system.is_set_read_only() && !file_system.IsReadOnly();
    if (read_only && may_deny && kernel::IsFileSystemWritten(context.kernel(), file_system)) return Fail(EBUSY);
    USL_TRY_VOID(file_system.Reconfigure(options));
    file_system.SetReadOnly(read_only);
  } else if ((after & MS_RDONLY) && !target.mount->IsReadOnly() &&
             kernel::IsMountWritten(context.kernel(), *target.mount)) {
    return Fail(EBUSY);
  }
  return Mounts(context).Remount(target, after);
}

Result<Reply> SetPropagation(SyscallContext& context, const vfs::Path& target, unsigned long flags) {
  const unsigned type = PropagationType(flags);
  if (type == 0) return Fail(EINVAL);
  return Done(Mounts(context).SetPropagation(target, type, (flags & MS_REC) != 0));
}

// After pivot_root: who had the old root as root or working directory gets the new one (chroot_fs_refs of Linux).
void MoveRoots(const SyscallContext& context, const vfs::Path& old_root, const vfs::Path& new_root) {
  for (const Ref<kernel::Task>& task : kernel::ListTasks(context.kernel())) {
    kernel::FsContext& fs = *task->fs();
    if (fs.root == old_root) fs.root = new_root;
    if (fs.cwd == old_root) fs.cwd = new_root;
  }
}

}  // namespace

Result<Reply> sys_mount(SyscallContext& context) {
  const unsigned long flags = StripMagic(context.Arg(3));
  const std::string type = USL_TRY(OptionalText(context, 2));
  const std::string source = USL_TRY(OptionalText(context, 0));
  const bool has_options = !(flags & MS_BIND) && (flags & MS_REMOUNT || !(flags & (kPropagationFlags | MS_MOVE)));
  const std::string options = has_options ? USL_TRY(OptionalText(context, 4)) : std::string();
  const PathArgument argument = USL_TRY(ReadPath(context, kNoDirfd, 1));
  const vfs::Context view = context.FsView();
  const vfs::Path target = USL_TRY(context.vfs().Walk(view, argument.location(), 0));
  if (flags & kNoUser) return Fail(EINVAL);
  USL_TRY_VOID(RequireCapability(context, CAP_SYS_ADMIN));
  // In Linux's order: a call with several of these bits means the first.
  if (flags & MS_REMOUNT) return Done(Remount(context, target, flags, options));
  if (flags & MS_BIND) {
    const vfs::Path from = USL_TRY(SourcePath(context, source));
    USL_TRY(Mounts(context).Bind(from, target, (flags & MS_REC) != 0));
    return 0;
  }
  if (flags & kPropagationFlags) return SetPropagation(context, target, flags);
  if (flags & MS_MOVE) return Done(Mounts(context).Move(USL_TRY(SourcePath(context, source)), target));
  const kernel::MountRequest request{.view = view, .source = source, .options = options, .flags = NewMountFlags(flags)};
  return MountNew(context, target, flags, request, type);
}

Result<Reply> sys_umount2(SyscallContext& context) {
  const int flags = context.IntArg(1);
  if (flags & ~(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | kUmountNoFollow)) return Fail(EINVAL);
  const PathArgument argument = USL_TRY(ReadPath(context, kNoDirfd, 0));
  const unsigned walk = flags & kUmountNoFollow ? unsigned{vfs::Vfs::kNoFollow} : 0u;
  vfs::Path target = USL_TRY(context.vfs().Walk(context.FsView(), argument.location(), walk));
  USL_TRY_VOID(RequireCapability(context, CAP_SYS_ADMIN));
  if (!vfs::IsMountRoot(target) || target.mount->name_space() != &Mounts(context)) return Fail(EINVAL);
  const bool is_own_root = target.mount == context.task().fs()->root.mount;
  if ((flags & MNT_EXPIRE) && (is_own_root || (flags & (MNT_FORCE | MNT_DETACH)))) return Fail(EINVAL);
  // Whoever unmounts its root has it made read-only, as at shutdown.
  if (is_own_root && !(flags & MNT_DETACH)) {
    vfs::FileSystem& file_system = target.mount->file_system();
    if (!file_system.is_set_read_only() && kernel::IsFileSystemWritten(context.kernel(), file_system)) {
      return Fail(EBUSY);
    }
    file_system.SetReadOnly(true);
    return 0;
  }
  USL_TRY_VOID(Mounts(context).Detach(
      target, flags, [&](const vfs::Mount& mount) { return kernel::IsMountInUse(context.kernel(), mount); }));
  target = {};
  context.vfs().CollectUnused();
  return 0;
}

Result<Reply> sys_pivot_root(SyscallContext& context) {
  USL_TRY_VOID(RequireCapability(context, CAP_SYS_ADMIN));
  const PathArgument new_argument = USL_TRY(ReadPath(context, kNoDirfd, 0));
  const vfs::Context view = context.FsView();
  const vfs::Path new_root = USL_TRY(context.vfs().Walk(view, new_argument.location(), vfs::Vfs::kDirectory));
  const PathArgument old_argument = USL_TRY(ReadPath(context, kNoDirfd, 1));
  const vfs::Path put_old = USL_TRY(context.vfs().Walk(view, old_argument.location(), vfs::Vfs::kDirectory));
  const vfs::Path old_root = context.task().fs()->root;
  USL_TRY_VOID(Mounts(context).Pivot(new_root, put_old, old_root));
  MoveRoots(context, old_root, new_root);
  return 0;
}

}  // namespace usl::syscalls
