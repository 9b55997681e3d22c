#include "fs/directory_cache.h"

#include <fcntl.h>

#include <vector>

namespace usl::fs {

HostDirectory::HostDirectory(Layer& layer, Ref<OpenDirectory> root, HostKey key)
    : layer_(layer), key_(key), open_(std::move(root)) {}

HostDirectory::HostDirectory(Ref<HostDirectory> parent, std::string name, HostKey key)
    : layer_(parent->layer()), parent_(std::move(parent)), name_(std::move(name)), key_(key) {}

HostDirectory::~HostDirectory() {
  if (cache_) cache_->Remove(*this);
  // A chain of parents may be as deep as a guest likes: release it in a loop, not by recursion.
  Ref<HostDirectory> next = std::move(parent_);
  while (next && next->HasOneRef()) next = std::move(next->parent_);
}

void HostDirectory::Move(Ref<HostDirectory> parent, std::string name) {
  parent_ = std::move(parent);
  name_ = std::move(name);
}

DirectoryCache::~DirectoryCache() {
  while (newest_) Remove(*newest_);
}

void DirectoryCache::Insert(HostDirectory& directory) {
  directory.cache_ = this;
  directory.newer_ = nullptr;
  directory.older_ = newest_;
  if (newest_) newest_->newer_ = &directory;
  newest_ = &directory;
  if (!oldest_) oldest_ = &directory;
  ++size_;
}

void DirectoryCache::Remove(HostDirectory& directory) {
  (directory.newer_ ? directory.newer_->older_ : newest_) = directory.older_;
  (directory.older_ ? directory.older_->newer_ : oldest_) = directory.newer_;
  directory.newer_ = directory.older_ = nullptr;
  directory.cache_ = nullptr;
  directory.open_ = nullptr;
  --size_;
}

Result<Ref<OpenDirectory>> DirectoryCache::Get(HostDirectory& directory) {
  if (directory.open_) {
    if (directory.cache_ && newest_ != &directory) {
      Ref<OpenDirectory> keep = directory.open_;
      Remove(directory);
      directory.open_ = std::move(keep);
      Insert(directory);
    }
    return directory.open_;
  }
  std::vector<HostDirectory*> closed;
  HostDirectory* at = &directory;
  for (; !at->open_; at = at->parent_.get()) {
    if (!at->parent_) return Fail(ESTALE);
    closed.push_back(at);
  }
  Ref<OpenDirectory> current = at->open_;
  while (!closed.empty()) {
    HostDirectory& next = *closed.back();
    closed.pop_back();
    UniqueFd fd = USL_TRY(OpenHost({current->fd(), next.name_.c_str()}, O_PATH | O_DIRECTORY | O_NOFOLLOW));
    struct stat status;
    if (::fstat(fd.get(), &status) < 0) return FailErrno();
    if (KeyOf(status) != next.key_) return Fail(ESTALE);
    current = MakeRef<OpenDirectory>(std::move(fd));
    next.open_ = current;
    Insert(next);
    if (size_ > limit_) Remove(*oldest_);
  }
  return current;
}

}  // namespace usl::fs
