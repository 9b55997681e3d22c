// Removing a whole host tree.
#pragma once

#include "base/result.h"

namespace usl::fs {

// Removes directory `name` of `parent` with everything in it, however deep, with few fds and no recursion. Symlinks are
// removed, not followed. Stops at the first thing that cannot be removed.
Result<void> RemoveHostTree(int parent, const char* name);

}  // namespace usl::fs
