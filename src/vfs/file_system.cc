#include "vfs/file_system.h"

#include <sys/sysmacros.h>

#include <atomic>

#include "vfs/dentry.h"
#include "vfs/path.h"

namespace usl::vfs {

void Inode::Changed() {
  NameObserver* observer = file_system_.observer();
  if (!observer) return;
  for (Dentry* dentry = first_dentry_; dentry; dentry = dentry->alias_next_) {
    if (dentry->mark() != 0) observer->Changed(*dentry);
  }
}

void Inode::SearchChanged() {
  if (NameObserver* observer = file_system_.observer()) observer->TreeChanged();
}

// What a file system does not offer fails as Linux does when the operation is missing from its tables.
Result<void> Inode::SetAttributes(const AttributeChange&) {
  return Fail(EPERM);
}
Result<UniqueFd> Inode::Open(int, const Context&) {
  return Fail(EOPNOTSUPP);
}
Result<UniqueFd> Inode::OpenForKernel() {
  return Fail(EACCES);
}
Result<std::string> Inode::ReadLink(const Context&) {
  return Fail(EINVAL);
}
Result<UniqueFd> Inode::Follow(const Context&, Path&) {
  return Fail(ENOENT);
}
Result<Ref<Inode>> Inode::Lookup(std::string_view, const Context&) {
  return Fail(ENOENT);
}
Result<Ref<Inode>> Inode::Create(std::string_view, const NewInode& spec) {
  // Linux: vfs_create says EACCES where vfs_mkdir, vfs_mknod and vfs_symlink say EPERM.
  return Fail((spec.mode & S_IFMT) == S_IFREG ? EACCES : EPERM);
}
Result<void> Inode::Link(std::string_view, Inode&) {
  return Fail(EPERM);
}
Result<void> Inode::Unlink(std::string_view, Inode&) {
  return Fail(EPERM);
}
Result<void> Inode::RemoveDirectory(std::string_view, Inode&) {
  return Fail(EPERM);
}
Result<void> Inode::Rename(std::string_view, Inode&, Inode&, std::string_view, Inode*, unsigned) {
  return Fail(EPERM);
}
Result<Ref<Inode>> Inode::CreateUnnamed(const NewInode&, bool) {
  return Fail(EOPNOTSUPP);
}
Result<void> Inode::ReadDirectory(int, uint64_t, DirectorySink&) {
  return Fail(ENOTDIR);
}
Result<std::vector<std::byte>> Inode::GetXattr(std::string_view) {
  return Fail(EOPNOTSUPP);
}
Result<void> Inode::SetXattr(std::string_view, std::span<const std::byte>, int) {
  return Fail(EOPNOTSUPP);
}
Result<void> Inode::RemoveXattr(std::string_view) {
  return Fail(EOPNOTSUPP);
}
Result<std::vector<std::string>> Inode::ListXattr() {
  return std::vector<std::string>();
}

FileSystem::FileSystem(std::string type_name) : type_name_(std::move(type_name)) {
  // Anonymous device numbers, as Linux gives to file systems without a disk; the first few look like pseudo ones there.
  static std::atomic<unsigned> next{20};
  device_ = makedev(0, next.fetch_add(1));
}

Ref<Inode> FileSystem::FindByHostFile(int, const struct stat&) {
  return nullptr;
}
Result<std::string> FileSystem::FindPath(int, Inode&) {
  return Fail(EOPNOTSUPP);
}

}  // namespace usl::vfs
