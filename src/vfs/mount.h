// The mount tree (mount_namespaces(7)). Guarded by the kernel lock.
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

class Mount : public RefCounted {
 public:
  Mount(uint64_t id, Ref<FileSystem> file_system, Ref<Dentry> root, unsigned flags);

  uint64_t id() const { return id_; }  // as in mountinfo
  FileSystem& file_system() const { return *file_system_; }
  const Ref<FileSystem>& file_system_ref() const { return file_system_; }
  const Ref<Dentry>& root() const { return root_; }
  Mount* parent() const { return parent_.get(); }  // null for the namespace's root
  const Ref<Mount>& parent_ref() const { return parent_; }
  const Ref<Dentry>& mount_point() const { return mount_point_; }  // in the parent
  // MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME, MS_RELATIME, MS_NOSYMFOLLOW...
  unsigned flags() const { return flags_; }
  bool IsReadOnly() const { return (flags_ & MS_RDONLY) || file_system_->IsReadOnly(); }
  // MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE; kept and shown, propagation itself is within one namespace.
  unsigned propagation() const { return propagation_; }
  bool IsAttached() const { return attached_; }

 private:
  friend class MountNamespace;
  uint64_t id_;
  Ref<FileSystem> file_system_;
  Ref<Dentry> root_;
  Ref<Mount> parent_;
  Ref<Dentry> mount_point_;
  unsigned flags_;
  unsigned propagation_ = MS_PRIVATE;
  bool attached_ = false;
};

// One tree of mounts. unshare(CLONE_NEWNS) copies it.
class MountNamespace : public RefCounted {
 public:
  MountNamespace();

  // Makes the first mount, the root.
  Result<void> MountRoot(Ref<FileSystem> file_system, Ref<Dentry> root, unsigned flags);
  const Ref<Mount>& root() const { return root_; }

  // Puts a mount of `root` (a dentry of `file_system`) on top of `target`. Stacks on what is mounted there already.
  Result<Ref<Mount>> Attach(const Path& target, Ref<FileSystem> file_system, Ref<Dentry> root, unsigned flags);
  // MS_BIND, with `recursive` MS_REC.
  Result<Ref<Mount>> Bind(const Path& source, const Path& target, bool recursive);
  Result<void> Move(const Path& source, const Path& target);
  Result<void> Remount(const Path& target, unsigned flags);
  Result<void> SetPropagation(const Path& target, unsigned type, bool recursive);
  // `flags` are MNT_DETACH, MNT_FORCE, MNT_EXPIRE (umount2(2)); EBUSY with mounts below it or in `busy` use.
  Result<void> Detach(const Path& target, int flags, bool busy);
  // pivot_root(2) after its checks.
  Result<void> Pivot(const Path& new_root, const Path& put_old);

  // The topmost mount on (mount, dentry), or null.
  Mount* FindMounted(const Mount& mount, const Dentry& dentry) const;
  // In the order of mountinfo.
  std::vector<Ref<Mount>> List() const;
  // A copy for unshare(CLONE_NEWNS); `map` tells which old mount became which new one.
  Ref<MountNamespace> Clone(std::map<const Mount*, Ref<Mount>>& map) const;
  // The mount through which files of `file_system` are seen when nothing says otherwise: the first one attached.
  Ref<Mount> PrimaryMount(const FileSystem& file_system) const;

 private:
  Ref<Mount> root_;
  std::vector<Ref<Mount>> mounts_;
};

}  // namespace usl::vfs
