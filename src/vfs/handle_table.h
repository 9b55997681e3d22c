// Host objects that stand for places of the guest's tree which have no host object of their own: directories of
// synthetic file systems, anything opened through a mount that is not the primary one of its file system, O_PATH
// descriptors of nodes. Each is a private empty host directory or file whose number leads back to the Path. Guarded by
// the kernel lock.
//
// The host object's name is removed once it is open, so that nothing is left behind and the guest cannot reach it
// another way; an inotify watch tells when its last descriptor was closed, wherever in the guest that was.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vfs/path.h"

namespace usl::vfs {

class HandleTable {
 public:
  // Works below `directory`, which is made when it is absent.
  static Result<HandleTable> Create(std::string directory);

  // A directory fd for donation, with `flags` O_DIRECTORY and O_PATH considered. Its f_pos is the cursor of
  // Vfs::ReadDirectory.
  Result<UniqueFd> OpenDirectory(const Path& path, int flags = 0);
  // An O_PATH fd for something that is not a directory.
  Result<UniqueFd> OpenNode(const Path& path);
  // The path behind a duplicate of such an fd, whose fstat gave `status`; null when it is none.
  const Path* Find(int fd, const struct stat& status);
  // Readable when handles were closed; Collect() then frees their entries. Find and Open collect by themselves.
  int event_fd() const { return inotify_.get(); }
  void Collect();
  size_t size() const { return entries_.size(); }

 private:
  HandleTable() = default;
  Result<UniqueFd> Add(const Path& path, UniqueFd fd, const std::string& name, bool is_directory);

  struct Entry {
    Path path;
    std::string host_path;
    int watch;
  };
  std::string directory_;
  UniqueFd directory_fd_;
  UniqueFd inotify_;
  dev_t device_ = 0;
  uint64_t next_ = 1;
  std::unordered_map<ino_t, Entry> entries_;  // by the host's inode number
  std::unordered_map<int, ino_t> by_watch_;
};

}  // namespace usl::vfs
