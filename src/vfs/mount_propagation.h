// Where mount and unmount events travel (fs/pnode.c of Linux). Guarded by the kernel lock.
#pragma once

#include <utility>
#include <vector>

#include "base/ref.h"
#include "vfs/mount.h"
#include "vfs/path.h"

namespace usl::vfs {

// The attached mounts that see what happens in `mount` at `dentry`, without `mount` itself: its peers, the slaves of
// their group, and theirs.
std::vector<Mount*> SeenBy(const Mount& mount, const Dentry& dentry);

struct UnmountPlan {
  // Those that were given first, then the copies of them that propagation made and below which nothing else is mounted.
  MountTree going;
  // Mounts that cover the root of such a copy stay, in its place.
  std::vector<std::pair<Ref<Mount>, Path>> survivors;
};
UnmountPlan PlanUnmount(const MountTree& going);

}  // namespace usl::vfs
