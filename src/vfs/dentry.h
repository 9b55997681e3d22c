// A name in a directory: the cache of look-ups, positive and negative. Guarded by the kernel lock.
//
// References: a dentry holds its parent and its inode, and the cache holds each dentry that it can find, so a dentry
// with one reference is a leaf that nobody uses. A directory inode has one linked dentry at most; a file may have
// several.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/ref.h"
#include "vfs/file_system.h"
#include "vfs/name_observer.h"

namespace usl::vfs {

class DentryCache;

class Dentry : public RefCounted {
 public:
  // A dentry outside the cache; with `linked` false one that stands for a file without a name (O_TMPFILE, removed
  // files).
  Dentry(Ref<Dentry> parent, std::string_view name, Ref<Inode> inode, bool linked = true);
  ~Dentry() override;

  const Ref<Dentry>& parent() const { return parent_; }  // null for the root of a file system
  const std::string& name() const { return name_; }
  const Ref<Inode>& inode() const { return inode_; }  // null = negative
  bool IsNegative() const { return !inode_; }
  // False once the name was removed or replaced while somebody still holds the dentry (an open or current directory).
  bool IsLinked() const { return linked_; }
  bool IsMountPoint() const { return mount_count_ > 0; }
  // Can the cache find it now?
  bool IsCached() const { return hashed_; }
  // The observer's own; 0 = it wants to hear nothing of this dentry. Only cached dentries may be marked.
  uint32_t mark() const { return mark_; }
  void set_mark(uint32_t mark) { mark_ = mark; }
  // Is this dentry `ancestor` or below it?
  bool IsBelow(const Dentry& ancestor) const;

 private:
  friend class DentryCache;
  friend class Inode;
  friend class Mount;
  friend class MountNamespace;
  void AddAlias();
  void RemoveAlias();

  uint32_t hash_ = 0;
  uint32_t mark_ = 0;
  bool linked_;
  bool hashed_ = false;
  bool referenced_ = false;  // found since the eviction hand passed
  int mount_count_ = 0;
  Ref<Dentry> parent_;
  std::string name_;
  Ref<Inode> inode_;
  Dentry* hash_next_ = nullptr;
  Dentry* alias_next_ = nullptr;
  Dentry** alias_back_ = nullptr;  // the pointer that points here
  // The eviction list of DentryCache.
  Dentry* lru_previous_ = nullptr;
  Dentry* lru_next_ = nullptr;
};

// All dentries of an instance in one hash table, bounded: beyond `limit`, those that nobody holds and that were not
// found since the eviction hand last passed are dropped (second chance), in constant time for each insertion.
class DentryCache {
 public:
  explicit DentryCache(size_t limit = 200'000);
  ~DentryCache();
  DentryCache(const DentryCache&) = delete;
  DentryCache& operator=(const DentryCache&) = delete;

  Ref<Dentry> MakeRoot(Ref<Inode> inode);
  // The cached child, positive or negative; null when it is not cached.
  Ref<Dentry> Find(Dentry& parent, std::string_view name) { return Ref<Dentry>(FindRaw(parent, name)); }
  // The same without a reference: valid until the cache is next added to, or the kernel lock is given up.
  Dentry* FindRaw(const Dentry& parent, std::string_view name);
  // Adds a child or replaces the cached one, when that says something else. `inode` may be null. A directory that has a
  // linked dentry elsewhere (its host moved it) keeps that dentry, which moves.
  Ref<Dentry> Insert(const Ref<Dentry>& parent, std::string_view name, Ref<Inode> inode);
  // The name is gone: unlinked dentries live on with their holders; the cache gets a negative entry where the directory
  // allows that.
  void Unlink(Dentry& child);
  // After a rename that the file system did. With `exchange` both stay positive.
  void Move(Dentry& child, const Ref<Dentry>& new_parent, std::string_view new_name, bool exchange);
  // Forgets a cached child (it changed behind the cache).
  void Forget(Dentry& child);
  // Forgets all names of a file system (its last mount is gone).
  void ForgetFileSystem(const FileSystem& file_system);
  // The dentry of a directory inode, or of a file inode one of its linked ones, else a removed one that somebody holds;
  // null when there is none.
  Ref<Dentry> FindByInode(const Inode& inode);
  // Has the inode more than one dentry?
  bool HasAliases(const Inode& inode) const;

  // Tells `observer` of changes from now on; null for nobody.
  void SetObserver(NameObserver* observer) { observer_ = observer; }

  size_t size() const { return size_; }
  void SetLimit(size_t limit);

 private:
  void AddNegative(const Ref<Dentry>& parent, std::string_view name);
  void Add(Dentry& dentry);     // to table and list, with a reference
  void Remove(Dentry& dentry);  // from both; may delete it
  void Hash(Dentry& dentry);
  void Unhash(Dentry& dentry);
  void ListPushFront(Dentry& dentry);
  void ListErase(Dentry& dentry);
  void Grow();
  void Trim();
  void TellChanged(Dentry& dentry);
  // Other names may have led through this one.
  void TellMoved(const Dentry& dentry);

  NameObserver* observer_ = nullptr;
  size_t limit_;
  size_t size_ = 0;
  std::vector<Dentry*> buckets_;
  Dentry* lru_head_ = nullptr;
  Dentry* lru_tail_ = nullptr;
};

}  // namespace usl::vfs
