// A name in a directory: the cache of look-ups, positive and negative. Guarded by the kernel lock.
//
// References: a dentry holds its parent; a parent knows its children by pointer and drops them when they die or when
// DentryCache evicts them. A directory inode has one dentry at most; a file may have several (hard links).
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "base/ref.h"
#include "vfs/file_system.h"

namespace usl::vfs {

class DentryCache;

class Dentry : public RefCounted {
 public:
  Dentry(Ref<Dentry> parent, std::string name, Ref<Inode> inode);
  ~Dentry() override;

  const Ref<Dentry>& parent() const { return parent_; }  // null for the root of a file system
  const std::string& name() const { return name_; }
  const Ref<Inode>& inode() const { return inode_; }  // null = negative
  bool IsNegative() const { return !inode_; }
  // False once the name was removed or replaced while somebody still holds the dentry (an open or current directory).
  bool IsLinked() const { return linked_; }
  bool IsMountPoint() const { return mount_count_ > 0; }

 private:
  friend class DentryCache;
  friend class MountNamespace;
  Ref<Dentry> parent_;
  std::string name_;
  Ref<Inode> inode_;
  std::unordered_map<std::string_view, Dentry*> children_;  // keys point into the children's name_
  bool linked_ = true;
  int mount_count_ = 0;
  // LRU links of DentryCache.
  Dentry* lru_previous_ = nullptr;
  Dentry* lru_next_ = nullptr;
};

// All dentries of an instance, bounded: beyond `limit` the least recently used ones that nobody holds are dropped.
class DentryCache {
 public:
  explicit DentryCache(size_t limit = 200'000) : limit_(limit) {}

  Ref<Dentry> MakeRoot(Ref<Inode> inode);
  // The cached child, positive or negative; null when it is not cached.
  Ref<Dentry> Find(Dentry& parent, std::string_view name);
  // Adds (or replaces a negative) child. `inode` may be null.
  Ref<Dentry> Insert(const Ref<Dentry>& parent, std::string_view name, Ref<Inode> inode);
  // The name is gone: unlinked dentries live on with their holders; the cache gets a negative entry.
  void Unlink(Dentry& child);
  // After a rename that the file system did. With `exchange` both stay positive.
  void Move(Dentry& child, const Ref<Dentry>& new_parent, std::string_view new_name, bool exchange);
  // Forgets a cached child (it changed behind the cache).
  void Forget(Dentry& child);
  // The dentry of a directory inode, or of a file inode one of its linked ones; null when none is cached.
  Ref<Dentry> FindByInode(const Inode& inode);

  size_t size() const { return size_; }
  void SetLimit(size_t limit) { limit_ = limit; }

 private:
  friend class Dentry;
  void Touch(Dentry& dentry);
  void Trim();

  size_t limit_;
  size_t size_ = 0;
  Dentry* lru_head_ = nullptr;
  Dentry* lru_tail_ = nullptr;
  std::unordered_multimap<const Inode*, Dentry*> by_inode_;
};

}  // namespace usl::vfs
