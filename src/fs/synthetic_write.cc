#include "fs/synthetic_write.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>

#include "base/format.h"

namespace usl::fs {
namespace {

// More than any file of /proc takes in one write; a guest that writes more is cut off here.
constexpr size_t kMaxWritten = 64 << 10;

std::string ReadAll(int fd) {
  std::string content(kMaxWritten, '\0');
  size_t size = 0;
  while (size < content.size()) {
    const ssize_t count = pread(fd, content.data() + size, content.size() - size, static_cast<off_t>(size));
    if (count <= 0) break;
    size += static_cast<size_t>(count);
  }
  content.resize(size);
  return content;
}

}  // namespace

std::string_view WrittenPart(std::string_view before, std::string_view after) {
  if (after.size() > before.size() && after.starts_with(before)) {
    std::string_view added = after.substr(before.size());
    // A write behind the end leaves a hole of zeros.
    added.remove_prefix(std::min(added.find_first_not_of('\0'), added.size()));
    return added;
  }
  // Something was written over: up to the end of the line in which the content differs last.
  const size_t common = std::min(before.size(), after.size());
  size_t last = after.size() > before.size() ? after.size() : 0;
  for (size_t i = common; last == 0 && i > 0; --i) {
    if (before[i - 1] != after[i - 1]) last = i;
  }
  const size_t end = after.find('\n', last == 0 ? 0 : last - 1);
  return end == std::string_view::npos ? after : after.substr(0, end + 1);
}

Result<InotifyWriteWatcher> InotifyWriteWatcher::Create() {
  UniqueFd fd(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!fd) return FailErrno();
  return InotifyWriteWatcher(std::move(fd));
}

Result<void> InotifyWriteWatcher::Watch(UniqueFd content, std::string initial, Apply apply) {
  const std::string path = format("/proc/self/fd/{}", content.get());
  const int watch = inotify_add_watch(inotify_.get(), path.c_str(), IN_MODIFY | IN_CLOSE_WRITE);
  if (watch < 0) return FailErrno();
  watches_.insert_or_assign(watch, Entry{std::move(content), std::move(initial), std::move(apply)});
  return {};
}

void InotifyWriteWatcher::ApplyChange(int watch) {
  const auto found = watches_.find(watch);
  if (found == watches_.end()) return;
  std::string now = ReadAll(found->second.content.get());
  const std::string written(WrittenPart(found->second.seen, now));
  found->second.seen = std::move(now);
  const Apply apply = found->second.apply;  // it may open or close files, which changes the map
  if (!written.empty()) apply(written);
}

void InotifyWriteWatcher::Drain() {
  alignas(inotify_event) char buffer[4096];
  for (;;) {
    const ssize_t size = read(inotify_.get(), buffer, sizeof buffer);
    if (size <= 0) return;
    for (ssize_t offset = 0; offset < size;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + offset);
      offset += static_cast<ssize_t>(sizeof *event + event->len);
      if (event->mask & IN_MODIFY) ApplyChange(event->wd);
      if (event->mask & IN_CLOSE_WRITE) {
        inotify_rm_watch(inotify_.get(), event->wd);
        watches_.erase(event->wd);
      }
      if (event->mask & IN_Q_OVERFLOW) {
        std::vector<int> all;
        for (const auto& [wd, entry] : watches_) all.push_back(wd);
        for (const int wd : all) ApplyChange(wd);
      }
    }
  }
}

}  // namespace usl::fs
