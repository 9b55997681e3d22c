// DrvFs: a directory (or one file) of the host inside the guest, as `-v HOST:GUEST`, `--bind` and `mount -t drvfs` give
// it (docs/drvfs.md). Host changes are seen at once, symlinks are walked by the guest's rules and so never lead out of
// the mount on the host.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "fs/layer.h"
#include "vfs/file_system.h"

namespace usl::fs {

struct DrvFsOptions {
  std::optional<uid_t> uid;  // whose the files are in the guest; absent: root
  std::optional<gid_t> gid;
  mode_t umask = 0;  // taken off every mode, with fmask off files and dmask off directories
  mode_t fmask = 0;
  mode_t dmask = 0;
  bool metadata = false;  // owners, modes and special files are kept in user.usl, as in VolFs
  // The host's permission bits are shown and changed, and files of other host users keep their ids. Otherwise
  // everything is 0777 less what the host user may not do, and of `uid` and `gid`, as WSL shows a Windows drive.
  bool host_modes = false;
  NameCase name_case = NameCase::kForce;
  bool read_only = false;
};

// What is to be shown, opened: a directory, or one member of it.
struct DrvFsSource {
  UniqueFd directory;
  std::string single_file;
  std::string name;  // as /proc/mounts shows it
};

// Opens a host path as the host user means it: symlinks in it are followed, once. ENOENT, ENOTDIR, EACCES... of the
// path, EINVAL for a relative one.
Result<DrvFsSource> OpenDrvFsSource(const std::string& host_path);

// Errors of open(2); EOPNOTSUPP for `metadata` where the host file system has no user attributes.
Result<Ref<vfs::FileSystem>> MakeDrvFs(DrvFsSource source, const DrvFsOptions& options);

// Reads one option of "metadata,uid=1000,umask=022,fmask=,dmask=,gid=,case=off|dir|force,modes=host|wsl". Options of
// WSL's that mean nothing here (symlinkroot=, fallback=, cache=...) are accepted. EINVAL for anything else, or a bad
// value.
Result<void> ApplyDrvFsOption(std::string_view option, DrvFsOptions& options);
// The same for a list with commas, as mount(2) gets it.
Result<void> ApplyDrvFsOptions(std::string_view list, DrvFsOptions& options);

}  // namespace usl::fs
