// unlink(2) and rmdir(2).
#include <sys/stat.h>

#include "vfs/path_walk.h"
#include "vfs/permission.h"

namespace usl::vfs {

// may_delete() of Linux.
Result<void> Vfs::CheckDelete(const Context& context, const Dentry& directory, const Dentry& victim,
                              bool directory_wanted) {
  if (victim.IsNegative()) return Fail(ENOENT);
  Inode& parent = *directory.inode();
  USL_TRY_VOID(CheckInodePermission(context.credentials, parent, kMayWrite | kMayExec));
  const Attributes parent_attributes = USL_TRY(parent.GetPermissions());
  if (parent_attributes.mode & S_ISVTX) {
    const Attributes victim_attributes = USL_TRY(victim.inode()->GetPermissions());
    if (StickyForbids(context.credentials, parent_attributes, victim_attributes)) return Fail(EPERM);
  }
  if (directory_wanted && !victim.inode()->IsDirectory()) return Fail(ENOTDIR);
  if (!directory_wanted && victim.inode()->IsDirectory()) return Fail(EISDIR);
  if (!directory.IsLinked()) return Fail(ENOENT);
  return {};
}

// is_local_mountpoint(): what is mounted in other namespaces only does not keep a name, and is unmounted there.
Result<void> Vfs::CheckNoMountOn(const Context& context, const Dentry& dentry) {
  if (!dentry.IsMountPoint()) return {};
  const MountNamespace* name_space = context.root.mount ? context.root.mount->name_space() : nullptr;
  if (!name_space || name_space->HasMountOn(dentry)) return Fail(EBUSY);
  return {};
}

Result<void> Vfs::Unlink(const Context& context, const Location& location) {
  PathWalker walker(*this, context, 0);
  USL_TRY_VOID(walker.WalkToParent(location));
  if (walker.last_type() != PathWalker::Last::kNormal) return Fail(EISDIR);
  const Path& parent = walker.parent();
  USL_TRY_VOID(CheckWritable(parent.mount.get()));
  auto victim = USL_TRY(LookupIn(context, parent.dentry, walker.last()));
  if (victim->IsNegative()) return Fail(ENOENT);
  if (walker.has_trailing_slash()) return Fail(victim->inode()->IsDirectory() ? EISDIR : ENOTDIR);
  USL_TRY_VOID(CheckDelete(context, *parent.dentry, *victim, false));
  USL_TRY_VOID(CheckNoMountOn(context, *victim));
  USL_TRY_VOID(parent.inode()->Unlink(victim->name(), *victim->inode()));
  MountNamespace::DetachFrom(*victim);
  dentries_.Unlink(*victim);
  return {};
}

Result<void> Vfs::RemoveDirectory(const Context& context, const Location& location) {
  PathWalker walker(*this, context, 0);
  USL_TRY_VOID(walker.WalkToParent(location));
  switch (walker.last_type()) {
    case PathWalker::Last::kDotDot: return Fail(ENOTEMPTY);
    case PathWalker::Last::kDot: return Fail(EINVAL);
    case PathWalker::Last::kRoot: return Fail(EBUSY);
    case PathWalker::Last::kNormal: break;
  }
  const Path& parent = walker.parent();
  USL_TRY_VOID(CheckWritable(parent.mount.get()));
  auto victim = USL_TRY(LookupIn(context, parent.dentry, walker.last()));
  USL_TRY_VOID(CheckDelete(context, *parent.dentry, *victim, true));
  USL_TRY_VOID(CheckNoMountOn(context, *victim));
  USL_TRY_VOID(parent.inode()->RemoveDirectory(victim->name(), *victim->inode()));
  MountNamespace::DetachFrom(*victim);
  dentries_.Unlink(*victim);
  return {};
}

}  // namespace usl::vfs
