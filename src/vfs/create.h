// What a new inode gets from its directory and its maker; internal to vfs.
#pragma once

#include <cstddef>
#include <vector>

#include "vfs/vfs.h"

namespace usl::vfs {

struct Vfs::Creation {
  NewInode spec;
  std::vector<std::byte> access_acl;   // to be set on it; empty = none
  std::vector<std::byte> default_acl;  // of a directory

  Result<void> ApplyLists(Inode& inode) const;
};

}  // namespace usl::vfs
