// DrvFs: a directory (or one file) of the host inside the guest, as `-v HOST:GUEST` and `mount -t drvfs` give it. Host
// changes are seen at once, symlinks are walked by the guest's rules and so never lead out of the mount on the host.
#pragma once

#include <string>

#include "base/ref.h"
#include "base/result.h"
#include "vfs/file_system.h"

namespace usl::fs {

struct DrvFsOptions {
  std::string host_path;  // absolute; symlinks in it are followed once
  uid_t uid = 0;          // whose the host user's files are in the guest; other files keep their own ids
  gid_t gid = 0;
  mode_t umask = 0;  // taken off every mode, with fmask off files and dmask off directories
  mode_t fmask = 0;
  mode_t dmask = 0;
  bool metadata = false;  // owners, modes and special files are kept in user.usl, as in VolFs
  bool read_only = false;
};

// ENOENT, ENOTDIR, EACCES... of the host path.
Result<Ref<vfs::FileSystem>> MakeDrvFs(const DrvFsOptions& options);

}  // namespace usl::fs
