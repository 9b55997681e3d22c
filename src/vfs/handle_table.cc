#include "vfs/handle_table.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "base/format.h"
#include "base/log.h"
#include "vfs/private_directory.h"

namespace usl::vfs {

namespace {

constexpr size_t kMostNamed = 512;
constexpr std::string_view kDeleted = " (deleted)";

}  // namespace

Result<HandleTable> HandleTable::Create(const std::string& directory) {
  HandleTable table;
  table.directory_fd_ = USL_TRY(PreparePrivateDirectory(directory));
  // readlink of an open file gives the resolved path.
  std::array<char, PATH_MAX> resolved;
  if (!::realpath(directory.c_str(), resolved.data())) return FailErrno();
  table.directory_ = resolved.data();
  struct stat status;
  if (::fstat(table.directory_fd_.get(), &status) != 0) return FailErrno();
  table.device_ = status.st_dev;
  table.inotify_.Reset(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!table.inotify_) Log(LogLevel::kWarning, "no inotify instance (errno {}): closed handles are kept", errno);
  return table;
}

HandleTable::~HandleTable() {
  for (ino_t number : by_age_) {
    const Entry& entry = entries_.at(number);
    const int flags = entry.path.dentry->inode()->IsDirectory() ? AT_REMOVEDIR : 0;
    ::unlinkat(directory_fd_.get(), format("{}", entry.id).c_str(), flags);
  }
}

Result<UniqueFd> HandleTable::OpenDirectory(const Path& path, int flags) {
  Entry* entry = USL_TRY(FindOrMake(path, true));
  return OpenHost(*entry, O_DIRECTORY | ((flags & O_PATH) ? O_PATH : O_RDONLY | (flags & O_NONBLOCK)));
}

Result<UniqueFd> HandleTable::OpenNode(const Path& path) {
  Entry* entry = USL_TRY(FindOrMake(path, false));
  return OpenHost(*entry, O_PATH);
}

// Access mode 3 gives a file that is neither readable nor writable. Directories have no such mode: O_DSYNC, which fcntl
// cannot change and no other handle has, marks them.
Result<UniqueFd> HandleTable::OpenPathOnly(const Path& path) {
  const bool is_directory = path.dentry->inode()->IsDirectory();
  Entry* entry = USL_TRY(FindOrMake(path, is_directory));
  return OpenHost(*entry, is_directory ? O_RDONLY | O_DIRECTORY | O_DSYNC : O_ACCMODE);
}

Result<UniqueFd> HandleTable::OpenTree(const Path& path, Ref<RefCounted> keep) {
  const bool is_directory = path.dentry->inode()->IsDirectory();
  Entry* entry = USL_TRY(Make(path, is_directory));
  entry->keep = std::move(keep);
  auto fd = OpenHost(*entry, is_directory ? O_RDONLY | O_DIRECTORY | O_DSYNC : O_ACCMODE);
  // Without a name, its end is noticed.
  Retire(*entry, *entry->age);
  return fd;
}

bool HandleTable::IsPathOnly(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ((flags & O_ACCMODE) != O_ACCMODE && !(flags & O_DSYNC))) return false;
  struct stat status;
  return ::fstat(fd, &status) == 0 && Find(fd, status) != nullptr;
}

Result<UniqueFd> HandleTable::OpenHost(const Entry& entry, int flags) {
  UniqueFd fd(::openat(directory_fd_.get(), format("{}", entry.id).c_str(), flags | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return FailErrno();
  return fd;
}

Result<HandleTable::Entry*> HandleTable::FindOrMake(const Path& path, bool is_directory) {
  const Key key{path.mount.get(), path.dentry.get()};
  if (auto known = by_place_.find(key); known != by_place_.end()) {
    Entry& entry = entries_.at(known->second);
    by_age_.splice(by_age_.end(), by_age_, entry.age);
    return &entry;
  }
  if (by_age_.size() >= kMostNamed) Trim(kMostNamed / 2);
  return Make(path, is_directory);
}

Result<HandleTable::Entry*> HandleTable::Make(const Path& path, bool is_directory) {
  const uint64_t id = next_++;
  const std::string name = format("{}", id);
  if (is_directory) {
    if (::mkdirat(directory_fd_.get(), name.c_str(), 0700) != 0) return FailErrno();
  } else {
    UniqueFd made(::openat(directory_fd_.get(), name.c_str(), O_CREAT | O_EXCL | O_RDONLY | O_CLOEXEC, 0600));
    if (!made) return FailErrno();
  }
  struct stat status;
  if (::fstatat(directory_fd_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return FailErrno();
  // A number that is in use again means that its former object is gone, and that its event was not read yet.
  Erase(status.st_ino);
  Entry& entry =
      entries_.emplace(status.st_ino, Entry{.path = path, .id = id, .keep = nullptr, .age = {}}).first->second;
  entry.age = by_age_.insert(by_age_.end(), status.st_ino);
  by_place_[Key{path.mount.get(), path.dentry.get()}] = status.st_ino;
  return &entry;
}

const Path* HandleTable::Find(int fd, const struct stat& status) {
  if (status.st_dev != device_) return nullptr;
  auto found = entries_.find(status.st_ino);
  if (found == entries_.end()) return nullptr;
  if (found->second.named) return &found->second.path;
  // The number may have been given to another file since the handle was closed: the name decides.
  std::array<char, PATH_MAX> target;
  std::array<char, 32> link;
  *fmt::format_to_n(link.data(), link.size() - 1, "/proc/self/fd/{}", fd).out = '\0';
  const ssize_t length = ::readlink(link.data(), target.data(), target.size());
  if (length < 0) return nullptr;
  std::string_view text(target.data(), static_cast<size_t>(length));
  if (!text.starts_with(directory_)) return nullptr;
  text.remove_prefix(directory_.size());
  if (text.ends_with(kDeleted)) text.remove_suffix(kDeleted.size());
  return text == format("/{}", found->second.id) ? &found->second.path : nullptr;
}

// The watch is set before the name goes, so that the end is never missed.
void HandleTable::Retire(Entry& entry, ino_t number) {
  const std::string name = format("{}", entry.id);
  if (inotify_) {
    entry.watch = ::inotify_add_watch(inotify_.get(), format("{}/{}", directory_, name).c_str(), IN_DELETE_SELF);
    if (entry.watch >= 0) by_watch_[entry.watch] = number;
  }
  entry.named = false;
  by_age_.erase(entry.age);
  by_place_.erase({entry.path.mount.get(), entry.path.dentry.get()});
  ::unlinkat(directory_fd_.get(), name.c_str(), entry.path.dentry->inode()->IsDirectory() ? AT_REMOVEDIR : 0);
}

void HandleTable::Trim(size_t keep) {
  while (by_age_.size() > keep) {
    const ino_t number = by_age_.front();
    Retire(entries_.at(number), number);
  }
  Collect();
}

void HandleTable::TrimGone() {
  for (auto it = by_age_.begin(); it != by_age_.end();) {
    const ino_t number = *it++;
    Entry& entry = entries_.at(number);
    if (!entry.path.mount->IsAttached() || !entry.path.dentry->IsLinked()) Retire(entry, number);
  }
  Collect();
}

void HandleTable::Erase(ino_t number) {
  auto found = entries_.find(number);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  if (entry.named) {
    by_age_.erase(entry.age);
    by_place_.erase({entry.path.mount.get(), entry.path.dentry.get()});
  }
  by_watch_.erase(entry.watch);
  entries_.erase(found);
}

void HandleTable::Collect() {
  if (!inotify_) return;
  alignas(inotify_event) std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t length = ::read(inotify_.get(), buffer.data(), buffer.size());
    if (length <= 0) return;
    for (ssize_t at = 0; at < length;) {
      const auto& event = *reinterpret_cast<const inotify_event*>(buffer.data() + at);
      at += static_cast<ssize_t>(sizeof event + event.len);
      if (!(event.mask & IN_DELETE_SELF)) continue;
      if (auto watch = by_watch_.find(event.wd); watch != by_watch_.end()) Erase(ino_t{watch->second});
    }
  }
}

}  // namespace usl::vfs
