// Names to inodes: through the layers, and from open host files back.
#include <fcntl.h>
#include <unistd.h>

#include "base/format.h"
#include "fs/volfs.h"
#include "fs/volfs_inode.h"

namespace usl::fs {

bool VolFs::IsReservedName(const VolInode& directory, std::string_view name) const {
  return name == ".usl" && &directory == root_.get() && layers_.front()->UsesRecords();
}

Result<std::optional<FoundName>> VolFs::Find(std::span<const Ref<HostDirectory>> stack, std::string_view name) {
  for (size_t i = 0; i < stack.size(); ++i) {
    Layer& layer = stack[i]->layer();
    auto entry = USL_TRY(layer.Probe(cache_, *stack[i], name));
    if (!entry) continue;
    // In a single tree 0:0 is a device node like any other.
    if (IsLayered() && entry->IsWhiteout()) return std::nullopt;
    FoundName found{&layer, *std::move(entry), {}};
    if (found.entry.type() == S_IFDIR) {
      auto directory = MakeRef<HostDirectory>(stack[i], std::string(name), KeyOf(found.entry.status));
      directory->rule = found.entry.rule;
      directory->shown_empty = found.entry.shown_empty;
      found.stack.push_back(std::move(directory));
      USL_TRY_VOID(FindLowerDirectories(stack.subspan(i + 1), name, found));
    }
    return found;
  }
  return std::nullopt;
}

Result<void> VolFs::FindLowerDirectories(std::span<const Ref<HostDirectory>> rest, std::string_view name,
                                         FoundName& found) {
  const AttributeRecord* record = found.entry.record.get();
  if (record && (record->flags & AttributeRecord::kOpaque)) return {};
  if (record && !record->redirect.empty()) {
    DirectoryStack below = USL_TRY(FindRedirect(*found.layer, record->redirect));
    found.stack.insert(found.stack.end(), below.begin(), below.end());
    return {};
  }
  if (rest.empty()) return {};
  auto below = USL_TRY(Find(rest, name));
  if (!below || below->entry.type() != S_IFDIR) return {};
  found.stack.insert(found.stack.end(), below->stack.begin(), below->stack.end());
  return {};
}

Result<DirectoryStack> VolFs::FindRedirect(const Layer& above, std::string_view path) {
  DirectoryStack stack;
  bool below = false;
  for (const auto& layer : layers_) {
    if (below) stack.push_back(layer->root());
    if (layer.get() == &above) below = true;
  }
  while (!path.empty() && !stack.empty()) {
    size_t end = std::min(path.find('/'), path.size());
    auto found = USL_TRY(Find(stack, path.substr(0, end)));
    path.remove_prefix(std::min(end + 1, path.size()));
    if (!found || found->entry.type() != S_IFDIR) return DirectoryStack{};
    stack = std::move(found->stack);
  }
  return stack;
}

Result<Ref<VolInode>> VolInode::LookupName(std::string_view name) {
  if (!IsDirectory()) return Fail(ENOTDIR);
  if (volfs_.IsReservedName(*this, name)) return Fail(ENOENT);
  auto found = USL_TRY(volfs_.Find(directory_->stack, name));
  if (found) return volfs_.MakeInode(*std::move(found), this, name);
  if (!USL_TRY(FoldsCase())) return Fail(ENOENT);
  HostDirectory& own = *directory_->stack.front();
  Ref<OpenDirectory> open = USL_TRY(volfs_.cache_.Get(own));
  const auto real = USL_TRY(volfs_.fold_index_.Find(own.key(), open->fd(), name));
  if (!real || volfs_.IsReservedName(*this, *real)) return Fail(ENOENT);
  found = USL_TRY(volfs_.Find(directory_->stack, *real));
  if (!found) return Fail(ENOENT);
  return volfs_.MakeInode(*std::move(found), this, *real);
}

Result<bool> VolInode::FoldsCase() {
  if (volfs_.options_.name_case != NameCase::kDir) return volfs_.options_.name_case == NameCase::kOff;
  Ref<OpenDirectory> open = USL_TRY(volfs_.cache_.Get(*directory_->stack.front()));
  const auto mark = GetHostXattr({open->fd(), ""}, kCaseMark);
  return !mark || mark->size() != 1 || mark->front() != std::byte{'1'};
}

std::string_view VolInode::NameIn(const vfs::Inode& directory, std::string_view name) const {
  // Just found there, so the place is that of the look-up.
  return place_.parent.get() == &directory ? std::string_view(place_.name) : name;
}

Result<Ref<vfs::Inode>> VolInode::Lookup(std::string_view name, const vfs::Context&) {
  return USL_TRY(LookupName(name));
}

Result<Ref<VolInode>> VolFs::MakeInode(FoundName found, VolInode* parent, std::string_view name) {
  HostKey key = KeyOf(found.entry.status);
  // A lower file of several names may have been copied up by another one of them.
  bool may_be_indexed =
      has_upper_ && found.layer != upper() && found.entry.type() != S_IFDIR && found.entry.status.stx_nlink > 1;
  if (Ref<VolInode> known = FindInode(key)) {
    bool same = known->type() == found.entry.type() && (!options_.live || known->birth_ == BirthOf(found.entry.status));
    if (same && !known->IsDirectory()) {
      known->AddPlace(*parent, name);
      if (options_.live) {
        known->TakeEntry(found.entry);
        known->pinned_.Reset();
      }
      return known;
    }
    if (same && !options_.live && known->place_.Is(*parent, name)) return known;
    if (same && options_.live) {
      // The host may have renamed the directory or one above it.
      known->TakeEntry(found.entry);
      known->place_ = {Ref<VolInode>(parent), std::string(name)};
      known->directory_->stack = std::move(found.stack);
      return known;
    }
    if (same && !known->HasPlace()) {
      known->place_ = {Ref<VolInode>(parent), std::string(name)};
      known->directory_->stack = std::move(found.stack);
      return known;
    }
    if (same) {
      // A directory has one place; a second one is a bind mount of the host (of its own parent, perhaps).
      for (auto& directory : found.stack) directory->shown_empty = true;
      auto twin = MakeRef<VolInode>(*this, std::move(found), parent, name);
      return twin;
    }
    known->Unregister();
  }
  if (may_be_indexed) {
    if (auto indexed = USL_TRY(FindIndexed(key))) {
      indexed->AddPlace(*parent, name);
      return indexed;
    }
  }
  auto inode = MakeRef<VolInode>(*this, std::move(found), parent, name);
  // Its links are counted in the record, which has to be found whatever names it loses.
  if (inode->layer_ == upper() && inode->record_ && inode->record_->links) {
    inode->index_name_ = USL_TRY(FindIndexName(key, inode->record_->origin));
  }
  inode->Register();
  return inode;
}

bool VolFs::OwnsHostPath(Layer& layer, const std::string& relative, const HostKey& key) {
  // Only what the layer's rules let through belongs to it.
  Ref<HostDirectory> directory = layer.root();
  std::string_view path = relative;
  while (!path.empty()) {
    size_t end = std::min(path.find('/'), path.size());
    std::string_view part = path.substr(0, end);
    path.remove_prefix(std::min(end + 1, path.size()));
    auto entry = layer.Probe(cache_, *directory, part);
    if (!entry || !*entry) return false;
    HostEntry& found = **entry;
    if (path.empty()) return KeyOf(found.status) == key;
    auto next = MakeRef<HostDirectory>(directory, std::string(part), KeyOf(found.status));
    next->rule = found.rule;
    next->shown_empty = found.shown_empty;
    directory = std::move(next);
  }
  return directory->key() == key;
}

Ref<VolInode> VolFs::MakeDetached(Layer& layer, int fd) {
  FoundName found;
  found.layer = &layer;
  auto entry = layer.ProbePlace({fd, ""});
  if (!entry) return nullptr;
  found.entry = *std::move(entry);
  if (found.entry.type() == S_IFDIR) {
    // Its stack is itself alone: nothing can be looked up in a removed directory.
    auto alone = MakeRef<HostDirectory>(layer.root(), "", KeyOf(found.entry.status));
    alone->shown_empty = true;
    found.stack.push_back(std::move(alone));
  }
  auto inode = MakeRef<VolInode>(*this, std::move(found), nullptr, "");
  if (!inode->Pin(fd)) return nullptr;
  inode->Register();
  return inode;
}

Ref<VolInode> VolFs::WalkHere(std::string_view path) {
  Ref<VolInode> inode = root_;
  while (!path.empty() && inode) {
    size_t end = std::min(path.find('/'), path.size());
    auto next = inode->LookupName(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
    inode = next ? *next : nullptr;
  }
  return inode;
}

Ref<vfs::Inode> VolFs::FindByPath(const std::string& path, int fd, const struct stat& status) {
  HostKey key = KeyOf(status);
  for (const auto& layer : layers_) {
    auto relative = layer->RelativePath(path);
    if (!relative) continue;
    Ref<VolInode> inode = status.st_nlink > 0 ? WalkHere(*relative) : nullptr;
    if (inode && (inode->key_ == key || (inode->number_ == Number(key) && inode->layer_ == upper()))) return inode;
    if (status.st_nlink > 0 && OwnsHostPath(*layer, *relative, key)) return MakeDetached(*layer, fd);
    // The name by which it was opened is gone; other links may be left. Only the trees that nobody else changes are
    // sure to have had it where the text says.
    if (path.ends_with(" (deleted)") && layer->owners() != Owners::kHost) return MakeDetached(*layer, fd);
  }
  return nullptr;
}

// The host's name for the open file: it tells which of several links was opened, and where a removed one was.
Result<std::string> VolFs::FindPath(int fd, vfs::Inode&) {
  const std::string path = USL_TRY(ReadHostLink({AT_FDCWD, FdPath(fd).c_str()}));
  for (const auto& layer : layers_) {
    if (auto relative = layer->RelativePath(path)) return std::move(*relative);
  }
  return Fail(ENOENT);
}

bool VolFs::HasCached(const struct stat& status) const {
  return static_cast<bool>(FindInode(KeyOf(status)));
}

Ref<vfs::Inode> VolFs::FindByHostFile(int fd, const struct stat& status) {
  HostKey key = KeyOf(status);
  if (!KnowsDevice(key.device)) return nullptr;
  if (Ref<VolInode> known = FindInode(key)) {
    bool same = true;
    if (options_.live) {
      auto now = Stat({fd, ""});
      same = now && BirthOf(*now) == known->birth_;
      // The host may have removed or renamed it: then only the descriptor leads to it.
      if (same && !known->pinned_ && !known->GetAttributes() && !known->Pin(fd)) return nullptr;
    }
    if (same) {
      if (!known->HasPlace() && !known->Pin(fd)) return nullptr;
      return known;
    }
    known->Unregister();
  }
  auto path = ReadHostLink({AT_FDCWD, FdPath(fd).c_str()});
  if (!path) return nullptr;
  return FindByPath(*path, fd, status);
}

}  // namespace usl::fs
