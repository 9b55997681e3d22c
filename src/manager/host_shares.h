// Which host directories guests may mount by `mount -t drvfs`. The rule: a guest reaches nothing of the host but what
// the user named when the instance was started (volumes, --here, --drvfs) and what lies below that.
//
// A source is a text of the hostile guest's. It is matched against the names of the shares by text, and the rest is
// walked component by component from a descriptor that was opened when the instance was set up, without following a
// symlink and without "..": whatever the guest, or another writer of the directory, does to it meanwhile, the walk
// stays below. What is outside is EPERM, whether it exists or not.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "fs/drvfs.h"
#include "manager/wine_drives.h"

namespace usl::manager {

class HostShares {
 public:
  // `drives` gives texts with a drive their meaning; it allows nothing by itself.
  explicit HostShares(WineDrives drives) : drives_(std::move(drives)) {}

  // Allows an absolute host path, a directory or a file, and what is below it. `read_only`: only such mounts. Errors of
  // open(2).
  Result<void> Allow(const std::string& host_path, bool read_only);

  struct Found {
    fs::DrvFsSource source;
    bool read_only = false;
  };
  // EPERM for what no share allows and for ".."; ELOOP for a symlink below a share; ENOENT, ENOTDIR as open(2); EACCES
  // for what is neither a directory nor a regular file. Where several shares contain it, the nearest one counts.
  Result<Found> Open(std::string_view source) const;

 private:
  struct Share {
    std::vector<std::string> components;  // of its path
    UniqueFd fd;                          // O_PATH: of the directory
    std::string file;                     // the member that it is, for a single file
    bool read_only = false;
  };
  Result<Found> OpenBelow(const Share& share, const std::vector<std::string>& components, bool fold) const;

  WineDrives drives_;
  std::vector<Share> shares_;
};

}  // namespace usl::manager
