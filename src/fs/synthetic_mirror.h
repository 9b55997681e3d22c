// Directories that show an allow-listed part of the host's /sys or /proc/sys, read-only towards the host: files are
// copied at open, so no write, ioctl or poll of a guest reaches the host's attribute.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "fs/synthetic_directory.h"

namespace usl::fs {

struct MirrorPolicy {
  // May the host path (below the mirrored root) be seen? Asked for each name.
  std::function<bool(std::string_view host_path)> visible;
  // What guests wrote or shall see instead of the host's content; null: none. `path` is within the file system.
  std::function<const std::string*(const std::string& path)> replacement = nullptr;
  // Null: nothing is writable.
  std::function<Result<void>(const std::string& path, const WriterContext&, std::string_view data)> write = nullptr;
};

// `policy` outlives the directory.
class MirrorDirectory final : public SyntheticDirectory {
 public:
  MirrorDirectory(SyntheticFileSystem& file_system, std::string path, std::string host_path, const MirrorPolicy& policy)
      : SyntheticDirectory(file_system, std::move(path)), host_path_(std::move(host_path)), policy_(policy) {}

  Result<Ref<vfs::Inode>> Lookup(std::string_view name, const vfs::Context& context) override;
  bool CacheableNames() const override { return false; }
  Result<vfs::Attributes> GetAttributes() override;

 protected:
  Result<std::vector<SyntheticEntry>> List() override;

 private:
  const std::string host_path_;
  const MirrorPolicy& policy_;
};

}  // namespace usl::fs
