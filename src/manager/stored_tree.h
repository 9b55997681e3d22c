// Looking at the files of a distribution without starting it, also while it runs: nothing is locked and nothing
// changed.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "manager/run_options.h"
#include "manager/session.h"
#include "vfs/mount.h"
#include "vfs/vfs.h"

namespace usl::manager {

class StoredTree {
 public:
  // The tree and the layers of the options. Errors of open(2) and of VolFs::Open.
  static Result<StoredTree> Open(const RunOptions& options);
  ~StoredTree();
  StoredTree(StoredTree&&) = default;
  StoredTree& operator=(StoredTree&&) = delete;

  GuestView view() const { return {*vfs_, root_}; }

 private:
  struct Directory;
  StoredTree();

  // Destroyed in the reverse order: the private directory at last.
  std::unique_ptr<Directory> directory_;
  std::unique_ptr<vfs::Vfs> vfs_;
  Ref<vfs::MountNamespace> mounts_;
  vfs::Path root_;
};

}  // namespace usl::manager
