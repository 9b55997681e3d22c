// rename(2) and renameat2(2).
#include <linux/fs.h>
#include <sys/stat.h>

#include "vfs/create.h"
#include "vfs/path_walk.h"
#include "vfs/permission.h"

namespace usl::vfs {

namespace {

constexpr unsigned kKnownFlags = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;

bool IsDirectory(const Dentry& dentry) {
  return dentry.inode() && dentry.inode()->IsDirectory();
}

// The rules that look at names and places alone, in the order of do_renameat2().
Result<void> CheckPlaces(const PathWalker& from, const PathWalker& to, const Dentry& source, const Dentry& target,
                         unsigned flags) {
  const bool exchange = flags & RENAME_EXCHANGE;
  if (source.IsNegative()) return Fail(ENOENT);
  if ((flags & RENAME_NOREPLACE) && !target.IsNegative()) return Fail(EEXIST);
  if (exchange) {
    if (target.IsNegative()) return Fail(ENOENT);
    if (!IsDirectory(target) && to.has_trailing_slash()) return Fail(ENOTDIR);
  }
  if (!IsDirectory(source)) {
    if (from.has_trailing_slash()) return Fail(ENOTDIR);
    if (!exchange && to.has_trailing_slash()) return Fail(ENOTDIR);
  }
  if (to.parent().dentry->IsBelow(source)) return Fail(EINVAL);
  if (!target.IsNegative() && from.parent().dentry->IsBelow(target)) return Fail(exchange ? EINVAL : ENOTEMPTY);
  return {};
}

}  // namespace

// The old name is a whiteout node now: its inode is new to the cache, and belongs to the caller as any that it makes.
Result<void> Vfs::AdoptWhiteout(const Context& context, const Ref<Dentry>& directory, std::string_view name) {
  if (Ref<Dentry> old = dentries_.Find(*directory, name)) dentries_.Forget(*old);
  auto whiteout = USL_TRY(LookupIn(context, directory, name));
  if (whiteout->IsNegative()) return {};
  const Creation creation = USL_TRY(PrepareCreation(context, *directory->inode(), S_IFCHR));
  USL_TRY_VOID(whiteout->inode()->SetAttributes({.uid = creation.spec.uid, .gid = creation.spec.gid}));
  return creation.ApplyLists(*whiteout->inode());
}

Result<void> Vfs::Rename(const Context& context, const Location& old_location, const Location& new_location,
                         unsigned flags) {
  const bool exchange = flags & RENAME_EXCHANGE;
  if (flags & ~kKnownFlags) return Fail(EINVAL);
  if (exchange && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT))) return Fail(EINVAL);
  PathWalker from(*this, context, 0);
  PathWalker to(*this, context, 0);
  USL_TRY_VOID(from.WalkToParent(old_location));
  USL_TRY_VOID(to.WalkToParent(new_location));
  const Path& old_parent = from.parent();
  const Path& new_parent = to.parent();
  if (old_parent.mount != new_parent.mount) return Fail(EXDEV);
  if (from.last_type() != PathWalker::Last::kNormal) return Fail(EBUSY);
  if (to.last_type() != PathWalker::Last::kNormal) return Fail((flags & RENAME_NOREPLACE) ? EEXIST : EBUSY);
  USL_TRY_VOID(CheckWritable(old_parent.mount.get()));
  auto source = USL_TRY(LookupIn(context, old_parent.dentry, from.last()));
  if (source->IsNegative()) return Fail(ENOENT);
  auto target = USL_TRY(LookupIn(context, new_parent.dentry, to.last()));
  // Where case is disregarded, the source itself may be found under its new name: then that is a free one.
  if (target == source && to.last() != source->name()) {
    target = MakeRef<Dentry>(new_parent.dentry, to.last(), nullptr);
  }
  // A copy, as dentries move: that of an existing target keeps its spelling.
  const std::string new_name(target->name());
  USL_TRY_VOID(CheckPlaces(from, to, *source, *target, flags));
  // Two names of one file: nothing happens, and that is a success.
  if (source->inode() == target->inode()) return {};

  const bool source_is_directory = IsDirectory(*source);
  USL_TRY_VOID(CheckDelete(context, *old_parent.dentry, *source, source_is_directory));
  if (target->IsNegative()) {
    if (!new_parent.dentry->IsLinked()) return Fail(ENOENT);
    USL_TRY_VOID(CheckInodePermission(context.credentials, *new_parent.inode(), kMayWrite | kMayExec));
  } else {
    const bool wanted = exchange ? IsDirectory(*target) : source_is_directory;
    USL_TRY_VOID(CheckDelete(context, *new_parent.dentry, *target, wanted));
  }
  // A directory that changes its parent is written to itself: its "..".
  if (old_parent.dentry != new_parent.dentry) {
    if (source_is_directory) USL_TRY_VOID(CheckInodePermission(context.credentials, *source->inode(), kMayWrite));
    if (exchange && IsDirectory(*target)) {
      USL_TRY_VOID(CheckInodePermission(context.credentials, *target->inode(), kMayWrite));
    }
  }
  USL_TRY_VOID(CheckNoMountOn(context, *source));
  USL_TRY_VOID(CheckNoMountOn(context, *target));
  const std::string old_name(source->name());
  USL_TRY_VOID(old_parent.inode()->Rename(old_name, *source->inode(), *new_parent.inode(), new_name,
                                          target->inode().get(), flags));
  if (!exchange && !target->IsNegative()) MountNamespace::DetachFrom(*target);
  dentries_.Move(*source, new_parent.dentry, new_name, exchange);
  if (flags & RENAME_WHITEOUT) return AdoptWhiteout(context, old_parent.dentry, old_name);
  return {};
}

}  // namespace usl::vfs
