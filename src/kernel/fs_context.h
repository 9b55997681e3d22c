// A task's place in the file tree (struct fs_struct): shared by the tasks that CLONE_FS made, guarded by the kernel
// lock.
#pragma once

#include <sys/types.h>

#include "base/ref.h"
#include "vfs/mount.h"
#include "vfs/path.h"

namespace usl::kernel {

struct FsContext : RefCounted {
  vfs::Path root;
  vfs::Path cwd;
  mode_t umask = 022;
  Ref<vfs::MountNamespace> mounts;
  // What `root` and `cwd` are called in the fast path's table: new numbers at each change of them. 0 = nothing is
  // looked up there, as with places that several processes share.
  uint32_t root_context = 0;
  uint32_t cwd_context = 0;

  Ref<FsContext> Clone() const;
};

}  // namespace usl::kernel
