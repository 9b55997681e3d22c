#include "manager/stored_tree.h"

#include <sys/mount.h>

#include <cstdlib>
#include <filesystem>

#include "fs/volfs.h"

namespace usl::manager {

// What a Vfs wants for its own objects.
struct StoredTree::Directory {
  std::string path;
  ~Directory() {
    std::error_code ignored;
    if (!path.empty()) std::filesystem::remove_all(path, ignored);
  }
};

StoredTree::StoredTree() = default;
StoredTree::~StoredTree() = default;

Result<StoredTree> StoredTree::Open(const RunOptions& options) {
  StoredTree tree;
  tree.directory_ = std::make_unique<Directory>();
  std::error_code ignored;
  std::string place = std::filesystem::temp_directory_path(ignored).string();
  if (ignored) place = "/tmp";
  place += "/usl-look-XXXXXX";
  if (!mkdtemp(place.data())) return FailErrno();
  tree.directory_->path = place;
  tree.vfs_ = USL_TRY(vfs::Vfs::Create(place));
  // The writable tree too as one that is only read: its lock is its instance's.
  fs::VolFsOptions volfs;
  volfs.lowers.push_back({.path = options.rootfs});
  for (const std::string& layer : options.layers) volfs.lowers.push_back({.path = layer});
  Ref<vfs::FileSystem> root = USL_TRY(fs::VolFs::Open(std::move(volfs)));
  tree.vfs_->Register(root);
  tree.mounts_ = MakeRef<vfs::MountNamespace>();
  auto dentry = tree.vfs_->RootDentry(root);
  USL_TRY(tree.mounts_->MountRoot(root, dentry, MS_RDONLY));
  tree.root_ = {tree.mounts_->root(), dentry};
  return tree;
}

}  // namespace usl::manager
