// Changes of mount trees: attaching, moving, unmounting, propagation types, pivot_root(2). Each follows the function of
// Linux's fs/namespace.c that its comment names.
#include <algorithm>

#include "vfs/mount.h"
#include "vfs/mount_copies.h"
#include "vfs/mount_propagation.h"
#include "vfs/name_observer.h"
#include "vfs/path.h"

namespace usl::vfs {

namespace {

constexpr size_t kMostMounts = 100'000;  // of a namespace: fs.mount-max

bool IsAncestor(const Mount& ancestor, const Mount* mount) {
  for (; mount; mount = mount->parent()) {
    if (mount == &ancestor) return true;
  }
  return false;
}

// is_path_reachable()
bool IsReachable(Path from, const Path& to) {
  while (from.mount != to.mount) {
    if (!from.mount->parent()) return false;
    from = Path{from.mount->parent_ref(), from.mount->mount_point()};
  }
  return from.dentry->IsBelow(*to.dentry);
}

bool HasUnbindable(Mount& top) {
  return std::ranges::any_of(TreeOf(top), [](const Ref<Mount>& mount) { return mount->IsUnbindable(); });
}

}  // namespace

Result<void> MountNamespace::Place(const Ref<Mount>& mount, const Path& target, bool beneath) {
  // What covers the place afterwards, when the mount slips under it.
  Ref<Mount> cover = beneath ? Ref<Mount>(target.mount->FindMounted(*target.dentry)) : nullptr;
  const MountTree tree = TreeOf(*mount);
  std::vector<MountCopies::Planned> copies;
  if (target.mount->IsShared()) {
    for (const Ref<Mount>& each : tree) each->ChangePropagation(MS_SHARED);
    copies = MountCopies(target, mount).planned();
  }
  std::map<MountNamespace*, size_t> counts{{this, mounts_.size() + tree.size()}};
  for (const auto& copy : copies) {
    MountNamespace* name_space = copy.place.mount->name_space();
    auto [count, is_new] = counts.emplace(name_space, name_space->mounts_.size());
    count->second += tree.size();
  }
  for (const auto& [name_space, count] : counts) {
    if (count > kMostMounts) return Fail(ENOSPC);
  }
  Connect(mount, target);
  AdoptTree(tree);
  copies.push_back({tree, target});
  for (const auto& [copied, place] : copies) {
    const Ref<Mount>& copy = copied.front();
    Ref<Mount> above = copy == mount ? cover : Ref<Mount>(place.mount->FindMounted(*place.dentry));
    if (copy != mount) {
      Connect(copy, place);
      place.mount->name_space()->AdoptTree(copied);
    }
    if (!above) continue;
    // A copy slips under what is mounted at its place already.
    MountNamespace* name_space = above->name_space();
    Disconnect(*above);
    Path top{copy, copy->root()};
    FollowMounts(top);
    Connect(above, top);
    above->name_space_ = name_space;
  }
  return {};
}

Result<Ref<Mount>> MountNamespace::Attach(const Path& target, Ref<FileSystem> file_system, Ref<Dentry> root,
                                          unsigned flags) {
  auto tree = MakeTree(std::move(file_system), std::move(root), flags);
  return AttachTree(*tree, target);
}

Result<Ref<Mount>> MountNamespace::AttachTree(MountNamespace& tree, const Path& target, bool beneath) {
  if (!tree.root_ || &tree == this) return Fail(EINVAL);
  Path top = target;
  if (top.mount) FollowMounts(top);
  USL_TRY_VOID(CheckTarget(top, *tree.root_->root()));
  if (beneath) {
    if (!IsMountRoot(top) || !top.mount->parent()) return Fail(EINVAL);
    top = Path{top.mount->parent_ref(), top.mount->mount_point()};
  }
  Ref<Mount> mount = tree.root_;
  if (top.mount->IsShared() && HasUnbindable(*mount)) return Fail(EINVAL);
  // Of no namespace while it is placed.
  const MountTree mounts = std::move(tree.mounts_);
  tree.mounts_.clear();
  for (const Ref<Mount>& each : mounts) each->name_space_ = nullptr;
  auto placed = Place(mount, top, beneath);
  if (!placed) {
    for (const Ref<Mount>& each : mounts) tree.Adopt(each);
    return Fail(placed.error());
  }
  tree.root_ = nullptr;
  return mount;
}

Result<Ref<Mount>> MountNamespace::Bind(const Path& source, const Path& target, bool recursive) {
  // Anonymous trees may be bound from, too (Linux 6.15).
  if (!source.mount || !source.mount->name_space()) return Fail(EINVAL);
  if (source.mount->name_space() != this && !source.mount->name_space()->IsAnonymous()) return Fail(EINVAL);
  if (!target.mount || target.mount->name_space() != this) return Fail(EINVAL);
  auto tree = USL_TRY(CloneTree(source, recursive));
  return AttachTree(*tree, target);
}

// do_move_mount()
Result<void> MountNamespace::Move(const Path& source, const Path& target, bool beneath) {
  if (!IsMountRoot(source)) return Fail(EINVAL);
  Path top = target;
  if (top.mount) FollowMounts(top);
  if (!top.mount || top.mount->name_space() != this || source.mount->name_space() != this) return Fail(EINVAL);
  if (!top.dentry->IsLinked() || top.dentry->IsNegative()) return Fail(ENOENT);
  if (!source.mount->parent() || source.mount->parent()->IsShared()) return Fail(EINVAL);
  if (top.dentry->inode()->IsDirectory() != source.dentry->inode()->IsDirectory()) return Fail(EINVAL);
  if (beneath) {
    if (!IsMountRoot(top) || !top.mount->parent() || top.mount == source.mount) return Fail(EINVAL);
    top = Path{top.mount->parent_ref(), top.mount->mount_point()};
  }
  if (top.mount->IsShared() && HasUnbindable(*source.mount)) return Fail(EINVAL);
  if (IsAncestor(*source.mount, top.mount.get())) return Fail(ELOOP);
  const Ref<Mount> mount = source.mount;
  const Path before{mount->parent_ref(), mount->mount_point()};
  Disconnect(*mount);
  const MountTree tree = TreeOf(*mount);
  const MountTree listed = mounts_;
  std::erase_if(mounts_, [&](const Ref<Mount>& each) { return std::ranges::find(tree, each) != tree.end(); });
  auto placed = Place(mount, top, beneath);
  if (!placed) {
    Connect(mount, before);
    mount->name_space_ = this;
    mounts_ = listed;
  }
  return placed;
}

Result<void> MountNamespace::Remount(const Path& target, unsigned flags) {
  if (!IsMountRoot(target) || target.mount->name_space() != this) return Fail(EINVAL);
  target.mount->flags_ = flags;
  ++event_;
  return {};
}

Result<void> MountNamespace::SetPropagation(const Path& target, unsigned type, bool recursive) {
  if (type != MS_SHARED && type != MS_SLAVE && type != MS_PRIVATE && type != MS_UNBINDABLE) return Fail(EINVAL);
  if (!IsMountRoot(target) || target.mount->name_space() != this) return Fail(EINVAL);
  target.mount->ChangePropagation(type);
  if (recursive) {
    for (const Ref<Mount>& mount : TreeOf(*target.mount)) {
      if (mount != target.mount) mount->ChangePropagation(type);
    }
  }
  ++event_;
  return {};
}

// do_set_group()
Result<void> MountNamespace::CopyPropagation(const Path& source, const Path& target) {
  if (!IsMountRoot(source) || !IsMountRoot(target)) return Fail(EINVAL);
  Mount& from = *source.mount;
  Mount& to = *target.mount;
  if (!from.name_space() || !to.name_space()) return Fail(EINVAL);
  if (to.IsShared() || to.IsSlave() || (!from.IsShared() && !from.IsSlave())) return Fail(EINVAL);
  if (&from.file_system() != &to.file_system() || !to.root()->IsBelow(*from.root())) return Fail(EINVAL);
  for (const Mount* child : from.children()) {
    if (child->mount_point()->IsBelow(*to.root())) return Fail(EINVAL);
  }
  if (from.IsSlave()) to.SetMaster(from.master_);
  if (from.IsShared()) to.JoinGroup(from.group_);
  to.name_space()->CountEvent();
  return {};
}

void MountNamespace::Remove(const MountTree& mounts) {
  const UnmountPlan plan = PlanUnmount(mounts);
  for (const auto& [mount, place] : plan.survivors) {
    MountNamespace* name_space = mount->name_space();
    Disconnect(*mount);
    mount->name_space_ = name_space;
  }
  for (const Ref<Mount>& mount : plan.going) {
    MountNamespace* name_space = mount->name_space();
    Disconnect(*mount);
    mount->ChangePropagation(MS_PRIVATE);
    if (!name_space) continue;
    ++name_space->event_;
    std::erase(name_space->mounts_, mount);
  }
  for (const auto& [mount, place] : plan.survivors) Connect(mount, place);
}

// do_umount()
Result<void> MountNamespace::Detach(const Path& place, int flags, const InUse& in_use) {
  Path target = place;
  if (target.mount) FollowMounts(target);
  if (!IsMountRoot(target) || target.mount->name_space() != this) return Fail(EINVAL);
  const Ref<Mount> mount = target.mount;
  if (flags & MNT_EXPIRE) {
    if (flags & (MNT_FORCE | MNT_DETACH)) return Fail(EINVAL);
    if (mount->HasChildren() || in_use(*mount)) return Fail(EBUSY);
    // The call itself comes through the mount point each time.
    const bool expired = mount->expires_at_ != 0 && mount->expires_at_ == mount->crossings_;
    mount->expires_at_ = mount->crossings_ + 1;
    // Walks are counted from now on: nobody may find without one what lies there.
    if (NameObserver* observer = mount->file_system().observer()) observer->TreeChanged();
    if (!expired) return Fail(EAGAIN);
  }
  if (mount == root_) return Fail(EINVAL);
  if (flags & MNT_DETACH) {
    Remove(TreeOf(*mount));
    return {};
  }
  if (mount->HasChildren() || in_use(*mount)) return Fail(EBUSY);
  for (Mount* other : SeenBy(*mount->parent(), *mount->mount_point())) {
    const Mount* copy = other->FindMounted(*mount->mount_point());
    if (copy && !copy->HasChildren() && in_use(*copy)) return Fail(EBUSY);
  }
  Remove({mount});
  return {};
}

void MountNamespace::DetachFrom(const Dentry& dentry) {
  while (dentry.IsMountPoint()) {
    Mount* found = nullptr;
    for (Mount* mount : dentry.inode()->file_system().mounts_) {
      if ((found = mount->FindMounted(dentry))) break;
    }
    if (!found) return;
    Remove(TreeOf(*found));
  }
}

Result<void> MountNamespace::Pivot(const Path& new_root, const Path& put_old) {
  return Pivot(new_root, put_old, {});
}

Result<void> MountNamespace::Pivot(const Path& new_root, const Path& put_old, const Path& current_root) {
  const Path old_root = current_root ? current_root : Path{root_, root_->root()};
  Path place = put_old;
  if (place.mount) FollowMounts(place);
  if (!new_root.mount || !place.mount || new_root.mount->name_space() != this || place.mount->name_space() != this ||
      old_root.mount->name_space() != this) {
    return Fail(EINVAL);
  }
  const Ref<Mount> new_mount = new_root.mount;
  const Ref<Mount> old_mount = old_root.mount;
  auto in_shared = [](const Mount& mount) { return mount.parent() && mount.parent()->IsShared(); };
  if (place.mount->IsShared() || in_shared(*new_mount) || in_shared(*old_mount)) return Fail(EINVAL);
  if (!new_root.dentry->IsLinked() || !place.dentry->IsLinked()) return Fail(ENOENT);
  if (new_mount == old_mount || place.mount == old_mount) return Fail(EBUSY);
  if (!IsMountRoot(old_root) || !IsMountRoot(new_root) || !new_mount->parent()) return Fail(EINVAL);
  // put_old must be reachable from new_root, and new_root from the current root.
  if (!IsReachable(place, new_root) || !IsReachable(new_root, old_root)) return Fail(EINVAL);

  const Path old_place{old_mount->parent_ref(), old_mount->mount_point()};
  Disconnect(*new_mount);
  if (old_place.mount) Disconnect(*old_mount);
  Connect(old_mount, place);
  if (old_place.mount) {
    Connect(new_mount, old_place);
  } else {
    root_ = new_mount;
    // The root of all is the first in mountinfo.
    std::erase(mounts_, new_mount);
    mounts_.insert(mounts_.begin(), new_mount);
  }
  new_mount->name_space_ = old_mount->name_space_ = this;
  ++event_;
  return {};
}

}  // namespace usl::vfs
