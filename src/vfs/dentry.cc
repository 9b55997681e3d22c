#include "vfs/dentry.h"

#include <functional>

namespace usl::vfs {

namespace {

// How far the eviction hand moves at one insertion: enough to find a victim as a rule, and a bound for the worst case.
constexpr int kEvictionSteps = 16;

uint32_t HashOf(const Dentry* parent, std::string_view name) {
  // FNV-1a by eight bytes; names are short, and the parent's address gives the rest.
  uint64_t hash = 0xcbf29ce484222325 ^ (reinterpret_cast<uintptr_t>(parent) >> 4) * 0x9e3779b97f4a7c15;
  while (name.size() >= 8) {
    uint64_t word;
    __builtin_memcpy(&word, name.data(), 8);
    hash = (hash ^ word) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 29;
    name.remove_prefix(8);
  }
  uint64_t word = 0;
  __builtin_memcpy(&word, name.data(), name.size());
  hash = (hash ^ word ^ (uint64_t{name.size()} << 56)) * 0x9e3779b97f4a7c15;
  return static_cast<uint32_t>(hash >> 32) ^ static_cast<uint32_t>(hash);
}

}  // namespace

Dentry::Dentry(Ref<Dentry> parent, std::string_view name, Ref<Inode> inode, bool linked)
    : linked_(linked), parent_(std::move(parent)), name_(name), inode_(std::move(inode)) {
  AddAlias();
}

Dentry::~Dentry() {
  RemoveAlias();
  // A deep path is let go of in a loop: the recursion of destructors would be as deep as the path.
  Ref<Dentry> parent = std::move(parent_);
  while (parent && parent->HasOneRef()) parent = std::move(parent->parent_);
}

void Dentry::AddAlias() {
  if (!inode_) return;
  alias_next_ = inode_->first_dentry_;
  if (alias_next_) alias_next_->alias_back_ = &alias_next_;
  alias_back_ = &inode_->first_dentry_;
  inode_->first_dentry_ = this;
}

void Dentry::RemoveAlias() {
  if (!alias_back_) return;
  *alias_back_ = alias_next_;
  if (alias_next_) alias_next_->alias_back_ = alias_back_;
  alias_back_ = nullptr;
  alias_next_ = nullptr;
}

bool Dentry::IsBelow(const Dentry& ancestor) const {
  for (const Dentry* dentry = this; dentry; dentry = dentry->parent_.get()) {
    if (dentry == &ancestor) return true;
  }
  return false;
}

DentryCache::DentryCache(size_t limit) : limit_(limit), buckets_(1024) {}

DentryCache::~DentryCache() {
  while (lru_tail_) Remove(*lru_tail_);
}

Ref<Dentry> DentryCache::MakeRoot(Ref<Inode> inode) {
  return MakeRef<Dentry>(nullptr, "/", std::move(inode));
}

Dentry* DentryCache::FindRaw(const Dentry& parent, std::string_view name) {
  const uint32_t hash = HashOf(&parent, name);
  for (Dentry* dentry = buckets_[hash & (buckets_.size() - 1)]; dentry; dentry = dentry->hash_next_) {
    if (dentry->hash_ == hash && dentry->parent_.get() == &parent && dentry->name_ == name) {
      dentry->referenced_ = true;
      return dentry;
    }
  }
  return nullptr;
}

Ref<Dentry> DentryCache::Insert(const Ref<Dentry>& parent, std::string_view name, Ref<Inode> inode) {
  if (Dentry* cached = FindRaw(*parent, name)) {
    if (cached->inode_ == inode) return Ref<Dentry>(cached);
    if (!cached->inode_ && !(inode->IsDirectory() && inode->first_dentry_)) {
      TellChanged(*cached);
      cached->inode_ = std::move(inode);
      cached->AddAlias();
      return Ref<Dentry>(cached);
    }
    Forget(*cached);
  }
  if (inode && inode->IsDirectory()) {
    Ref<Dentry> elsewhere = FindByInode(*inode);
    // The loop check: a host that shows a directory below itself must not make one here.
    if (elsewhere && elsewhere->linked_ && elsewhere->parent_ && !parent->IsBelow(*elsewhere)) {
      Move(*elsewhere, parent, name, false);
      return elsewhere;
    }
  }
  auto dentry = MakeRef<Dentry>(parent, name, std::move(inode));
  Add(*dentry);
  Trim();
  return dentry;
}

void DentryCache::TellChanged(Dentry& dentry) {
  if (dentry.mark_ != 0 && observer_) observer_->Changed(dentry);
}

void DentryCache::TellMoved(const Dentry& dentry) {
  const Inode* inode = dentry.inode_.get();
  if (observer_ && inode && (inode->IsDirectory() || inode->IsSymlink())) observer_->TreeChanged();
}

void DentryCache::Unlink(Dentry& child) {
  Ref<Dentry> hold(&child);
  TellMoved(child);
  child.linked_ = false;
  if (!child.hashed_) return;
  Remove(child);
  AddNegative(child.parent_, child.name_);
}

void DentryCache::AddNegative(const Ref<Dentry>& parent, std::string_view name) {
  if (!parent || !parent->linked_ || !parent->inode_ || !parent->inode_->CacheableNames()) return;
  auto negative = MakeRef<Dentry>(parent, name, nullptr);
  Add(*negative);
  Trim();
}

void DentryCache::Move(Dentry& child, const Ref<Dentry>& new_parent, std::string_view new_name, bool exchange) {
  Ref<Dentry> hold(&child);
  Ref<Dentry> target = Find(*new_parent, new_name);
  if (target.get() == &child) return;
  TellMoved(child);
  if (target) TellMoved(*target);
  Ref<Dentry> old_parent = child.parent_;
  std::string old_name = child.name_;
  if (exchange && target) {
    Unhash(*target);
    Unhash(child);
    target->parent_ = old_parent;
    std::swap(target->name_, child.name_);
    child.parent_ = new_parent;
    Hash(*target);
    Hash(child);
    return;
  }
  if (target) {
    target->linked_ = false;
    Remove(*target);
  }
  const bool was_hashed = child.hashed_;
  if (was_hashed) Unhash(child);
  child.parent_ = new_parent;
  child.name_ = new_name;
  child.linked_ = true;
  if (!was_hashed) {
    Add(child);
    return;
  }
  Hash(child);
  AddNegative(old_parent, old_name);
}

void DentryCache::Forget(Dentry& child) {
  TellMoved(child);
  child.linked_ = false;
  if (child.hashed_) Remove(child);
}

void DentryCache::ForgetFileSystem(const FileSystem& file_system) {
  if (observer_) observer_->TreeChanged();
  for (Dentry* dentry = lru_head_; dentry;) {
    Dentry* next = dentry->lru_next_;
    const Inode* inode = dentry->inode_ ? dentry->inode_.get() : dentry->parent_->inode_.get();
    if (inode && &inode->file_system() == &file_system) {
      // Removing a child may release its parent, but not from the list: only the cache's own reference does that.
      Remove(*dentry);
    }
    dentry = next;
  }
}

Ref<Dentry> DentryCache::FindByInode(const Inode& inode) {
  Dentry* removed = nullptr;
  for (Dentry* dentry = inode.first_dentry_; dentry; dentry = dentry->alias_next_) {
    if (dentry->linked_) return Ref<Dentry>(dentry);
    removed = dentry;
  }
  return Ref<Dentry>(removed);
}

bool DentryCache::HasAliases(const Inode& inode) const {
  return inode.first_dentry_ && inode.first_dentry_->alias_next_;
}

void DentryCache::SetLimit(size_t limit) {
  limit_ = limit;
  for (size_t before = size_ + 1; size_ > limit_ && size_ < before;) {
    before = size_;
    for (size_t i = 0; i < before && size_ > limit_; i += kEvictionSteps) Trim();
  }
}

void DentryCache::Add(Dentry& dentry) {
  dentry.AddRef();
  ++size_;
  Hash(dentry);
  ListPushFront(dentry);
}

void DentryCache::Remove(Dentry& dentry) {
  Unhash(dentry);
  ListErase(dentry);
  --size_;
  dentry.Release();
}

void DentryCache::Hash(Dentry& dentry) {
  if (size_ > buckets_.size()) Grow();
  dentry.hash_ = HashOf(dentry.parent_.get(), dentry.name_);
  Dentry*& bucket = buckets_[dentry.hash_ & (buckets_.size() - 1)];
  dentry.hash_next_ = bucket;
  bucket = &dentry;
  dentry.hashed_ = true;
}

void DentryCache::Unhash(Dentry& dentry) {
  TellChanged(dentry);
  Dentry** link = &buckets_[dentry.hash_ & (buckets_.size() - 1)];
  while (*link != &dentry) link = &(*link)->hash_next_;
  *link = dentry.hash_next_;
  dentry.hash_next_ = nullptr;
  dentry.hashed_ = false;
}

void DentryCache::ListPushFront(Dentry& dentry) {
  dentry.lru_previous_ = nullptr;
  dentry.lru_next_ = lru_head_;
  (lru_head_ ? lru_head_->lru_previous_ : lru_tail_) = &dentry;
  lru_head_ = &dentry;
}

void DentryCache::ListErase(Dentry& dentry) {
  (dentry.lru_previous_ ? dentry.lru_previous_->lru_next_ : lru_head_) = dentry.lru_next_;
  (dentry.lru_next_ ? dentry.lru_next_->lru_previous_ : lru_tail_) = dentry.lru_previous_;
  dentry.lru_previous_ = dentry.lru_next_ = nullptr;
}

void DentryCache::Grow() {
  std::vector<Dentry*> old = std::exchange(buckets_, std::vector<Dentry*>(buckets_.size() * 2));
  for (Dentry* chain : old) {
    while (Dentry* dentry = chain) {
      chain = dentry->hash_next_;
      Dentry*& bucket = buckets_[dentry->hash_ & (buckets_.size() - 1)];
      dentry->hash_next_ = bucket;
      bucket = dentry;
    }
  }
}

void DentryCache::Trim() {
  for (int step = 0; step < kEvictionSteps && size_ > limit_ && lru_tail_; ++step) {
    Dentry& victim = *lru_tail_;
    if (victim.HasOneRef() && !victim.referenced_) {
      Remove(victim);
      continue;
    }
    victim.referenced_ = false;
    ListErase(victim);
    ListPushFront(victim);
  }
}

}  // namespace usl::vfs
