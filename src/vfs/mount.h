// The mount tree (mount_namespaces(7)). Guarded by the kernel lock.
//
// References: a namespace holds its mounts, a mount its parent, mount point and root; the parent knows its children by
// pointer. A mount that is detached while in use has no namespace and no parent any more and lives with its users.
#pragma once

#include <sys/mount.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/ref.h"
#include "base/result.h"
#include "vfs/dentry.h"

namespace usl::vfs {

struct Path;
class MountNamespace;

class Mount : public RefCounted {
 public:
  Mount(uint64_t id, Ref<FileSystem> file_system, Ref<Dentry> root, unsigned flags);
  ~Mount() override;

  uint64_t id() const { return id_; }  // as in mountinfo
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
  bool IsReadOnly() const { return (flags_ & MS_RDONLY) || file_system_->IsReadOnly(); }
  // MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE; kept and shown, propagation itself is within one namespace.
  unsigned propagation() const { return propagation_; }
  // The numbers behind "shared:" and "master:" in mountinfo; 0 = none.
  uint32_t peer_group() const { return peer_group_; }
  uint32_t master_group() const { return master_group_; }
  bool IsAttached() const { return attached_; }
  bool HasChildren() const { return !children_.empty(); }
  // The mount that sits on `dentry` of this one, or null. Only one can: what is mounted later sits on its root.
  Mount* FindMounted(const Dentry& dentry) const {
    for (Mount* child : children_) {
      if (child->mount_point_.get() == &dentry) return child;
    }
    return nullptr;
  }

 private:
  friend class MountNamespace;
  uint64_t id_;
  Ref<FileSystem> file_system_;
  Ref<Dentry> root_;
  Ref<Mount> parent_;
  Ref<Dentry> mount_point_;
  MountNamespace* name_space_ = nullptr;
  std::vector<Mount*> children_;
  unsigned flags_;
  unsigned propagation_ = MS_PRIVATE;
  uint32_t peer_group_ = 0;
  uint32_t master_group_ = 0;
  bool attached_ = false;
};

// One tree of mounts. unshare(CLONE_NEWNS) copies it; open_tree(2) and fsmount(2) make anonymous ones.
class MountNamespace : public RefCounted {
 public:
  MountNamespace();
  ~MountNamespace() override;

  // Makes the first mount, the root. EBUSY when there is one.
  Result<void> MountRoot(Ref<FileSystem> file_system, Ref<Dentry> root, unsigned flags);
  const Ref<Mount>& root() const { return root_; }
  // The number of the namespace (as in "mnt:[N]").
  uint64_t id() const { return id_; }

  // Puts a mount of `root` (a dentry of `file_system`) on top of `target`. Stacks on what is mounted there already.
  // ENOENT for a removed target, ENOTDIR for a directory on a file or the reverse, EINVAL when `target` is not of this
  // namespace.
  Result<Ref<Mount>> Attach(const Path& target, Ref<FileSystem> file_system, Ref<Dentry> root, unsigned flags);
  // MS_BIND, with `recursive` MS_REC. EINVAL for an unbindable source. Returns the new mount.
  Result<Ref<Mount>> Bind(const Path& source, const Path& target, bool recursive);
  // MS_MOVE. EINVAL unless `source` is the root of an attached mount, ELOOP into its own tree.
  Result<void> Move(const Path& source, const Path& target);
  // New MS_* flags for the mount whose root `target` is (EINVAL unless it is).
  Result<void> Remount(const Path& target, unsigned flags);
  // `type` is MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE. EINVAL unless `target` is the root of a mount.
  Result<void> SetPropagation(const Path& target, unsigned type, bool recursive);
  // `flags` are MNT_DETACH, MNT_FORCE, MNT_EXPIRE (umount2(2)); EBUSY with mounts below it or in `busy` use, EINVAL
  // when `target` is not the root of a mount of this namespace, or is the root of all. Takes the topmost mount of those
  // stacked there.
  Result<void> Detach(const Path& place, int flags, bool busy);
  // pivot_root(2). `current_root` is the caller's root directory; empty = that of the namespace. EINVAL unless both
  // roots are roots of mounts and `put_old` is at or below `new_root`, EBUSY when new_root or put_old is on the current
  // root mount. The caller moves the tasks' root and working directories.
  Result<void> Pivot(const Path& new_root, const Path& put_old, const Path& current_root);
  Result<void> Pivot(const Path& new_root, const Path& put_old);

  // open_tree(OPEN_TREE_CLONE): a copy of the tree at `source` (with `recursive` what is mounted below it too) in a
  // namespace of its own, which nobody sees; it ends with that namespace. EINVAL for an unbindable source.
  static Result<Ref<MountNamespace>> CloneTree(const Path& source, bool recursive);
  // move_mount(2) of such a tree: its mounts become those of this namespace, on `target`.
  Result<Ref<Mount>> AttachTree(MountNamespace& tree, const Path& target);

  // The mount on (mount, dentry), or null. Mounts upon that one are found by asking again.
  Mount* FindMounted(const Mount& mount, const Dentry& dentry) const { return mount.FindMounted(dentry); }
  // Null when there is none of this number.
  Mount* FindById(uint64_t id) const;
  // In the order of mountinfo.
  std::vector<Ref<Mount>> List() const { return mounts_; }
  // A copy for unshare(CLONE_NEWNS); `map` tells which old mount became which new one.
  Ref<MountNamespace> Clone(std::map<const Mount*, Ref<Mount>>& map) const;
  // The mount through which files of `file_system` are seen when nothing says otherwise: the first attached one of its
  // root, else the first one. Null when there is none.
  Ref<Mount> PrimaryMount(const FileSystem& file_system) const;

 private:
  Result<void> CheckTarget(const Path& target, const Dentry& root) const;
  void Connect(const Ref<Mount>& mount, const Path& target);
  static void Disconnect(Mount& mount);
  void RemoveTree(Mount& top);
  static Ref<Mount> Copy(const Mount& mount, Ref<Dentry> root);
  void CopyChildren(const Mount& from, const Ref<Mount>& to, bool keep_unbindable,
                    std::map<const Mount*, Ref<Mount>>* map);
  void Adopt(const Ref<Mount>& mount);

  uint64_t id_;
  Ref<Mount> root_;
  std::vector<Ref<Mount>> mounts_;
};

// Follows the mounts that are stacked on `path`, to the topmost one's root.
void FollowMounts(Path& path);

}  // namespace usl::vfs
