// Directory listings: the host's own order where one tree makes the directory, else merged and sorted.
#include <dirent.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <unordered_map>

#include "fs/volfs_inode.h"
#include "fs/volfs_list.h"

namespace usl::fs {
namespace {

unsigned char DirentType(uint32_t type) {
  return static_cast<unsigned char>(type >> 12);
}

// FNV-1a with a finisher. Positions are kept by guests only while they read, so it may change between versions.
uint64_t HashName(std::string_view name, unsigned bits) {
  uint64_t hash = 0xCBF29CE484222325ull;
  for (unsigned char c : name) hash = (hash ^ c) * 0x100000001B3ull;
  hash ^= hash >> 32;
  hash *= 0x9E3779B97F4A7C15ull;
  return hash >> (64 - bits);
}

bool IsDots(const char* name) {
  return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

Result<void> Seek(int fd, uint64_t position) {
  if (::lseek(fd, static_cast<off_t>(position), SEEK_SET) < 0) return FailErrno();
  return {};
}

}  // namespace

Result<void> VolInode::ReadDirectory(int open_directory, uint64_t parent_ino, vfs::DirectorySink& sink) {
  NoteReading();
  if (!IsDirectory()) return Fail(ENOTDIR);
  bool is_whole = !directory_->stack.front()->shown_empty || pinned_;
  if (IsMergeable() || !is_whole) return ReadMerged(open_directory, parent_ino, sink);
  return ReadNative(open_directory, parent_ino, sink);
}

Result<void> VolInode::ReadNative(int fd, uint64_t parent_ino, vfs::DirectorySink& sink) {
  bool annotated = record_ && (record_->flags & AttributeRecord::kAnnotated);
  bool is_root = volfs_.root_.get() == this;
  bool renumbered = volfs_.Number({key_.device, 0}) != 0;
  alignas(HostDirent) char buffer[32768];
  bool added = false;
  while (true) {
    // The position is that of the guest's open file, so what the sink does not take has to be given back.
    off_t start = 0;
    if (auto known = std::exchange(sink.position, std::nullopt)) {
      start = static_cast<off_t>(*known);
    } else if ((start = ::lseek(fd, 0, SEEK_CUR)) < 0) {
      return FailErrno();
    }
    long length = ::syscall(SYS_getdents64, fd, buffer, sizeof buffer);
    if (length < 0) return FailErrno();
    if (length == 0) return {};
    int64_t taken = start;
    for (long at = 0; at < length;) {
      auto* entry = reinterpret_cast<HostDirent*>(buffer + at);
      at += entry->length;
      uint64_t ino = entry->ino;
      unsigned char type = entry->type;
      if (IsDots(entry->name)) {
        ino = entry->name[1] ? parent_ino : number_;
      } else {
        if (is_root && volfs_.IsReservedName(*this, entry->name)) {
          taken = entry->next;
          continue;
        }
        if (renumbered) ino = volfs_.Number({key_.device, ino});
        if (annotated && (type == DT_REG || type == DT_DIR || type == DT_UNKNOWN)) {
          auto found = layer_->Probe(volfs_.cache_, *directory_->stack.front(), entry->name);
          if (found && *found) {
            // Left behind in a directory that became opaque (Flatten).
            if (volfs_.IsLayered() && (*found)->IsWhiteout()) {
              taken = entry->next;
              continue;
            }
            type = DirentType((*found)->type());
            if ((*found)->record && (*found)->record->origin) ino = (*found)->record->origin;
          }
        }
      }
      if (!sink.Add(entry->name, ino, type, entry->next)) return Seek(fd, static_cast<uint64_t>(taken));
      added = true;
      taken = entry->next;
    }
    // One host call's worth is enough, unless all of it was hidden.
    if (added) return {};
  }
}

void VolInode::ListingChanged(std::string_view removed_name) {
  auto list = volfs_.CachedList(directory_->serial);
  if (!list) return;
  if (removed_name.empty()) {
    list->stale = true;
    return;
  }
  // A guest that empties a large directory while it reads it must not make us build the list again each time.
  auto found = std::ranges::find(list->entries, removed_name,
                                 [](const MergedEntry& entry) -> std::string_view { return entry.name; });
  if (list->entries.size() > 64) {
    uint64_t cursor = HashName(removed_name, volfs_.cursor_bits_) + 2;
    found = std::ranges::lower_bound(list->entries, cursor, {}, &MergedEntry::cursor);
    while (found != list->entries.end() && found->name != removed_name) ++found;
  }
  if (found != list->entries.end()) found->removed = true;
}

Result<void> VolInode::AddMembers(HostDirectory& directory, MergedList& list, MemberNames& seen) {
  if (directory.shown_empty) return {};
  Layer& layer = directory.layer();
  Ref<OpenDirectory> open = USL_TRY(volfs_.cache_.Get(directory));
  bool rules = directory.rule && !directory.rule->members.empty();
  bool annotated = false;
  if (layer.UsesRecords()) {
    auto record = USL_TRY(layer.store().Load({open->fd(), ""}, directory.key()));
    annotated = record && (record->flags & AttributeRecord::kAnnotated);
  }
  bool is_root = volfs_.root_.get() == this;
  return ForEachEntry(open->fd(), [&](const char* name, uint64_t ino, unsigned char type) {
    if (is_root && volfs_.IsReservedName(*this, name)) return true;
    if (seen.contains(name)) return true;
    MergedEntry entry{0, volfs_.Number({directory.key().device, ino}), type, false, name};
    bool ask = (annotated && (type == DT_REG || type == DT_DIR)) || type == DT_UNKNOWN ||
               (rules && directory.rule->Find(name));
    if (ask) {
      auto found = layer.Probe(volfs_.cache_, directory, name);
      if (found && !*found) return true;  // hidden, or gone
      if (found) {
        if ((*found)->IsWhiteout()) {
          seen.emplace(name);
          return true;
        }
        entry.type = DirentType((*found)->type());
        if ((*found)->record && (*found)->record->origin) entry.ino = (*found)->record->origin;
      }
    }
    // Only lists of several directories need the names of the upper ones again.
    if (directory_->stack.size() > 1) seen.emplace(name);
    list.entries.push_back(std::move(entry));
    return true;
  });
}

Result<std::shared_ptr<MergedList>> VolInode::BuildList(const MergedList* old) {
  auto list = std::make_shared<MergedList>();
  MemberNames seen;
  for (const auto& directory : directory_->stack) USL_TRY_VOID(AddMembers(*directory, *list, seen));
  auto& entries = list->entries;
  for (MergedEntry& entry : entries) entry.cursor = HashName(entry.name, volfs_.cursor_bits_) + 2;
  auto order = [](const MergedEntry& a, const MergedEntry& b) {
    return a.cursor != b.cursor ? a.cursor < b.cursor : a.name < b.name;
  };
  std::ranges::sort(entries, order);
  auto collides = [](const MergedEntry& a, const MergedEntry& b) { return a.cursor == b.cursor; };
  if (std::ranges::adjacent_find(entries, collides) == entries.end()) return list;
  // Names of one hash get cursors one after the other, and keep those that a reader may have been told already.
  std::unordered_map<std::string_view, uint64_t> told;
  if (old) {
    for (const MergedEntry& entry : old->entries) told.emplace(entry.name, entry.cursor);
  }
  for (MergedEntry& entry : entries) {
    auto found = told.find(entry.name);
    if (found != told.end()) entry.cursor = found->second;
  }
  std::ranges::sort(entries, order);
  for (size_t i = 1; i < entries.size(); ++i) {
    if (entries[i].cursor <= entries[i - 1].cursor) entries[i].cursor = entries[i - 1].cursor + 1;
  }
  return list;
}

Result<void> VolInode::ReadMerged(int fd, uint64_t parent_ino, vfs::DirectorySink& sink) {
  // Behind the last entry, whatever is created later.
  const uint64_t end = (uint64_t{1} << volfs_.cursor_bits_) + 2 + (1u << 20);
  off_t position = ::lseek(fd, 0, SEEK_CUR);
  if (position < 0) return FailErrno();
  uint64_t cursor = static_cast<uint64_t>(position);
  if (cursor >= end) return {};
  if (cursor == 0) {
    // A new reading: what was created since the last one is to be seen.
    if (!sink.Add(".", number_, DT_DIR, 1)) return {};
    cursor = 1;
  }
  if (cursor == 1) {
    if (!sink.Add("..", parent_ino, DT_DIR, 2)) return Seek(fd, 1);
    cursor = 2;
  }
  auto list = volfs_.CachedList(directory_->serial);
  if (!list || list->stale) {
    list = USL_TRY(BuildList(list.get()));
    volfs_.KeepList(directory_->serial, list);
  }
  auto at = std::ranges::lower_bound(list->entries, cursor, {}, &MergedEntry::cursor);
  for (; at != list->entries.end(); ++at) {
    if (at->removed) continue;
    if (!sink.Add(at->name, at->ino, at->type, static_cast<int64_t>(at->cursor + 1))) return Seek(fd, cursor);
    cursor = at->cursor + 1;
  }
  // Nobody is left who reads on, as far as one can know.
  volfs_.DropList(directory_->serial);
  return Seek(fd, end);
}

}  // namespace usl::fs
