#include "vfs/mount.h"

#include <algorithm>
#include <atomic>

#include "vfs/path.h"

namespace usl::vfs {

namespace {

uint64_t NextMountId() {
  static std::atomic<uint64_t> next{21};  // Linux's first mounts have numbers like this
  return next.fetch_add(1);
}

uint64_t NextNamespaceId() {
  static std::atomic<uint64_t> next{0xeffffffe};  // PROC_MNT_INIT_INO's range
  return next.fetch_add(1);
}

uint32_t NextPeerGroup() {
  static std::atomic<uint32_t> next{1};
  return next.fetch_add(1);
}

bool IsMountRoot(const Path& path) {
  return path.mount && path.dentry == path.mount->root();
}

}  // namespace

Mount::Mount(uint64_t id, Ref<FileSystem> file_system, Ref<Dentry> root, unsigned flags)
    : id_(id), file_system_(std::move(file_system)), root_(std::move(root)), flags_(flags) {
  file_system_->mounts_.push_back(this);
}

Mount::~Mount() {
  std::erase(file_system_->mounts_, this);
}

void FollowMounts(Path& path) {
  while (path.dentry->IsMountPoint()) {
    Mount* mounted = path.mount->FindMounted(*path.dentry);
    if (!mounted) return;
    path = Path{Ref<Mount>(mounted), mounted->root()};
  }
}

MountNamespace::MountNamespace() : id_(NextNamespaceId()) {}

MountNamespace::~MountNamespace() {
  for (auto& mount : mounts_) Disconnect(*mount);
}

void MountNamespace::Adopt(const Ref<Mount>& mount) {
  mount->name_space_ = this;
  mount->attached_ = true;
  mounts_.push_back(mount);
}

void MountNamespace::Connect(const Ref<Mount>& mount, const Path& target) {
  mount->parent_ = target.mount;
  mount->mount_point_ = target.dentry;
  target.mount->children_.push_back(mount.get());
  ++target.dentry->mount_count_;
}

// Takes a mount off its place; it keeps its own children.
void MountNamespace::Disconnect(Mount& mount) {
  if (mount.parent_) {
    std::erase(mount.parent_->children_, &mount);
    --mount.mount_point_->mount_count_;
  }
  mount.parent_ = nullptr;
  mount.mount_point_ = nullptr;
  mount.name_space_ = nullptr;
  mount.attached_ = false;
}

Result<void> MountNamespace::MountRoot(Ref<FileSystem> file_system, Ref<Dentry> root, unsigned flags) {
  if (root_) return Fail(EBUSY);
  root_ = MakeRef<Mount>(NextMountId(), std::move(file_system), std::move(root), flags);
  Adopt(root_);
  return {};
}

Result<void> MountNamespace::CheckTarget(const Path& target, const Dentry& root) const {
  if (!target.mount || target.mount->name_space() != this) return Fail(EINVAL);
  if (!target.dentry->IsLinked() || target.dentry->IsNegative()) return Fail(ENOENT);
  if (target.dentry->inode()->IsDirectory() != root.inode()->IsDirectory()) return Fail(ENOTDIR);
  return {};
}

Result<Ref<Mount>> MountNamespace::Attach(const Path& target, Ref<FileSystem> file_system, Ref<Dentry> root,
                                          unsigned flags) {
  Path top = target;
  if (top.mount) FollowMounts(top);
  USL_TRY_VOID(CheckTarget(top, *root));
  auto mount = MakeRef<Mount>(NextMountId(), std::move(file_system), std::move(root), flags);
  Connect(mount, top);
  Adopt(mount);
  return mount;
}

Ref<Mount> MountNamespace::Copy(const Mount& mount, Ref<Dentry> root) {
  auto copy = MakeRef<Mount>(NextMountId(), mount.file_system_, std::move(root), mount.flags_);
  copy->propagation_ = mount.propagation_;
  copy->peer_group_ = mount.peer_group_;
  copy->master_group_ = mount.master_group_;
  return copy;
}

void MountNamespace::CopyChildren(const Mount& from, const Ref<Mount>& to, bool keep_unbindable,
                                  std::map<const Mount*, Ref<Mount>>* map) {
  // A snapshot: when a tree is bound into itself, the copy is not copied again.
  const std::vector<Mount*> children = from.children_;
  for (Mount* child : children) {
    if (child->propagation_ == MS_UNBINDABLE && !keep_unbindable) continue;
    if (!child->mount_point_->IsBelow(*to->root_)) continue;
    auto copy = Copy(*child, child->root_);
    if (map) (*map)[child] = copy;
    Connect(copy, Path{to, child->mount_point_});
    Adopt(copy);
    CopyChildren(*child, copy, keep_unbindable, map);
  }
}

Result<Ref<MountNamespace>> MountNamespace::CloneTree(const Path& source, bool recursive) {
  if (!source.mount || !source.mount->name_space()) return Fail(EINVAL);
  if (source.mount->propagation() == MS_UNBINDABLE) return Fail(EINVAL);
  if (!source.dentry->IsLinked()) return Fail(ENOENT);
  auto tree = MakeRef<MountNamespace>();
  tree->root_ = Copy(*source.mount, source.dentry);
  tree->Adopt(tree->root_);
  if (recursive) tree->CopyChildren(*source.mount, tree->root_, false, nullptr);
  return tree;
}

Result<Ref<Mount>> MountNamespace::AttachTree(MountNamespace& tree, const Path& target) {
  if (!tree.root_ || &tree == this) return Fail(EINVAL);
  Path top = target;
  if (top.mount) FollowMounts(top);
  USL_TRY_VOID(CheckTarget(top, *tree.root_->root()));
  Ref<Mount> mount = tree.root_;
  Connect(mount, top);
  for (auto& each : tree.mounts_) Adopt(each);
  tree.mounts_.clear();
  tree.root_ = nullptr;
  return mount;
}

Result<Ref<Mount>> MountNamespace::Bind(const Path& source, const Path& target, bool recursive) {
  if (!source.mount || source.mount->name_space() != this) return Fail(EINVAL);
  auto tree = USL_TRY(CloneTree(source, recursive));
  return AttachTree(*tree, target);
}

Result<void> MountNamespace::Move(const Path& source, const Path& target) {
  Path top = target;
  if (top.mount) FollowMounts(top);
  if (!IsMountRoot(source) || source.mount->name_space() != this || !source.mount->parent()) return Fail(EINVAL);
  if (source.mount->parent()->propagation() == MS_SHARED) return Fail(EINVAL);
  USL_TRY_VOID(CheckTarget(top, *source.dentry));
  for (const Mount* mount = top.mount.get(); mount; mount = mount->parent()) {
    if (mount == source.mount.get()) return Fail(ELOOP);
  }
  Ref<Mount> mount = source.mount;
  Disconnect(*mount);
  Connect(mount, top);
  mount->name_space_ = this;
  mount->attached_ = true;
  return {};
}

Result<void> MountNamespace::Remount(const Path& target, unsigned flags) {
  if (!IsMountRoot(target) || target.mount->name_space() != this) return Fail(EINVAL);
  target.mount->flags_ = flags;
  return {};
}

Result<void> MountNamespace::SetPropagation(const Path& target, unsigned type, bool recursive) {
  if (type != MS_SHARED && type != MS_SLAVE && type != MS_PRIVATE && type != MS_UNBINDABLE) return Fail(EINVAL);
  if (!IsMountRoot(target) || target.mount->name_space() != this) return Fail(EINVAL);
  auto apply = [type](auto& self, Mount& mount, bool deep) -> void {
    if (type == MS_SHARED) {
      if (!mount.peer_group_) mount.peer_group_ = NextPeerGroup();
    } else {
      mount.master_group_ = type == MS_SLAVE ? (mount.peer_group_ ? mount.peer_group_ : mount.master_group_) : 0;
      mount.peer_group_ = 0;
    }
    // A mount without a peer group has nobody to be the slave of, and stays private.
    mount.propagation_ = type == MS_SLAVE && !mount.master_group_ ? static_cast<unsigned>(MS_PRIVATE) : type;
    if (!deep) return;
    for (Mount* child : mount.children_) self(self, *child, true);
  };
  apply(apply, *target.mount, recursive);
  return {};
}

void MountNamespace::RemoveTree(Mount& top) {
  Ref<Mount> hold(&top);
  const std::vector<Mount*> children = top.children_;
  for (Mount* child : children) RemoveTree(*child);
  Disconnect(top);
  std::erase(mounts_, hold);
}

Result<void> MountNamespace::Detach(const Path& place, int flags, bool busy) {
  Path target = place;
  if (target.mount) FollowMounts(target);
  if (!IsMountRoot(target) || target.mount->name_space() != this) return Fail(EINVAL);
  if (target.mount == root_) return Fail(EINVAL);
  Mount& mount = *target.mount;
  // MNT_EXPIRE asks twice (umount2(2)): nothing expires by itself here, so the first call always says EAGAIN.
  if (flags & MNT_EXPIRE) {
    if (flags & (MNT_FORCE | MNT_DETACH)) return Fail(EINVAL);
    return Fail(busy || mount.HasChildren() ? EBUSY : EAGAIN);
  }
  if (!(flags & MNT_DETACH) && (busy || mount.HasChildren())) return Fail(EBUSY);
  RemoveTree(mount);
  return {};
}

Result<void> MountNamespace::Pivot(const Path& new_root, const Path& put_old) {
  return Pivot(new_root, put_old, {});
}

Result<void> MountNamespace::Pivot(const Path& new_root, const Path& put_old, const Path& current_root) {
  Path old_root = current_root ? current_root : Path{root_, root_->root()};
  if (!new_root.mount || !put_old.mount || new_root.mount->name_space() != this ||
      put_old.mount->name_space() != this || old_root.mount->name_space() != this) {
    return Fail(EINVAL);
  }
  if (!new_root.dentry->IsLinked()) return Fail(ENOENT);
  if (new_root.mount == old_root.mount || put_old.mount == old_root.mount) return Fail(EBUSY);
  if (!IsMountRoot(old_root) || !IsMountRoot(new_root) || !new_root.mount->parent()) return Fail(EINVAL);
  if (new_root.mount->propagation() == MS_SHARED || new_root.mount->parent()->propagation() == MS_SHARED ||
      (old_root.mount->parent() && old_root.mount->parent()->propagation() == MS_SHARED)) {
    return Fail(EINVAL);
  }
  // put_old must be reachable from new_root, and new_root from the current root.
  auto reachable = [](Path from, const Path& to) {
    while (from.mount != to.mount) {
      if (!from.mount->parent()) return false;
      from = Path{from.mount->parent_ref(), from.mount->mount_point()};
    }
    return from.dentry->IsBelow(*to.dentry);
  };
  if (!reachable(put_old, new_root) || !reachable(new_root, old_root)) return Fail(EINVAL);

  Ref<Mount> new_mount = new_root.mount;
  Ref<Mount> old_mount = old_root.mount;
  Path old_place{old_mount->parent_ref(), old_mount->mount_point()};
  Disconnect(*new_mount);
  if (old_place.mount) Disconnect(*old_mount);
  Connect(old_mount, put_old);
  if (old_place.mount) {
    Connect(new_mount, old_place);
  } else {
    root_ = new_mount;
    // The root of all is the first in mountinfo.
    std::erase(mounts_, new_mount);
    mounts_.insert(mounts_.begin(), new_mount);
  }
  for (auto& mount : {new_mount, old_mount}) {
    mount->name_space_ = this;
    mount->attached_ = true;
  }
  return {};
}

Mount* MountNamespace::FindById(uint64_t id) const {
  for (auto& mount : mounts_) {
    if (mount->id() == id) return mount.get();
  }
  return nullptr;
}

Ref<MountNamespace> MountNamespace::Clone(std::map<const Mount*, Ref<Mount>>& map) const {
  auto clone = MakeRef<MountNamespace>();
  if (!root_) return clone;
  clone->root_ = Copy(*root_, root_->root());
  map[root_.get()] = clone->root_;
  clone->Adopt(clone->root_);
  clone->CopyChildren(*root_, clone->root_, true, &map);
  return clone;
}

Ref<Mount> MountNamespace::PrimaryMount(const FileSystem& file_system) const {
  const Mount* first = nullptr;
  for (auto& mount : mounts_) {
    if (&mount->file_system() != &file_system) continue;
    if (!mount->root()->parent()) return mount;
    if (!first) first = mount.get();
  }
  return Ref<Mount>(const_cast<Mount*>(first));
}

}  // namespace usl::vfs
