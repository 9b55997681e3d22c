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

  Ref<FsContext> Clone() const;
};

}  // namespace usl::kernel
