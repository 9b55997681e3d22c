#include "fs/synthetic_mirror.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <memory>

#include "base/format.h"

namespace usl::fs {
namespace {

class MirrorFile final : public SyntheticFile {
 public:
  MirrorFile(SyntheticFileSystem& file_system, std::string path, uint32_t permissions, std::string host_path,
             const MirrorPolicy& policy)
      : SyntheticFile(file_system, std::move(path), S_IFREG | permissions),
        host_path_(std::move(host_path)),
        policy_(policy) {}

  Result<std::string> Read(const vfs::Context&) override {
    const std::string* replacement = policy_.replacement ? policy_.replacement(path()) : nullptr;
    if (replacement) return *replacement;
    return ReadHostFile(AT_FDCWD, host_path_.c_str(), size_t{1} << 20);
  }
  Result<void> Write(const WriterContext& writer, std::string_view data) override {
    return policy_.write(path(), writer, data);
  }
  bool IsWritable() const override { return policy_.write && (mode() & 0200); }

 private:
  const std::string host_path_;
  const MirrorPolicy& policy_;
};

// lstat of a host name; symbolic links count as what they are.
bool StatHost(const std::string& host_path, struct stat& status) {
  return lstat(host_path.c_str(), &status) == 0;
}

bool IsShown(const struct stat& status) {
  return S_ISDIR(status.st_mode) || S_ISREG(status.st_mode) || S_ISLNK(status.st_mode);
}

}  // namespace

Result<Ref<vfs::Inode>> MirrorDirectory::Lookup(std::string_view name, const vfs::Context&) {
  const std::string host = format("{}/{}", host_path_, name);
  struct stat status;
  if (!policy_.visible(host) || !StatHost(host, status) || !IsShown(status)) return Fail(ENOENT);
  const std::string child = ChildPath(name);
  if (auto live = synthetic().FindLive(child); live && live->type() == (status.st_mode & S_IFMT)) {
    return Ref<vfs::Inode>(live);
  }
  if (S_ISDIR(status.st_mode)) {
    return Ref<vfs::Inode>(MakeRef<MirrorDirectory>(synthetic(), child, host, policy_));
  }
  if (S_ISLNK(status.st_mode)) {
    return Ref<vfs::Inode>(MakeRef<SyntheticSymlink>(
        synthetic(), child, [host](const vfs::Context&) { return ReadHostLink(AT_FDCWD, host.c_str()); }));
  }
  uint32_t permissions = status.st_mode & 0777;
  if (!policy_.write) permissions &= 0444;
  return Ref<vfs::Inode>(MakeRef<MirrorFile>(synthetic(), child, permissions, host, policy_));
}

Result<vfs::Attributes> MirrorDirectory::GetAttributes() {
  vfs::Attributes attributes = USL_TRY(SyntheticDirectory::GetAttributes());
  attributes.nlink = 1;  // unknown, as some disk file systems say: programs then do not count on it
  return attributes;
}

Result<std::vector<SyntheticEntry>> MirrorDirectory::List() {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(host_path_.c_str()), closedir);
  if (!stream) return FailErrno();
  std::vector<SyntheticEntry> entries;
  while (const dirent* entry = readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    struct stat status;
    const std::string host = format("{}/{}", host_path_, name);
    if (name == "." || name == ".." || !policy_.visible(host) || !StatHost(host, status) || !IsShown(status)) continue;
    entries.push_back({std::string(name), DirectoryType(status.st_mode), 0});
  }
  SortByHash(entries);
  return entries;
}

}  // namespace usl::fs
