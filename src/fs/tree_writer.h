// Writes files into a tree in VolFs's format without a kernel: what unpacks archives uses it. Names are hostile:
// nothing is ever made outside of the tree or in its private directory, whatever symlinks the tree holds.
#pragma once

#include <time.h>

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "fs/attribute_store.h"

namespace usl::fs {

struct NewFile {
  std::string_view path;  // relative to the tree's root; leading slashes and "." components are ignored
  uint32_t mode = 0;      // S_IFMT and the twelve permission bits
  uid_t uid = 0;
  gid_t gid = 0;
  dev_t rdev = 0;
  std::string_view target;  // of a symlink
  std::optional<timespec> atime, mtime;
  // By full names; those that VolFs does not keep (other name spaces, user.* of special files) are left out.
  std::vector<std::pair<std::string, std::vector<std::byte>>> xattrs;
};

// A tree that nobody else uses. Paths are best given in the order of a walk: the directories of the last one are open.
class TreeWriter {
 public:
  static constexpr size_t kMaxDepth = 256;  // directories, each of which is an open descriptor

  // `directory` is made by the caller and empty. EOPNOTSUPP when its file system has neither user attributes nor
  // lasting inode numbers; errors of open(2).
  static Result<TreeWriter> Open(const std::string& directory);

  // Makes a file, replacing what has the name (a directory takes the attributes of a second one, and keeps its
  // members). Missing parents are made; symlinks in the path are followed inside the tree. `fill` gets the open file
  // of a regular one. EINVAL: ".." or nothing in the path, or a bad type, owner or target; EPERM: the private
  // directory; ELOOP, ENOTDIR, ENAMETOOLONG (also for more than kMaxDepth directories), ENOSPC...
  Result<void> Add(const NewFile& file, const std::function<Result<void>(int fd)>& fill);
  // Another name for a file that is there already. ENOENT, EISDIR, EMLINK.
  Result<void> Link(std::string_view path, std::string_view target);
  // Of a layer: the name is absent, whatever the layers below have; nothing of this directory shows through.
  Result<void> AddWhiteout(std::string_view path);
  Result<void> MakeOpaque(std::string_view directory);
  // Sets the times of the directories, and writes everything to the disk.
  Result<void> Finish();

 private:
  using Times = std::array<timespec, 2>;
  using Components = std::vector<std::string>;
  struct Level {
    std::string name;
    UniqueFd fd;
    bool annotated = false;
  };
  enum class Missing { kMake, kFail };

  TreeWriter() = default;
  static Result<Components> Split(std::string_view path);
  // Makes the stack of open directories that of `components`, following symlinks unless `follow` is false.
  Result<void> Descend(Components components, Missing missing, bool follow = true);
  Result<void> Enter(const std::string& name, Missing missing);
  // The target when the name in the open directory is a symlink of either kind.
  Result<std::optional<std::string>> ReadLink(const std::string& name);
  // Splits off the last component and descends to the rest.
  Result<std::string> DescendToParent(std::string_view path, Missing missing);
  int top() const { return levels_.back().fd.get(); }
  std::string PathOfTop() const;

  Result<void> MakeDirectory(const std::string& name, const NewFile& file);
  Result<void> MakeRegular(const std::string& name, const NewFile& file,
                           const std::function<Result<void>(int fd)>& fill);
  Result<void> MakeSymlink(const std::string& name, const NewFile& file);
  // A regular host file that stands for something else; `content` is a symlink's target.
  Result<void> MakeStandIn(const std::string& name, const NewFile& file, std::string_view content);
  // Removes what has the name, so that it can be made anew.
  Result<void> Clear(const std::string& name);
  // Puts what is not the host file's into `record` and stores it.
  Result<void> SaveRecord(int fd, AttributeRecord record, const NewFile& file, uint32_t host_mode, bool is_new);
  Result<void> AddFlag(int fd, uint32_t flag);
  Result<void> Annotate();
  static Times TimesOf(const NewFile& file);

  std::unique_ptr<AttributeStore> store_;
  std::vector<Level> levels_;  // the root first
  // The host file at `name` in the directory at hand stands for a whiteout.
  Result<bool> IsWhiteout(const std::string& name, const struct statx& status);
  Result<void> NoteTimes(std::string path, const NewFile& file);
  std::map<std::string, Times> directory_times_;
  uint64_t directory_names_size_ = 0;  // bytes of all paths that were in it
};

}  // namespace usl::fs
