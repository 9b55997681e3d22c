// Host objects that stand for places of the guest's tree which have no host object of their own: directories of
// synthetic file systems, directories opened through a mount that is not the primary one of its file system, O_PATH
// descriptors of nodes. Each is a private empty host directory or file whose number leads back to the Path. Guarded by
// the kernel lock.
//
// A place has one host object, however often it is opened (making and removing one for each open costs up to a
// millisecond on a disk file system). When they are many, the oldest lose their names; an inotify watch then tells when
// the last descriptor of one was closed, wherever in the guest that was, and its entry ends.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <unordered_map>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vfs/path.h"

namespace usl::vfs {

class HandleTable {
 public:
  // Works below `directory`, which is made when it is absent.
  static Result<HandleTable> Create(const std::string& directory);
  HandleTable(HandleTable&&) = default;
  ~HandleTable();

  // A directory fd for donation, with O_PATH and O_NONBLOCK of `flags`. Its f_pos is the cursor of Vfs::ReadDirectory.
  Result<UniqueFd> OpenDirectory(const Path& path, int flags = 0);
  // An O_PATH fd for something that is not a directory.
  Result<UniqueFd> OpenNode(const Path& path);
  // What stands for an O_PATH descriptor in a guest: the host cannot donate real ones (SECCOMP_IOCTL_NOTIF_ADDFD gives
  // EBADF). Neither reads nor writes; for a directory, a plain one that IsPathOnly tells apart.
  Result<UniqueFd> OpenPathOnly(const Path& path);
  // The same for the root of a tree that nobody else sees (open_tree(2), fsmount(2)): `keep` is let go of when the last
  // duplicate of the descriptor was closed.
  Result<UniqueFd> OpenTree(const Path& path, Ref<RefCounted> keep);
  // Is `fd` a duplicate of one that OpenPathOnly made? Calls that refuse O_PATH descriptors ask this, too.
  bool IsPathOnly(int fd);
  // The path behind a duplicate of such an fd, whose fstat gave `status`; null when it is none.
  const Path* Find(int fd, const struct stat& status);

  // Takes the names of all but the newest `keep` objects. Those that nobody has open end.
  void Trim(size_t keep);
  // The same for the places that are gone: removed directories, detached mounts.
  void TrimGone();
  // Readable when handles without a name were closed; Collect() then ends their entries. Opens and trims do it too.
  int event_fd() const { return inotify_.get(); }
  void Collect();
  size_t size() const { return entries_.size(); }

 private:
  using Key = std::pair<const Mount*, const Dentry*>;
  struct Entry {
    Path path;
    uint64_t id;
    bool named = true;
    int watch = -1;
    Ref<RefCounted> keep;
    std::list<ino_t>::iterator age;  // in by_age_, while named
  };

  HandleTable() = default;
  Result<Entry*> FindOrMake(const Path& path, bool is_directory);
  Result<Entry*> Make(const Path& path, bool is_directory);
  Result<UniqueFd> OpenHost(const Entry& entry, int flags);
  void Retire(Entry& entry, ino_t number);
  void Erase(ino_t number);

  std::string directory_;
  UniqueFd directory_fd_;
  UniqueFd inotify_;
  dev_t device_ = 0;
  uint64_t next_ = 1;
  std::unordered_map<ino_t, Entry> entries_;  // by the host's inode number
  std::map<Key, ino_t> by_place_;             // those that have a name
  std::list<ino_t> by_age_;                   // the same, oldest first
  std::unordered_map<int, ino_t> by_watch_;   // those that have none
};

}  // namespace usl::vfs
