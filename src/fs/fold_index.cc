#include "fs/fold_index.h"

#include <linux/magic.h>
#include <sys/inotify.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>

#include "fs/case_fold.h"

namespace usl::fs {
namespace {

constexpr long kXfs = 0x58465342, kZfs = 0x2FC12FC1, kBcachefs = 0xCA451A4E;

// File systems that only this host changes, so that inotify tells of every change.
bool IsLocal(int fd) {
  struct statfs status;
  if (::fstatfs(fd, &status) < 0) return false;
  switch (status.f_type) {
    case EXT4_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case TMPFS_MAGIC:
    case RAMFS_MAGIC:
    case MSDOS_SUPER_MAGIC:
    case kXfs:
    case kZfs:
    case kBcachefs: return true;
    // Its layers may be changed elsewhere, which overlayfs itself calls undefined.
    case OVERLAYFS_SUPER_MAGIC: return true;
    default: return false;
  }
}

}  // namespace

void FoldIndex::Directory::Add(std::string name) {
  std::vector<std::string>& list = names[FoldCase(name)];
  const auto place = std::ranges::lower_bound(list, name);
  if (place != list.end() && *place == name) return;
  list.insert(place, std::move(name));
  ++count;
}

void FoldIndex::Directory::Remove(const std::string& name) {
  const auto found = names.find(FoldCase(name));
  if (found == names.end()) return;
  count -= std::erase(found->second, name);
  if (found->second.empty()) names.erase(found);
}

void FoldIndex::Forget(Place place, bool remove_watch) {
  if (remove_watch) ::inotify_rm_watch(inotify_.get(), place->watch);
  names_ -= place->count;
  by_watch_.erase(place->watch);
  by_key_.erase(place->key);
  directories_.erase(place);
}

void FoldIndex::Drain() {
  alignas(inotify_event) char buffer[8192];
  ssize_t size;
  while ((size = ::read(inotify_.get(), buffer, sizeof buffer)) > 0) {
    for (ssize_t offset = 0; offset < size;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + offset);
      offset += static_cast<ssize_t>(sizeof *event + event->len);
      if (event->mask & IN_Q_OVERFLOW) {
        while (!directories_.empty()) Forget(directories_.begin(), true);
        continue;
      }
      const auto found = by_watch_.find(event->wd);
      if (found == by_watch_.end()) continue;
      Directory& directory = *found->second;
      if (event->mask & (IN_IGNORED | IN_DELETE_SELF | IN_UNMOUNT)) {
        Forget(found->second, false);
        continue;
      }
      if (event->len == 0) continue;
      names_ -= directory.count;
      if (event->mask & (IN_CREATE | IN_MOVED_TO)) directory.Add(event->name);
      if (event->mask & (IN_DELETE | IN_MOVED_FROM)) directory.Remove(event->name);
      names_ += directory.count;
    }
  }
}

int FoldIndex::Watch(int fd) {
  if (!has_inotify_ || !IsLocal(fd)) return -1;
  if (!inotify_) {
    inotify_ = UniqueFd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    has_inotify_ = static_cast<bool>(inotify_);
    if (!has_inotify_) return -1;
  }
  return ::inotify_add_watch(inotify_.get(), FdPath(fd).c_str(),
                             IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF);
}

Result<FoldIndex::Directory*> FoldIndex::Get(const HostKey& key, int fd) {
  if (inotify_) Drain();
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    directories_.splice(directories_.begin(), directories_, found->second);
    return &*found->second;
  }
  // The watch first: what changes while the directory is read is told of afterwards.
  const int watch = Watch(fd);
  if (watch < 0) return nullptr;
  Directory directory{.key = key, .watch = watch, .names = {}};
  ++reads_;
  auto read = ForEachEntry(fd, [&](const char* name, uint64_t, unsigned char) {
    directory.Add(name);
    return directory.count <= max_names_;
  });
  if (!read || directory.count > max_names_) {
    ::inotify_rm_watch(inotify_.get(), watch);
    if (!read) return Fail(read.error());
    return nullptr;
  }
  names_ += directory.count;
  directories_.push_front(std::move(directory));
  by_key_.emplace(key, directories_.begin());
  by_watch_.emplace(watch, directories_.begin());
  while (directories_.size() > 1 && (directories_.size() > max_directories_ || names_ > max_names_)) {
    Forget(std::prev(directories_.end()), true);
  }
  Drain();
  const auto kept = by_key_.find(key);
  return kept == by_key_.end() ? nullptr : &*kept->second;
}

Result<std::optional<std::string>> FoldIndex::Scan(int fd, std::string_view name) {
  std::optional<std::string> best;
  const std::string wanted = FoldCase(name);
  ++reads_;
  USL_TRY_VOID(ForEachEntry(fd, [&](const char* member, uint64_t, unsigned char) {
    if (FoldCase(member) == wanted && (!best || *best > member)) best = member;
    return true;
  }));
  return best;
}

Result<std::optional<std::string>> FoldIndex::Find(const HostKey& key, int fd, std::string_view name) {
  Directory* directory = USL_TRY(Get(key, fd));
  if (!directory) return Scan(fd, name);
  const auto found = directory->names.find(FoldCase(name));
  if (found == directory->names.end()) return std::nullopt;
  return found->second.front();
}

}  // namespace usl::fs
