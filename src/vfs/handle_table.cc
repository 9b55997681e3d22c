#include "vfs/handle_table.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "base/format.h"
#include "base/log.h"

namespace usl::vfs {

Result<HandleTable> HandleTable::Create(std::string directory) {
  HandleTable table;
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return FailErrno();
  // readlink of an open file gives the resolved path.
  std::array<char, PATH_MAX> resolved;
  if (!::realpath(directory.c_str(), resolved.data())) return FailErrno();
  table.directory_ = resolved.data();
  table.directory_fd_.Reset(::open(table.directory_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!table.directory_fd_) return FailErrno();
  struct stat status;
  if (::fstat(table.directory_fd_.get(), &status) != 0) return FailErrno();
  table.device_ = status.st_dev;
  table.inotify_.Reset(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!table.inotify_) Log(LogLevel::kWarning, "no inotify instance ({}): closed handles are kept", errno);
  return table;
}

Result<UniqueFd> HandleTable::OpenDirectory(const Path& path, int flags) {
  std::string name = format("{}", next_++);
  if (::mkdirat(directory_fd_.get(), name.c_str(), 0700) != 0) return FailErrno();
  int open_flags = O_CLOEXEC | O_DIRECTORY | ((flags & O_PATH) ? O_PATH : O_RDONLY | (flags & O_NONBLOCK));
  UniqueFd fd(::openat(directory_fd_.get(), name.c_str(), open_flags));
  if (!fd) {
    Error error = Error::FromErrno();
    ::unlinkat(directory_fd_.get(), name.c_str(), AT_REMOVEDIR);
    return Fail(error);
  }
  return Add(path, std::move(fd), name, true);
}

Result<UniqueFd> HandleTable::OpenNode(const Path& path) {
  std::string name = format("{}", next_++);
  UniqueFd made(::openat(directory_fd_.get(), name.c_str(), O_CREAT | O_EXCL | O_RDONLY | O_CLOEXEC, 0600));
  if (!made) return FailErrno();
  UniqueFd fd(::openat(directory_fd_.get(), name.c_str(), O_PATH | O_CLOEXEC));
  if (!fd) {
    Error error = Error::FromErrno();
    ::unlinkat(directory_fd_.get(), name.c_str(), 0);
    return Fail(error);
  }
  return Add(path, std::move(fd), name, false);
}

Result<UniqueFd> HandleTable::Add(const Path& path, UniqueFd fd, const std::string& name, bool is_directory) {
  Collect();
  std::string host_path = directory_ + "/" + name;
  int watch = inotify_ ? ::inotify_add_watch(inotify_.get(), host_path.c_str(), IN_DELETE_SELF) : -1;
  if (watch < 0) Log(LogLevel::kDebug, "handle {} is not watched ({})", name, errno);
  ::unlinkat(directory_fd_.get(), name.c_str(), is_directory ? AT_REMOVEDIR : 0);
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) return FailErrno();
  if (auto stale = entries_.find(status.st_ino); stale != entries_.end()) {
    by_watch_.erase(stale->second.watch);
    entries_.erase(stale);
  }
  entries_.emplace(status.st_ino, Entry{path, host_path + " (deleted)", watch});
  if (watch >= 0) by_watch_[watch] = status.st_ino;
  return fd;
}

const Path* HandleTable::Find(int fd, const struct stat& status) {
  if (status.st_dev != device_) return nullptr;
  auto found = entries_.find(status.st_ino);
  if (found == entries_.end()) return nullptr;
  // The number may have been given to another file since the handle was closed: the name decides.
  std::array<char, PATH_MAX> target;
  std::array<char, 32> link;
  *fmt::format_to_n(link.data(), link.size() - 1, "/proc/self/fd/{}", fd).out = '\0';
  ssize_t length = ::readlink(link.data(), target.data(), target.size());
  if (length < 0 || std::string_view(target.data(), static_cast<size_t>(length)) != found->second.host_path)
    return nullptr;
  return &found->second.path;
}

void HandleTable::Collect() {
  if (!inotify_) return;
  alignas(inotify_event) std::array<char, 4096> buffer;
  for (;;) {
    ssize_t length = ::read(inotify_.get(), buffer.data(), buffer.size());
    if (length <= 0) return;
    for (ssize_t at = 0; at < length;) {
      const auto& event = *reinterpret_cast<const inotify_event*>(buffer.data() + at);
      at += static_cast<ssize_t>(sizeof event + event.len);
      if (!(event.mask & IN_DELETE_SELF)) continue;
      auto watch = by_watch_.find(event.wd);
      if (watch == by_watch_.end()) continue;
      entries_.erase(watch->second);
      by_watch_.erase(watch);
    }
  }
}

}  // namespace usl::vfs
