#include "fs/synthetic_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

namespace usl::fs {

Result<UniqueFd> SyntheticDirectory::Open(int, const vfs::Context&) {
  return Fail(EOPNOTSUPP);
}

Result<void> SyntheticDirectory::ReadDirectory(int open_directory, uint64_t parent_ino, vfs::DirectorySink& sink) {
  const off_t start = lseek(open_directory, 0, SEEK_CUR);
  if (start < 0) return FailErrno();
  off_t cursor = start;
  const auto add = [&](std::string_view name, uint64_t ino, unsigned char type, int64_t position) {
    if (position < cursor) return true;
    if (!sink.Add(name, ino, type, position + 1)) return false;
    cursor = position + 1;
    return true;
  };
  bool more = add(".", SyntheticIno(path()), DT_DIR, 0) && add("..", parent_ino, DT_DIR, 1);
  if (more) {
    for (const SyntheticEntry& entry : USL_TRY(List())) {
      if (!add(entry.name, SyntheticIno(ChildPath(entry.name)), entry.type, entry.position)) break;
    }
  }
  if (cursor != start && lseek(open_directory, cursor, SEEK_SET) < 0) return FailErrno();
  return {};
}

Result<Ref<vfs::Inode>> SyntheticDirectory::Create(std::string_view, const vfs::NewInode&) {
  return Fail(ENOENT);
}
Result<void> SyntheticDirectory::Link(std::string_view, vfs::Inode&) {
  return Fail(EPERM);
}
Result<void> SyntheticDirectory::Unlink(std::string_view, vfs::Inode&) {
  return Fail(EPERM);
}
Result<void> SyntheticDirectory::RemoveDirectory(std::string_view, vfs::Inode&) {
  return Fail(EPERM);
}
Result<void> SyntheticDirectory::Rename(std::string_view, vfs::Inode&, vfs::Inode&, std::string_view, vfs::Inode*,
                                        unsigned) {
  return Fail(EPERM);
}

Result<Ref<vfs::Inode>> StaticDirectory::Lookup(std::string_view name, const vfs::Context&) {
  const auto found = std::ranges::find(children_, name, &Child::name);
  if (found == children_.end()) return Fail(ENOENT);
  return Ref<vfs::Inode>(found->inode);
}

Result<vfs::Attributes> StaticDirectory::GetAttributes() {
  vfs::Attributes attributes = USL_TRY(SyntheticDirectory::GetAttributes());
  attributes.nlink = 2 + static_cast<uint32_t>(
                             std::ranges::count_if(children_, [](const Child& c) { return c.inode->IsDirectory(); }));
  return attributes;
}

void StaticDirectory::Add(std::string_view name, Ref<SyntheticInode> child) {
  children_.push_back(Child{std::string(name), std::move(child)});
}

Ref<StaticDirectory> StaticDirectory::AddDirectory(std::string_view name, uint32_t permissions) {
  auto directory = MakeRef<StaticDirectory>(synthetic(), ChildPath(name), permissions);
  Add(name, directory);
  return directory;
}

void StaticDirectory::AddFile(std::string_view name, uint32_t permissions, GeneratedFile::Reader reader,
                              GeneratedFile::Writer writer) {
  Add(name, MakeRef<GeneratedFile>(synthetic(), ChildPath(name), permissions, std::move(reader), std::move(writer)));
}

void StaticDirectory::AddText(std::string_view name, std::string content, uint32_t permissions) {
  AddFile(name, permissions, [content = std::move(content)](const vfs::Context&) { return content; });
}

void StaticDirectory::AddHostFile(std::string_view name, const std::string& host_path, uint32_t permissions) {
  if (access(host_path.c_str(), R_OK) != 0) return;
  Add(name, MakeRef<HostFile>(synthetic(), ChildPath(name), permissions, host_path));
}

void StaticDirectory::AddHostCopy(std::string_view name, const std::string& host_path, uint32_t permissions) {
  AddFile(name, permissions,
          [host_path](const vfs::Context&) { return ReadHostFile(AT_FDCWD, host_path.c_str()).value_or(""); });
}

void StaticDirectory::AddSymlink(std::string_view name, std::string target) {
  Add(name, MakeRef<SyntheticSymlink>(synthetic(), ChildPath(name),
                                      [target = std::move(target)](const vfs::Context&) { return target; }));
}

Result<std::vector<SyntheticEntry>> StaticDirectory::List() {
  std::vector<SyntheticEntry> entries;
  for (size_t i = 0; i < children_.size(); ++i) {
    entries.push_back(
        {children_[i].name, DirectoryType(children_[i].inode->type()), kFirstPosition + static_cast<int64_t>(i)});
  }
  return entries;
}

int64_t HashedPosition(std::string_view name) {
  return SyntheticDirectory::kFirstPosition + static_cast<int64_t>(SyntheticIno(name) % 0x7ffffff0);
}

void SortByHash(std::vector<SyntheticEntry>& entries) {
  for (SyntheticEntry& entry : entries) entry.position = HashedPosition(entry.name);
  std::ranges::sort(entries, {}, &SyntheticEntry::position);
}

}  // namespace usl::fs
