// The names of host directories by their folded case, for look-ups without regard to case (DrvFs).
//
// An index is made by reading the directory once and kept right by inotify: its events are queued in the host's own
// call, so whoever asks after a change sees it. Where changes may come from elsewhere (network and FUSE file systems),
// or no watch is to be had, the directory is read at each question. Guarded by the kernel lock.
#pragma once

#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "fs/host_file.h"

namespace usl::fs {

class FoldIndex {
 public:
  // At most this many directories and names are kept; beyond, those not asked for the longest time go.
  explicit FoldIndex(size_t max_directories = 64, size_t max_names = 1'000'000)
      : max_directories_(max_directories), max_names_(max_names) {}

  // The name in the directory behind `fd` (O_PATH will do) that equals `name` but for case: of several the first in the
  // order of bytes. nullopt when there is none. Errors of reading the directory.
  Result<std::optional<std::string>> Find(const HostKey& key, int fd, std::string_view name);

  // For tests and statistics: how often a directory was read.
  size_t reads() const { return reads_; }
  size_t directories() const { return directories_.size(); }

 private:
  struct Directory {
    HostKey key;
    int watch = -1;
    size_t count = 0;
    std::unordered_map<std::string, std::vector<std::string>> names;  // folded to real ones, sorted
    void Add(std::string name);
    void Remove(const std::string& name);
  };
  using Place = std::list<Directory>::iterator;

  Result<Directory*> Get(const HostKey& key, int fd);
  Result<std::optional<std::string>> Scan(int fd, std::string_view name);
  // A watch of the directory; -1 where none would tell of all changes.
  int Watch(int fd);
  // Applies what the host has told.
  void Drain();
  void Forget(Place place, bool remove_watch);

  size_t max_directories_, max_names_;
  size_t reads_ = 0;
  size_t names_ = 0;
  UniqueFd inotify_;
  bool has_inotify_ = true;
  std::list<Directory> directories_;  // the most recently asked first
  std::unordered_map<HostKey, Place, HostKeyHash> by_key_;
  std::unordered_map<int, Place> by_watch_;
};

}  // namespace usl::fs
