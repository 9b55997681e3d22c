// The copies that a new mount has on the peers and slaves of its parent (propagate_mnt of Linux). Internal to src/vfs.
#pragma once

#include <set>
#include <vector>

#include "vfs/mount.h"
#include "vfs/path.h"

namespace usl::vfs {

class MountCopies {
 public:
  // For a mount at `place`, whose mount is shared. Mounts that already are in the tree `source` get none.
  MountCopies(const Path& place, const Ref<Mount>& source) : dentry_(place.dentry) {
    Make(*place.mount->group(), place.mount.get(), source);
  }
  struct Planned {
    MountTree tree;  // of no namespace yet
    Path place;
  };
  const std::vector<Planned>& planned() const { return planned_; }

 private:
  // `done` has its mount, `source` is what the others' are copies of.
  void Make(const PeerGroup& group, const Mount* done, const Ref<Mount>& source);
  void Add(Mount& mount, MountTree copy) { planned_.push_back({std::move(copy), Path{Ref<Mount>(&mount), dentry_}}); }

  Ref<Dentry> dentry_;
  std::set<const PeerGroup*> visited_;
  std::vector<Planned> planned_;
};

}  // namespace usl::vfs
