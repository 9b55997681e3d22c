// Who wants to know when what was said of a name is no longer true (kernel/fast_path.h). Under the kernel lock.
#pragma once

namespace usl::vfs {

class Dentry;

class NameObserver {
 public:
  virtual ~NameObserver() = default;
  // A dentry that carries a mark (Dentry::mark()) got another inode, left the cache, or its inode's attributes changed.
  virtual void Changed(Dentry& dentry) = 0;
  // Any path may lead elsewhere now, or may be barred: a directory or a symlink moved or went, or the right to search a
  // directory changed.
  virtual void TreeChanged() = 0;
};

}  // namespace usl::vfs
