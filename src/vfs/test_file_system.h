// An in-memory file system for the tests of vfs: mechanism only, as Inode's contract says, with counters of what it is
// asked.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/xattr.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "vfs/native_object.h"
#include "vfs/posix_acl.h"
#include "vfs/vfs.h"

namespace usl::vfs {

class TestFileSystem;

class TestInode : public Inode {
 public:
  TestInode(TestFileSystem& file_system, const NewInode& spec);

  Result<Attributes> GetAttributes() override;
  Result<void> SetAttributes(const AttributeChange& change) override;
  Result<UniqueFd> Open(int flags, const Context& context) override;
  Result<std::string> ReadLink(const Context&) override { return target; }
  bool IsMagicLink() const override { return static_cast<bool>(follow); }
  Result<UniqueFd> Follow(const Context&, Path& path) override { return follow(path); }
  Result<Ref<Inode>> Lookup(std::string_view name, const Context& context) override;
  Result<Ref<Inode>> Create(std::string_view name, const NewInode& spec) override;
  Result<void> Link(std::string_view name, Inode& target_inode) override;
  Result<void> Unlink(std::string_view name, Inode& victim) override;
  Result<void> RemoveDirectory(std::string_view name, Inode& victim) override;
  Result<void> Rename(std::string_view old_name, Inode& source, Inode& new_directory, std::string_view new_name,
                      Inode* target_inode, unsigned flags) override;
  Result<Ref<Inode>> CreateUnnamed(const NewInode& spec, bool linkable) override;
  Result<void> ReadDirectory(int fd, uint64_t parent_ino, DirectorySink& sink) override;
  bool CacheableNames() const override;
  Result<std::vector<std::byte>> GetXattr(std::string_view name) override;
  Result<void> SetXattr(std::string_view name, std::span<const std::byte> value, int flags) override;
  Result<void> RemoveXattr(std::string_view name) override;
  Result<std::vector<std::string>> ListXattr() override;
  bool HasAcl() override { return xattrs.contains(kAclAccess) || xattrs.contains(kAclDefault); }

  Attributes attributes;
  std::string target;
  std::function<Result<UniqueFd>(Path&)> follow;
  std::map<std::string, Ref<TestInode>, std::less<>> children;
  std::map<std::string, std::vector<std::byte>, std::less<>> xattrs;
  UniqueFd data;  // a memfd, of regular files

 private:
  TestFileSystem& tests() const;
};

class TestFileSystem : public FileSystem {
 public:
  TestFileSystem() : FileSystem("testfs") {
    root_ = MakeRef<TestInode>(*this, NewInode{.mode = S_IFDIR | 0755});
    root_->attributes.nlink = 2;
  }
  Ref<Inode> root() override { return root_; }
  TestInode& root_inode() { return *root_; }
  Result<struct statfs> StatFs() override { return (struct statfs){.f_type = 0x7e57}; }
  bool IsReadOnly() const override { return read_only; }
  Ref<Inode> FindByHostFile(int, const struct stat& status) override {
    auto found = by_host.find({status.st_dev, status.st_ino});
    return found == by_host.end() ? nullptr : Ref<Inode>(found->second);
  }

  bool read_only = false;
  bool cacheable = true;
  bool has_host_directories = false;
  int lookups = 0;
  uint64_t next_ino = 1;
  std::map<std::pair<dev_t, ino_t>, TestInode*> by_host;

 private:
  Ref<TestInode> root_;
};

inline TestInode::TestInode(TestFileSystem& file_system, const NewInode& spec)
    : Inode(file_system, spec.mode & S_IFMT), target(spec.symlink_target) {
  attributes.ino = file_system.next_ino++;
  attributes.mode = spec.mode;
  attributes.uid = spec.uid;
  attributes.gid = spec.gid;
  attributes.rdev = spec.rdev;
  attributes.nlink = S_ISDIR(spec.mode) ? 2 : 1;
  if (!S_ISREG(spec.mode)) return;
  data = UniqueFd(::memfd_create("test", MFD_CLOEXEC));
  struct stat status {};
  ::fstat(data.get(), &status);
  file_system.by_host[{status.st_dev, status.st_ino}] = this;
}

inline TestFileSystem& TestInode::tests() const {
  return static_cast<TestFileSystem&>(file_system());
}
inline bool TestInode::CacheableNames() const {
  return tests().cacheable;
}

inline Result<Attributes> TestInode::GetAttributes() {
  Attributes result = attributes;
  struct stat status {};
  if (data && ::fstat(data.get(), &status) == 0) result.size = static_cast<uint64_t>(status.st_size);
  return result;
}

inline Result<void> TestInode::SetAttributes(const AttributeChange& change) {
  if (change.mode) attributes.mode = (attributes.mode & S_IFMT) | *change.mode;
  if (change.uid) attributes.uid = *change.uid;
  if (change.gid) attributes.gid = *change.gid;
  if (change.size && ::ftruncate(data.get(), static_cast<off_t>(*change.size)) != 0) return FailErrno();
  if (change.atime) attributes.atime = *change.atime;
  if (change.mtime) attributes.mtime = *change.mtime;
  return {};
}

inline Result<UniqueFd> TestInode::Open(int flags, const Context&) {
  if (IsDirectory() && tests().has_host_directories) {
    UniqueFd fd(::open("/", O_PATH | O_CLOEXEC));
    return fd;
  }
  if (!data || (flags & O_PATH)) return Fail(EOPNOTSUPP);
  return ReopenHostFile(data.get(), flags);
}

inline Result<Ref<Inode>> TestInode::Lookup(std::string_view name, const Context&) {
  ++tests().lookups;
  auto found = children.find(name);
  if (found == children.end()) return Fail(ENOENT);
  return Ref<Inode>(found->second);
}

inline Result<Ref<Inode>> TestInode::Create(std::string_view name, const NewInode& spec) {
  if (children.contains(name)) return Fail(EEXIST);
  auto child = MakeRef<TestInode>(tests(), spec);
  children.emplace(name, child);
  if (child->IsDirectory()) ++attributes.nlink;
  return Ref<Inode>(child);
}

inline Result<void> TestInode::Link(std::string_view name, Inode& target_inode) {
  auto& inode = static_cast<TestInode&>(target_inode);
  if (!children.emplace(name, Ref<TestInode>(&inode)).second) return Fail(EEXIST);
  ++inode.attributes.nlink;
  return {};
}

inline Result<void> TestInode::Unlink(std::string_view name, Inode& victim) {
  --static_cast<TestInode&>(victim).attributes.nlink;
  children.erase(children.find(name));
  return {};
}

inline Result<void> TestInode::RemoveDirectory(std::string_view name, Inode& victim) {
  if (!static_cast<TestInode&>(victim).children.empty()) return Fail(ENOTEMPTY);
  static_cast<TestInode&>(victim).attributes.nlink = 0;
  children.erase(children.find(name));
  --attributes.nlink;
  return {};
}

inline Result<void> TestInode::Rename(std::string_view old_name, Inode& source, Inode& new_directory,
                                      std::string_view new_name, Inode* target_inode, unsigned flags) {
  auto& to = static_cast<TestInode&>(new_directory);
  Ref<TestInode> moved(static_cast<TestInode*>(&source));
  if (flags & RENAME_EXCHANGE) {
    children.find(old_name)->second = Ref<TestInode>(static_cast<TestInode*>(target_inode));
    to.children.find(new_name)->second = moved;
    return {};
  }
  if (target_inode) {
    auto& replaced = static_cast<TestInode&>(*target_inode);
    if (replaced.IsDirectory() && !replaced.children.empty()) return Fail(ENOTEMPTY);
    replaced.attributes.nlink -= replaced.IsDirectory() ? 2 : 1;
    to.children.erase(to.children.find(new_name));
  }
  children.erase(children.find(old_name));
  to.children.emplace(new_name, moved);
  if (flags & RENAME_WHITEOUT) USL_TRY_VOID(Create(old_name, {.mode = S_IFCHR}));
  return {};
}

inline Result<Ref<Inode>> TestInode::CreateUnnamed(const NewInode& spec, bool) {
  auto inode = MakeRef<TestInode>(tests(), spec);
  inode->attributes.nlink = 0;
  return Ref<Inode>(inode);
}

inline Result<void> TestInode::ReadDirectory(int fd, uint64_t parent_ino, DirectorySink& sink) {
  off_t cursor = ::lseek(fd, 0, SEEK_CUR);
  if (cursor < 0) return FailErrno();
  if (cursor == 0 && sink.Add(".", attributes.ino, DT_DIR, 1)) cursor = 1;
  if (cursor == 1 && sink.Add("..", parent_ino, DT_DIR, 2)) cursor = 2;
  off_t at = 2;
  for (auto& [name, child] : children) {
    if (at++ < cursor) continue;
    if (!sink.Add(name, child->attributes.ino, static_cast<unsigned char>(child->type() >> 12), at)) break;
    cursor = at;
  }
  ::lseek(fd, cursor, SEEK_SET);
  return {};
}

inline Result<std::vector<std::byte>> TestInode::GetXattr(std::string_view name) {
  auto found = xattrs.find(name);
  if (found == xattrs.end()) return Fail(ENODATA);
  return found->second;
}

inline Result<void> TestInode::SetXattr(std::string_view name, std::span<const std::byte> value, int flags) {
  if ((flags & XATTR_CREATE) && xattrs.contains(name)) return Fail(EEXIST);
  if ((flags & XATTR_REPLACE) && !xattrs.contains(name)) return Fail(ENODATA);
  xattrs[std::string(name)].assign(value.begin(), value.end());
  return {};
}

inline Result<void> TestInode::RemoveXattr(std::string_view name) {
  auto found = xattrs.find(name);
  if (found == xattrs.end()) return Fail(ENODATA);
  xattrs.erase(found);
  return {};
}

inline Result<std::vector<std::string>> TestInode::ListXattr() {
  std::vector<std::string> names;
  for (auto& [name, value] : xattrs) names.push_back(name);
  return names;
}

}  // namespace usl::vfs
