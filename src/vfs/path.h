// A place in the guest's name space: a dentry seen through a mount.
#pragma once

#include "base/ref.h"
#include "vfs/dentry.h"
#include "vfs/mount.h"

namespace usl::vfs {

struct Path {
  Ref<Mount> mount;
  Ref<Dentry> dentry;

  explicit operator bool() const { return static_cast<bool>(dentry); }
  Inode* inode() const { return dentry ? dentry->inode().get() : nullptr; }
  friend bool operator==(const Path&, const Path&) = default;
};

}  // namespace usl::vfs
