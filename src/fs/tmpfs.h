// tmpfs: VolFs over a fresh private directory of a memory file system, with attribute records in memory. Gone with the
// last reference to it, or when the next tmpfs is made after a kernel that died.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "base/ref.h"
#include "base/result.h"
#include "vfs/file_system.h"

namespace usl::fs {

struct TmpFsOptions {
  std::optional<uint64_t> size;    // bytes; absent: no limit of its own, shown as half of the host's memory
  std::optional<uint64_t> inodes;  // absent: as many as half of the host's memory has pages
  mode_t mode = 01777;
  uid_t uid = 0;
  gid_t gid = 0;
  // Where the private directory is made; empty: /dev/shm, or `fallback_directory` where that is missing or mounted
  // noexec.
  std::string host_directory;
  std::string fallback_directory;
  std::string source = "tmpfs";
};

// Errors of mkdir(2) in the host directory.
// Names are counted as Linux counts inodes (ENOSPC); a removed file that is still open does not count. The size is
// exact in statfs(2), and stops new files: when it is used up, none can be made (ENOSPC). A write(2) itself is native,
// so what is open already grows until the host's memory file system is full. The tree is in a directory of mode 0700,
// as guest modes (1777) are host modes too.
Result<Ref<vfs::FileSystem>> MakeTmpFs(const TmpFsOptions& options);

// Removes the directories of this user's tmpfs whose kernel has ended without doing so (it was killed, or left by
// _exit): for the supervisor, after its kernel's death. MakeTmpFs does it too. `ending` names a process that is about
// to end and whose directories go with it, 0 = none: for a kernel that has lost its supervisor.
void RemoveTmpFsLeftovers(const std::string& fallback_directory, pid_t ending = 0);

}  // namespace usl::fs
