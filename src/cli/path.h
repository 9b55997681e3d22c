// `usl path`, which is wslpath when it is called by that name.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "manager/path_map.h"
#include "manager/wine_drives.h"

namespace usl::cli {

enum class PathForm {
  kGuest,  // -u
  kHost,   // -w: with a drive and backslashes where one leads there
  kMixed,  // -m: the same with slashes
  kPosix,  // -p: the host's own path
};

struct PathRequest {
  PathForm form = PathForm::kGuest;
  bool absolute = false;  // -a
  std::string current_directory;
  bool in_guest = false;  // sources of mounts may be DOS paths, and the drives are not known
};

// Translates one path. ENOENT where the other side does not see it, ENODEV for an unknown drive.
Result<std::string> TranslatePath(const manager::PathMap& map, const manager::WineDrives& drives, std::string_view path,
                                  const PathRequest& request);

}  // namespace usl::cli
