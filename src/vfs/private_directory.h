// A directory of the host that holds objects of this instance alone, each named by a number.
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace usl::vfs {

// Makes `directory` (0700) when it is absent and empties it of what an instance that was killed left there. The result
// is an O_PATH descriptor of it. ENOTDIR for a symlink or a file in its place, EACCES when it is somebody else's.
Result<UniqueFd> PreparePrivateDirectory(const std::string& directory);

}  // namespace usl::vfs
