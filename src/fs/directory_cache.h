// The host directories that VolFs works in, and the bounded set of fds that are open on them.
//
// A HostDirectory names a directory by its parent and one component; its fd is opened when it is needed and may be
// closed at any time after (RLIMIT_NOFILE can be small), to be opened again along the chain of parents. Guarded by the
// kernel lock.
#pragma once

#include <string>

#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "fs/host_file.h"

namespace usl::fs {

class Layer;
struct HostRule;

// An O_PATH fd of a directory. Who holds it may use the fd even when the cache has dropped it.
class OpenDirectory : public RefCounted {
 public:
  explicit OpenDirectory(UniqueFd fd) : fd_(std::move(fd)) {}
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

class HostDirectory : public RefCounted {
 public:
  // The root of a layer: its fd stays open.
  HostDirectory(Layer& layer, Ref<OpenDirectory> root, HostKey key);
  HostDirectory(Ref<HostDirectory> parent, std::string name, HostKey key);
  ~HostDirectory() override;

  Layer& layer() const { return layer_; }
  const HostKey& key() const { return key_; }
  const Ref<HostDirectory>& parent() const { return parent_; }  // null for a root
  const std::string& name() const { return name_; }
  // After a rename on the host.
  void Move(Ref<HostDirectory> parent, std::string name);

  // What the host view makes of this directory: shown without its content, and rules for its members.
  bool shown_empty = false;
  const HostRule* rule = nullptr;

 private:
  friend class DirectoryCache;
  Layer& layer_;
  Ref<HostDirectory> parent_;
  std::string name_;
  HostKey key_;
  Ref<OpenDirectory> open_;
  class DirectoryCache* cache_ = nullptr;  // set while in its list
  HostDirectory* newer_ = nullptr;
  HostDirectory* older_ = nullptr;
};

class DirectoryCache {
 public:
  explicit DirectoryCache(size_t limit = 256) : limit_(limit) {}
  ~DirectoryCache();

  // The directory's fd, opened when it is not. ESTALE when another directory is there by now (the tree was changed
  // behind the kernel's back).
  Result<Ref<OpenDirectory>> Get(HostDirectory& directory);
  // The fd if it is open already, else null.
  Ref<OpenDirectory> Peek(HostDirectory& directory) const { return directory.open_; }
  // How many fds the cache holds.
  size_t size() const { return size_; }

 private:
  friend class HostDirectory;
  void Insert(HostDirectory& directory);
  void Remove(HostDirectory& directory);

  size_t limit_;
  size_t size_ = 0;
  HostDirectory* newest_ = nullptr;
  HostDirectory* oldest_ = nullptr;
};

}  // namespace usl::fs
