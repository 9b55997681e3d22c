// Directories of synthetic file systems. The cursor of ReadDirectory is the f_pos of the guest's fd; every entry has a
// position that stays the same while other entries come and go.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fs/synthetic.h"

namespace usl::fs {

struct SyntheticEntry {
  std::string name;
  unsigned char type;  // DT_*
  int64_t position;    // at least kFirstPosition, unique in the directory, below 2^31
};

class SyntheticDirectory : public SyntheticInode {
 public:
  static constexpr int64_t kFirstPosition = 2;  // 0 is ".", 1 is ".."

  SyntheticDirectory(SyntheticFileSystem& file_system, std::string path, uint32_t permissions = 0555)
      : SyntheticInode(file_system, std::move(path), S_IFDIR | permissions) {}

  // Vfs opens directories by its HandleTable.
  Result<UniqueFd> Open(int flags, const vfs::Context& context) override;
  Result<void> ReadDirectory(int open_directory, uint64_t parent_ino, vfs::DirectorySink& sink) override;

  // As proc_lookup() does it, and its kin; sysfs and others only find nothing.
  bool RefusesAbsentNames() const override { return synthetic().type_name() == "proc"; }
  // Creating, removing and renaming are refused by all of them.
  Result<Ref<vfs::Inode>> Create(std::string_view name, const vfs::NewInode& spec) override;
  Result<void> Link(std::string_view name, vfs::Inode& target) override;
  Result<void> Unlink(std::string_view name, vfs::Inode& victim) override;
  Result<void> RemoveDirectory(std::string_view name, vfs::Inode& victim) override;
  Result<void> Rename(std::string_view old_name, vfs::Inode& source, vfs::Inode& new_directory,
                      std::string_view new_name, vfs::Inode* target, unsigned flags) override;

 protected:
  // All entries but "." and "..", ordered by position.
  virtual Result<std::vector<SyntheticEntry>> List() = 0;
};

// A directory whose content is put together at start.
class StaticDirectory : public SyntheticDirectory {
 public:
  using SyntheticDirectory::SyntheticDirectory;

  Result<Ref<vfs::Inode>> Lookup(std::string_view name, const vfs::Context& context) override;
  Result<vfs::Attributes> GetAttributes() override;

  // Adds a child, whose path must be ChildPath(name).
  void Add(std::string_view name, Ref<SyntheticInode> child);
  Ref<StaticDirectory> AddDirectory(std::string_view name, uint32_t permissions = 0555);
  void AddFile(std::string_view name, uint32_t permissions, GeneratedFile::Reader reader,
               GeneratedFile::Writer writer = nullptr);
  // A file with the same content always.
  void AddText(std::string_view name, std::string content, uint32_t permissions = 0444);
  // A host file, donated as it is. Left out when the host has none.
  void AddHostFile(std::string_view name, const std::string& host_path, uint32_t permissions = 0444);
  // A host file, copied at open; an empty file where the host has none.
  void AddHostCopy(std::string_view name, const std::string& host_path, uint32_t permissions = 0444);
  void AddSymlink(std::string_view name, std::string target);

 protected:
  Result<std::vector<SyntheticEntry>> List() override;

 private:
  struct Child {
    std::string name;
    Ref<SyntheticInode> inode;
  };
  std::vector<Child> children_;
};

// The position of an entry in directories without another order: a hash of its name, so that it survives changes.
int64_t HashedPosition(std::string_view name);
// Gives every entry its hashed position and sorts by it.
void SortByHash(std::vector<SyntheticEntry>& entries);
// DT_* of a mode.
inline unsigned char DirectoryType(uint32_t mode) {
  return static_cast<unsigned char>((mode & S_IFMT) >> 12);
}

}  // namespace usl::fs
