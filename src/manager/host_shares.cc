#include "manager/host_shares.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include <algorithm>

#include "fs/case_fold.h"
#include "fs/host_file.h"

namespace usl::manager {
namespace {

// EPERM for ".."; names longer than the host allows are the host's to refuse.
Result<std::vector<std::string>> SplitPath(std::string_view path) {
  std::vector<std::string> components;
  while (!path.empty()) {
    const size_t end = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, end);
    path.remove_prefix(std::min(end + 1, path.size()));
    if (part == "..") return Fail(EPERM);
    if (!part.empty() && part != ".") components.emplace_back(part);
  }
  return components;
}

bool SameName(const std::string& a, const std::string& b, bool fold) {
  return a == b || (fold && fs::FoldCase(a) == fs::FoldCase(b));
}

bool StartsWith(const std::vector<std::string>& path, const std::vector<std::string>& start, bool fold) {
  if (path.size() < start.size()) return false;
  for (size_t i = 0; i < start.size(); ++i) {
    if (!SameName(path[i], start[i], fold)) return false;
  }
  return true;
}

// One step down. For sources with a drive, a name that does not exist is taken for the one that differs in case only.
Result<UniqueFd> Step(int directory, std::string& name, bool fold) {
  const fs::HostPlace place{directory, name.c_str()};
  if (name.size() > NAME_MAX) return Fail(ENAMETOOLONG);
  auto fd = fs::OpenHost(place, O_PATH | O_NOFOLLOW);
  if (fd || !fold || fd.error().code() != ENOENT) return fd;
  const std::string wanted = fs::FoldCase(name);
  std::string best;
  USL_TRY_VOID(fs::ForEachEntry(directory, [&](const char* member, uint64_t, unsigned char) {
    if (fs::FoldCase(member) == wanted && (best.empty() || best > member)) best = member;
    return true;
  }));
  if (best.empty()) return Fail(ENOENT);
  name = best;
  return fs::OpenHost({directory, name.c_str()}, O_PATH | O_NOFOLLOW);
}

}  // namespace

Result<void> HostShares::Allow(const std::string& host_path, bool read_only) {
  fs::DrvFsSource opened = USL_TRY(fs::OpenDrvFsSource(host_path));
  Share share{.components = USL_TRY(SplitPath(host_path)),
              .fd = std::move(opened.directory),
              .file = std::move(opened.single_file),
              .read_only = read_only};
  shares_.push_back(std::move(share));
  return {};
}

Result<HostShares::Found> HostShares::OpenBelow(const Share& share, const std::vector<std::string>& components,
                                                bool fold) const {
  Found found{.source = {}, .read_only = share.read_only};
  const std::span rest = std::span(components).subspan(share.components.size());
  UniqueFd at = USL_TRY(fs::OpenHost({share.fd.get(), "."}, O_PATH | O_DIRECTORY));
  if (!share.file.empty()) {
    if (!rest.empty()) return Fail(ENOTDIR);
    found.source.directory = std::move(at);
    found.source.single_file = share.file;
    return found;
  }
  for (size_t i = 0; i < rest.size(); ++i) {
    std::string name = rest[i];
    UniqueFd next = USL_TRY(Step(at.get(), name, fold));
    struct stat status;
    if (fstat(next.get(), &status) < 0) return FailErrno();
    if (S_ISLNK(status.st_mode)) return Fail(ELOOP);
    if (!S_ISDIR(status.st_mode)) {
      if (i + 1 < rest.size()) return Fail(ENOTDIR);
      if (!S_ISREG(status.st_mode)) return Fail(EACCES);
      found.source.single_file = name;
      break;
    }
    at = std::move(next);
  }
  found.source.directory = std::move(at);
  return found;
}

Result<HostShares::Found> HostShares::Open(std::string_view source) const {
  const bool is_dos = WineDrives::IsDosPath(source);
  std::string path(source);
  if (is_dos) {
    // Only the drive is looked up in the host's names; what follows it is walked below a share.
    const auto drive = drives_.ToHost(source.substr(0, 2));
    const auto components = WineDrives::Components(source);
    if (!drive || !components) return Fail(EPERM);
    path = *drive;
    for (const std::string& component : *components) path += "/" + component;
  }
  if (!path.starts_with('/')) return Fail(EPERM);
  const auto components = USL_TRY(SplitPath(path));
  const Share* best = nullptr;
  for (const Share& share : shares_) {
    if (!StartsWith(components, share.components, is_dos)) continue;
    if (!best || share.components.size() > best->components.size()) best = &share;
  }
  if (!best) return Fail(EPERM);
  Found found = USL_TRY(OpenBelow(*best, components, is_dos));
  found.source.name = source;
  return found;
}

}  // namespace usl::manager
