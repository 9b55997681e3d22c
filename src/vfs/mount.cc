#include "vfs/mount.h"

#include <algorithm>
#include <atomic>
#include <set>

#include "vfs/mount_propagation.h"
#include "vfs/name_observer.h"
#include "vfs/path.h"

namespace usl::vfs {

namespace {

uint64_t NextMountId() {
  static std::atomic<uint64_t> next{21};  // Linux's first mounts have numbers like this
  return next.fetch_add(1);
}

uint64_t NextNamespaceId() {
  static std::atomic<uint64_t> next{0xf2000000};  // apart from the initial namespaces' (include/linux/proc_ns.h)
  return next.fetch_add(1);
}

std::set<uint32_t>& PeerGroupIds() {
  static std::set<uint32_t> ids;
  return ids;
}

}  // namespace

PeerGroup::PeerGroup() : id_(1) {
  for (uint32_t used : PeerGroupIds()) {
    if (used != id_) break;
    ++id_;
  }
  PeerGroupIds().insert(id_);
}

PeerGroup::~PeerGroup() {
  PeerGroupIds().erase(id_);
}

Mount::Mount(Ref<FileSystem> file_system, Ref<Dentry> root, unsigned flags)
    : id_(NextMountId()), file_system_(std::move(file_system)), root_(std::move(root)), flags_(flags) {
  file_system_->mounts_.push_back(this);
  if (file_system_->home_mount_ == 0 && !root_->parent()) file_system_->home_mount_ = id_;
}

Mount::~Mount() {
  ChangePropagation(MS_PRIVATE);
  std::erase(file_system_->mounts_, this);
  if (file_system_->home_mount_ == id_) file_system_->home_flags_ = flags();
}

unsigned Mount::propagation() const {
  if (group_) return MS_SHARED | (master_ ? unsigned{MS_SLAVE} : 0u);
  if (master_) return MS_SLAVE;
  return unbindable_ ? MS_UNBINDABLE : MS_PRIVATE;
}

void Mount::JoinGroup(Ref<PeerGroup> group) {
  LeaveGroup();
  group->peers_.push_back(this);
  group_ = std::move(group);
  unbindable_ = false;
}

void Mount::SetMaster(Ref<PeerGroup> master) {
  if (master_) std::erase(master_->slaves_, this);
  master_ = std::move(master);
  if (master_) master_->slaves_.push_back(this);
}

// The last peer hands the slaves of its group to its own master.
void Mount::LeaveGroup() {
  if (!group_) return;
  const Ref<PeerGroup> group = std::move(group_);
  group_ = nullptr;
  std::erase(group->peers_, this);
  if (!group->peers_.empty()) return;
  for (Mount* slave : std::vector<Mount*>(group->slaves_)) slave->SetMaster(master_);
}

void Mount::ChangePropagation(unsigned type) {
  if (type == MS_SHARED) {
    if (!group_) JoinGroup(MakeRef<PeerGroup>());
    return;
  }
  const Ref<PeerGroup> left = group_;
  LeaveGroup();
  if (type == MS_SLAVE) {
    // A group without peers is nothing to be the slave of.
    if (left && !left->peers_.empty()) SetMaster(left);
    return;
  }
  SetMaster(nullptr);
  unbindable_ = type == MS_UNBINDABLE;
}

bool IsMountRoot(const Path& path) {
  return path.mount && path.dentry == path.mount->root();
}

void FollowMounts(Path& path) {
  while (path.dentry->IsMountPoint()) {
    Mount* mounted = path.mount->FindMounted(*path.dentry);
    if (!mounted) return;
    path = Path{Ref<Mount>(mounted), mounted->root()};
  }
}

MountTree TreeOf(Mount& top) {
  MountTree tree{Ref<Mount>(&top)};
  for (size_t i = 0; i < tree.size(); ++i) {
    const Ref<Mount> mount = tree[i];
    for (Mount* child : mount->children()) tree.emplace_back(child);
  }
  return tree;
}

MountNamespace::MountNamespace(bool anonymous) : id_(NextNamespaceId()), anonymous_(anonymous) {}

namespace {
uint64_t ended_namespaces = 0;

// Paths lead elsewhere now, in whichever namespace the change was.
void TellOfChange(const Mount& mount) {
  if (NameObserver* observer = mount.file_system().observer()) observer->TreeChanged();
}

}  // namespace

uint64_t MountNamespace::ended() {
  return ended_namespaces;
}

MountNamespace::~MountNamespace() {
  ++ended_namespaces;
  for (auto& mount : mounts_) {
    Disconnect(*mount);
    mount->ChangePropagation(MS_PRIVATE);
  }
}

void MountNamespace::Adopt(const Ref<Mount>& mount) {
  mount->name_space_ = this;
  mounts_.push_back(mount);
  ++event_;
}

void MountNamespace::AdoptTree(const MountTree& tree) {
  for (const Ref<Mount>& mount : tree) Adopt(mount);
}

void MountNamespace::Connect(const Ref<Mount>& mount, const Path& target) {
  mount->parent_ = target.mount;
  mount->mount_point_ = target.dentry;
  target.mount->children_.push_back(mount.get());
  ++target.dentry->mount_count_;
  TellOfChange(*mount);
}

// Takes a mount off its place; it keeps its own children.
void MountNamespace::Disconnect(Mount& mount) {
  if (mount.parent_) {
    std::erase(mount.parent_->children_, &mount);
    --mount.mount_point_->mount_count_;
    TellOfChange(mount);
  }
  mount.parent_ = nullptr;
  mount.mount_point_ = nullptr;
  mount.name_space_ = nullptr;
}

Result<void> MountNamespace::MountRoot(Ref<FileSystem> file_system, Ref<Dentry> root, unsigned flags) {
  if (root_) return Fail(EBUSY);
  root_ = MakeRef<Mount>(std::move(file_system), std::move(root), flags);
  Adopt(root_);
  return {};
}

Ref<MountNamespace> MountNamespace::MakeTree(Ref<FileSystem> file_system, Ref<Dentry> root, unsigned flags) {
  auto tree = MakeRef<MountNamespace>(true);
  tree->root_ = MakeRef<Mount>(std::move(file_system), std::move(root), flags);
  tree->Adopt(tree->root_);
  return tree;
}

Result<void> MountNamespace::CheckTarget(const Path& target, const Dentry& root) const {
  if (!target.mount || target.mount->name_space() != this) return Fail(EINVAL);
  if (!target.dentry->IsLinked() || target.dentry->IsNegative()) return Fail(ENOENT);
  if (target.dentry->inode()->IsDirectory() != root.inode()->IsDirectory()) return Fail(ENOTDIR);
  return {};
}

Ref<Mount> MountNamespace::Copy(const Mount& mount, Ref<Dentry> root, CopyKind kind) {
  auto copy = MakeRef<Mount>(mount.file_system_, std::move(root), mount.flags_);
  copy->unbindable_ = mount.unbindable_;
  const bool is_slave = kind == CopyKind::kSlave || kind == CopyKind::kSharedSlave;
  if (is_slave && mount.group_) {
    copy->SetMaster(mount.group_);
  } else if (mount.master_) {
    copy->SetMaster(mount.master_);
  }
  if (kind == CopyKind::kSharedSlave) {
    copy->JoinGroup(MakeRef<PeerGroup>());
  } else if (!is_slave && mount.group_) {
    copy->JoinGroup(mount.group_);
  }
  return copy;
}

// Of no namespace yet. Unbindable mounts are left out, but by kUnshare.
MountTree MountNamespace::CopyTree(const Mount& from, const Ref<Dentry>& root, CopyKind kind, bool recursive,
                                   std::map<const Mount*, Ref<Mount>>* map) {
  MountTree tree{Copy(from, root, kind)};
  if (map) (*map)[&from] = tree.front();
  std::vector<const Mount*> originals;
  if (recursive) originals.push_back(&from);
  for (size_t i = 0; i < originals.size(); ++i) {
    const Mount* original = originals[i];
    const Ref<Mount> copied = tree[i];
    for (const Mount* child : original->children_) {
      if (child->unbindable_ && kind != CopyKind::kUnshare) continue;
      if (!child->mount_point_->IsBelow(*copied->root_)) continue;
      auto copy = Copy(*child, child->root_, kind);
      if (map) (*map)[child] = copy;
      Connect(copy, Path{copied, child->mount_point_});
      originals.push_back(child);
      tree.push_back(std::move(copy));
    }
  }
  return tree;
}

Result<Ref<MountNamespace>> MountNamespace::CloneTree(const Path& source, bool recursive) {
  if (!source.mount || !source.mount->name_space()) return Fail(EINVAL);
  if (source.mount->IsUnbindable()) return Fail(EINVAL);
  if (!source.dentry->IsLinked()) return Fail(ENOENT);
  auto tree = MakeRef<MountNamespace>(true);
  const MountTree copies = CopyTree(*source.mount, source.dentry, CopyKind::kPlain, recursive);
  tree->root_ = copies.front();
  tree->AdoptTree(copies);
  return tree;
}

Ref<MountNamespace> MountNamespace::Clone(std::map<const Mount*, Ref<Mount>>& map) const {
  auto clone = MakeRef<MountNamespace>();
  if (!root_) return clone;
  const MountTree copies = CopyTree(*root_, root_->root(), CopyKind::kUnshare, true, &map);
  clone->root_ = copies.front();
  clone->AdoptTree(copies);
  return clone;
}

Mount* MountNamespace::FindById(uint64_t id) const {
  const auto found = std::ranges::find(mounts_, id, [](const Ref<Mount>& mount) { return mount->id(); });
  return found == mounts_.end() ? nullptr : found->get();
}

Mount* MountNamespace::FindByUniqueId(uint64_t id) const {
  const auto found = std::ranges::find(mounts_, id, [](const Ref<Mount>& mount) { return mount->unique_id(); });
  return found == mounts_.end() ? nullptr : found->get();
}

Ref<Mount> MountNamespace::PrimaryMount(const FileSystem& file_system, const Dentry* dentry) const {
  Mount* first = nullptr;
  for (Mount* mount : file_system.mounts_) {
    if (mount->name_space() != this) continue;
    if (!mount->root()->parent()) return Ref<Mount>(mount);
    if (!first && (!dentry || dentry->IsBelow(*mount->root()))) first = mount;
  }
  return Ref<Mount>(first);
}

bool MountNamespace::HasMountOn(const Dentry& dentry) const {
  if (!dentry.IsMountPoint()) return false;
  return std::ranges::any_of(mounts_, [&](const Ref<Mount>& mount) { return mount->mount_point().get() == &dentry; });
}

}  // namespace usl::vfs
