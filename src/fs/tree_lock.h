// One kernel at a time owns a tree, and the private directory tells of which format the tree is.
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace usl::fs {

// The newest format of trees that this program knows, and the one that it writes (docs/volfs.md).
inline constexpr unsigned kTreeFormat = 1;

// The tree's format by `.usl/format`; 1 where there is no such file. EIO when it does not hold a number.
Result<unsigned> ReadTreeFormat(int root);

class TreeLock {
 public:
  // Takes the lock of the tree at `path`; it lasts as long as the object. flock(2) on the root directory keeps out the
  // other kernels of this machine; where the file system is one that machines share, a lock on `.usl/lock` keeps out
  // those of others. EBUSY: somebody has it. EOPNOTSUPP: the file system cannot lock. Either way `why` has a line for
  // people.
  static Result<TreeLock> Take(const std::string& path, std::string* why);

  TreeLock() = default;

 private:
  UniqueFd directory_;
  UniqueFd file_;
};

}  // namespace usl::fs
