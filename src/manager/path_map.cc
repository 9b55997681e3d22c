#include "manager/path_map.h"

#include <algorithm>

#include "fs/case_fold.h"
#include "manager/host_paths.h"
#include "manager/wine_drives.h"

namespace usl::manager {
namespace {

// What of `path` lies below `root`: "" or "/x"; false where it is outside.
bool Below(std::string_view path, std::string_view root, bool fold, std::string_view* rest) {
  if (root == "/") {
    *rest = path == "/" ? "" : path;
    return path.starts_with('/');
  }
  if (path.size() < root.size()) return false;
  const std::string_view start = path.substr(0, root.size());
  if (start != root && !(fold && fs::FoldCase(start) == fs::FoldCase(root))) return false;
  *rest = path.substr(root.size());
  return rest->empty() || rest->front() == '/';
}

std::string Join(const std::string& root, std::string_view rest) {
  if (rest.empty()) return root;
  return root == "/" ? std::string(rest) : root + std::string(rest);
}

// mountinfo writes blanks and backslashes as \040 and so on.
std::string Unescape(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && text[i + 1] >= '0' && text[i + 1] <= '3') {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

// A DOS path as one with slashes and without one at its end: "C:\x\" is "C:/x".
std::string DosWithSlashes(std::string_view text) {
  std::string path(text.substr(0, 2));
  for (const std::string& component : WineDrives::Components(text).value_or(std::vector<std::string>())) {
    path += "/" + component;
  }
  return path;
}

}  // namespace

std::string NormalPath(std::string_view path) {
  const bool absolute = path.starts_with('/');
  std::vector<std::string_view> kept;
  for (const std::string_view part : Split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == ".." && !kept.empty() && kept.back() != "..") {
      kept.pop_back();
    } else if (part != ".." || !absolute) {
      kept.push_back(part);
    }
  }
  std::string text;
  for (const std::string_view part : kept) {
    if (absolute || !text.empty()) text += '/';
    text += part;
  }
  return text.empty() ? (absolute ? "/" : ".") : text;
}

void PathMap::Add(std::string guest, std::string host) {
  Mount mount{.guest = NormalPath(guest), .host = std::move(host)};
  mount.is_dos = WineDrives::IsDosPath(mount.host);
  if (mount.is_dos) {
    mount.host = DosWithSlashes(mount.host);
  } else if (!mount.host.empty()) {
    mount.host = NormalPath(mount.host);
  }
  mounts_.push_back(std::move(mount));
}

PathMap PathMap::Of(const RunOptions& options, const std::string& current_directory) {
  // What lies in layers has no one place on the host.
  const std::string tree = options.layers.empty() ? options.rootfs : "";
  return Of(options, current_directory, options.IsHostView() ? "/" : tree);
}

PathMap PathMap::OfShared(const RunOptions& options, const std::string& current_directory) {
  return Of(options, current_directory, options.IsHostView() ? "/" : "");
}

PathMap PathMap::Of(const RunOptions& options, const std::string& current_directory, const std::string& root) {
  PathMap map;
  map.Add("/", root);
  for (const char* own : {"/proc", "/sys", "/dev", "/run", "/tmp"}) map.Add(own, "");
  if (options.IsHostView() && !HostHome().empty()) map.Add(HostHome(), "");
  for (const Volume& volume : options.volumes) map.Add(volume.guest_path, volume.host_path);
  if (options.here) map.Add(current_directory, current_directory);
  return map;
}

bool PathMap::IsGuest(std::string_view mountinfo) {
  // Init's first mount is the root.
  for (const std::string_view line : Split(mountinfo, '\n')) {
    if (line.find(" - volfs ") != line.npos || line.find(" - drvfs ") != line.npos) return true;
  }
  return false;
}

PathMap PathMap::OfMounts(std::string_view mountinfo) {
  PathMap map;
  for (const std::string_view line : Split(mountinfo, '\n')) {
    const size_t dash = line.find(" - ");
    if (dash == line.npos) continue;
    const auto before = Split(line.substr(0, dash), ' '), after = Split(line.substr(dash + 3), ' ');
    if (before.size() < 5 || after.size() < 2) continue;
    std::string host;
    if (after[0] == "drvfs") {
      host = Unescape(after[1]);
      const std::string root = Unescape(before[3]);
      if (root != "/") host = Join(NormalPath(host), root);
    }
    map.Add(Unescape(before[4]), std::move(host));
  }
  return map;
}

const PathMap::Mount* PathMap::Covering(std::string_view guest) const {
  const Mount* best = nullptr;
  std::string_view rest;
  for (const Mount& mount : mounts_) {
    if (!Below(guest, mount.guest, false, &rest)) continue;
    // One on the same place, or below it, lies upon it.
    if (!best || mount.guest.size() >= best->guest.size()) best = &mount;
  }
  return best;
}

Result<std::string> PathMap::ToHost(std::string_view guest) const {
  const Mount* mount = Covering(guest);
  std::string_view rest;
  if (!mount || mount->host.empty() || !Below(guest, mount->guest, false, &rest)) return Fail(ENOENT);
  return Join(mount->host, rest);
}

Result<std::string> PathMap::ToGuest(std::string_view host) const {
  const bool is_dos = WineDrives::IsDosPath(host);
  const std::string path = is_dos ? DosWithSlashes(host) : std::string(host);
  const Mount* best = nullptr;
  std::string found;
  for (const Mount& mount : mounts_) {
    std::string_view rest;
    if (mount.host.empty() || mount.is_dos != is_dos || !Below(path, mount.host, is_dos, &rest)) continue;
    if (best && mount.host.size() < best->host.size()) continue;
    std::string guest = Join(mount.guest, rest);
    // Something else may be mounted there.
    if (Covering(guest) != &mount) continue;
    best = &mount;
    found = std::move(guest);
  }
  if (!best) return Fail(ENOENT);
  return found;
}

}  // namespace usl::manager
