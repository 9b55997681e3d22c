// The mount tree (mount_namespaces(7)). Guarded by the kernel lock.
//
// References: a namespace holds its mounts, a mount its parent, mount point and root; the parent knows its children by
// pointer. A mount that is detached while in use has no namespace and no parent any more and lives with its users.
// Changes of one namespace travel to others by peer groups (peer_group.h, mount_propagation.h).
#pragma once

#include <sys/mount.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/ref.h"
#include "base/result.h"
#include "vfs/dentry.h"
#include "vfs/peer_group.h"

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

namespace usl::vfs {

struct Path;
class MountNamespace;

class Mount : public RefCounted {
 public:
  Mount(Ref<FileSystem> file_system, Ref<Dentry> root, unsigned flags);
  ~Mount() override;

  uint64_t id() const { return id_; }  // as in mountinfo; never used twice
  // The other number, of STATX_MNT_ID_UNIQUE and statmount(2), which Linux keeps apart by an offset.
  uint64_t unique_id() const { return id_ + (uint64_t{1} << 31); }
  FileSystem& file_system() const { return *file_system_; }
  const Ref<FileSystem>& file_system_ref() const { return file_system_; }
  const Ref<Dentry>& root() const { return root_; }
  Mount* parent() const { return parent_.get(); }  // null for the namespace's root
  const Ref<Mount>& parent_ref() const { return parent_; }
  const Ref<Dentry>& mount_point() const { return mount_point_; }  // in the parent
  // The namespace that holds it; null once it is detached.
  MountNamespace* name_space() const { return name_space_; }
  // MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME, MS_RELATIME, MS_NOSYMFOLLOW...
  unsigned flags() const { return flags_ | file_system_->ForcedMountFlags(); }
  void set_flags(unsigned flags) { flags_ = flags; }
  bool IsReadOnly() const {
    return (flags_ & MS_RDONLY) || file_system_->is_set_read_only() || file_system_->IsReadOnly();
  }
  bool IsAttached() const { return name_space_ != nullptr; }
  bool HasChildren() const { return !children_.empty(); }
  const std::vector<Mount*>& children() const { return children_; }
  // The mount that sits on `dentry` of this one, or null. Only one can: what is mounted later sits on its root.
  Mount* FindMounted(const Dentry& dentry) const {
    for (Mount* child : children_) {
      if (child->mount_point_.get() == &dentry) return child;
    }
    return nullptr;
  }

  // Propagation. A mount may be shared and a slave at once.
  bool IsShared() const { return static_cast<bool>(group_); }
  bool IsSlave() const { return static_cast<bool>(master_); }
  bool IsUnbindable() const { return unbindable_; }
  PeerGroup* group() const { return group_.get(); }
  PeerGroup* master() const { return master_.get(); }
  uint32_t peer_group() const { return group_ ? group_->id() : 0; }      // 0 = none
  uint32_t master_group() const { return master_ ? master_->id() : 0; }  // 0 = none
  // MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE (with MS_SLAVE where it is both that and shared).
  unsigned propagation() const;
  // Makes it MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE (change_mnt_propagation of Linux): a slave of its own
  // group; what has neither group nor master stays private.
  void ChangePropagation(unsigned type);
  void JoinGroup(Ref<PeerGroup> group);
  void SetMaster(Ref<PeerGroup> master);
  void set_unbindable(bool unbindable) { unbindable_ = unbindable; }

  // How often a walk came through its mount point; MNT_EXPIRE compares.
  uint64_t crossings() const { return crossings_; }
  void CountCrossing() { ++crossings_; }

 private:
  friend class MountNamespace;
  void LeaveGroup();

  const uint64_t id_;
  Ref<FileSystem> file_system_;
  Ref<Dentry> root_;
  Ref<Mount> parent_;
  Ref<Dentry> mount_point_;
  MountNamespace* name_space_ = nullptr;
  std::vector<Mount*> children_;
  unsigned flags_;
  bool unbindable_ = false;
  Ref<PeerGroup> group_;
  Ref<PeerGroup> master_;
  uint64_t crossings_ = 0;
  uint64_t expires_at_ = 0;  // crossings_ at which MNT_EXPIRE may unmount it; 0 = not marked
};

// Mounts, parents first. It holds them: a parent knows its children by pointer only.
using MountTree = std::vector<Ref<Mount>>;

// One tree of mounts. unshare(CLONE_NEWNS) copies it; open_tree(2) and fsmount(2) make anonymous ones.
class MountNamespace : public RefCounted {
 public:
  // `anonymous`: a tree that no process lives in.
  explicit MountNamespace(bool anonymous = false);
  ~MountNamespace() override;

  // Makes the first mount, the root. EBUSY when there is one.
  Result<void> MountRoot(Ref<FileSystem> file_system, Ref<Dentry> root, unsigned flags);
  const Ref<Mount>& root() const { return root_; }
  // The number of the namespace (as in "mnt:[N]").
  uint64_t id() const { return id_; }
  bool IsAnonymous() const { return anonymous_; }

  // Puts a mount of `root` (a dentry of `file_system`) on top of `target`, and copies of it on what is a peer or slave
  // of the mount there. Stacks on what is mounted there already. ENOENT for a removed target, ENOTDIR for a directory
  // on a file or the reverse, EINVAL when `target` is not of this namespace, ENOSPC beyond fs.mount-max.
  Result<Ref<Mount>> Attach(const Path& target, Ref<FileSystem> file_system, Ref<Dentry> root, unsigned flags);
  // MS_BIND, with `recursive` MS_REC. EINVAL for an unbindable source. Returns the new mount.
  Result<Ref<Mount>> Bind(const Path& source, const Path& target, bool recursive);
  // MS_MOVE. EINVAL unless `source` is the root of an attached mount, ELOOP into its own tree. With `beneath`
  // (MOVE_MOUNT_BENEATH) under the topmost mount at `target`.
  Result<void> Move(const Path& source, const Path& target, bool beneath = false);
  // New MS_* flags for the mount whose root `target` is (EINVAL unless it is).
  Result<void> Remount(const Path& target, unsigned flags);
  // `type` is MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE. EINVAL unless `target` is the root of a mount.
  Result<void> SetPropagation(const Path& target, unsigned type, bool recursive);
  // MOVE_MOUNT_SET_GROUP: `target`'s mount becomes a peer (and a slave) as `source`'s is. EINVAL unless both are roots
  // of mounts, the target is private, of the same file system and no larger than the source.
  static Result<void> CopyPropagation(const Path& source, const Path& target);
  // Is somebody at work in a mount: its root directories, open files?
  using InUse = std::function<bool(const Mount&)>;
  // `flags` are MNT_DETACH, MNT_FORCE, MNT_EXPIRE (umount2(2)); EBUSY with mounts below it or while it or what the
  // unmount propagates to is in use, EINVAL when `target` is not the root of a mount of this namespace, or is the root
  // of all. Takes the topmost mount of those stacked there. EAGAIN for MNT_EXPIRE's first call.
  Result<void> Detach(const Path& place, int flags, const InUse& in_use);
  // pivot_root(2). `current_root` is the caller's root directory; empty = that of the namespace. EINVAL unless both
  // roots are roots of mounts and `put_old` is at or below `new_root`, EBUSY when new_root or put_old is on the current
  // root mount. The caller moves the tasks' root and working directories.
  Result<void> Pivot(const Path& new_root, const Path& put_old, const Path& current_root);
  Result<void> Pivot(const Path& new_root, const Path& put_old);

  // fsmount(2): a namespace of its own with one new mount.
  static Ref<MountNamespace> MakeTree(Ref<FileSystem> file_system, Ref<Dentry> root, unsigned flags);
  // open_tree(OPEN_TREE_CLONE): a copy of the tree at `source` (with `recursive` what is mounted below it too) in a
  // namespace of its own, which nobody sees; it ends with that namespace. EINVAL for an unbindable source.
  static Result<Ref<MountNamespace>> CloneTree(const Path& source, bool recursive);
  // move_mount(2) of such a tree: its mounts become those of this namespace, on `target`. EINVAL when it is empty.
  Result<Ref<Mount>> AttachTree(MountNamespace& tree, const Path& target, bool beneath = false);
  // Unmounts everything that is mounted on `dentry` of any mount anywhere: its name is gone (detach_mounts of Linux).
  static void DetachFrom(const Dentry& dentry);
  // Is something mounted on `dentry` in this namespace? Then its name cannot be removed (EBUSY).
  bool HasMountOn(const Dentry& dentry) const;

  // The mount on (mount, dentry), or null. Mounts upon that one are found by asking again.
  Mount* FindMounted(const Mount& mount, const Dentry& dentry) const { return mount.FindMounted(dentry); }
  // Null when there is none of this number (Mount::id).
  Mount* FindById(uint64_t id) const;
  Mount* FindByUniqueId(uint64_t id) const;
  // In the order of mountinfo.
  std::vector<Ref<Mount>> List() const { return mounts_; }
  // A copy for unshare(CLONE_NEWNS); `map` tells which old mount became which new one.
  Ref<MountNamespace> Clone(std::map<const Mount*, Ref<Mount>>& map) const;
  // A mount of this namespace through which `dentry` of `file_system` is seen when nothing says otherwise: the first
  // one of the file system's root, else the first one whose tree has it. Null when there is none.
  Ref<Mount> PrimaryMount(const FileSystem& file_system, const Dentry* dentry = nullptr) const;

  // How many have ended: then file systems may have no mount any more (Vfs::CollectUnused).
  static uint64_t ended();

  // Counts changes of what mountinfo shows: poll(2) on it tells of them.
  uint64_t event() const { return event_; }
  void CountEvent() { ++event_; }

 private:
  friend class MountCopies;
  // What a copied mount is to the original: nothing new (a peer of a shared one), a slave, a slave with peers of its
  // own.
  enum class CopyKind { kPlain, kUnshare, kSlave, kSharedSlave };

  Result<void> CheckTarget(const Path& target, const Dentry& root) const;
  // attach_recursive_mnt of Linux: connects `mount`'s tree with `target` and propagates it.
  Result<void> Place(const Ref<Mount>& mount, const Path& target, bool beneath);
  static void Connect(const Ref<Mount>& mount, const Path& target);
  static void Disconnect(Mount& mount);
  static void Remove(const MountTree& mounts);
  static Ref<Mount> Copy(const Mount& mount, Ref<Dentry> root, CopyKind kind);
  static MountTree CopyTree(const Mount& from, const Ref<Dentry>& root, CopyKind kind, bool recursive,
                            std::map<const Mount*, Ref<Mount>>* map = nullptr);
  void Adopt(const Ref<Mount>& mount);
  void AdoptTree(const MountTree& tree);

  const uint64_t id_;
  const bool anonymous_;
  Ref<Mount> root_;
  std::vector<Ref<Mount>> mounts_;
  uint64_t event_ = 0;
};

// Follows the mounts that are stacked on `path`, to the topmost one's root.
void FollowMounts(Path& path);
// Is `path` the root of its mount?
bool IsMountRoot(const Path& path);
// The mount and all below it, parents first.
MountTree TreeOf(Mount& top);

}  // namespace usl::vfs
