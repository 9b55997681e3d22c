#include "manager/wine_drives.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cctype>
#include <cstdlib>
#include <memory>

#include "base/unique_fd.h"
#include "fs/case_fold.h"
#include "fs/host_file.h"
#include "manager/host_paths.h"

namespace usl::manager {
namespace {

bool IsLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool IsSeparator(char c) {
  return c == '/' || c == '\\';
}

char DriveOf(std::string_view text) {
  return static_cast<char>(std::tolower(static_cast<unsigned char>(text.front())));
}

// The member of `directory` that is `name`, or is it but for case; else `name` itself.
std::string RealName(const std::string& directory, const std::string& name) {
  struct stat status;
  if (lstat((directory + "/" + name).c_str(), &status) == 0) return name;
  const UniqueFd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return name;
  const std::string wanted = fs::FoldCase(name);
  std::string best;
  (void)fs::ForEachEntry(fd.get(), [&](const char* member, uint64_t, unsigned char) {
    if (fs::FoldCase(member) == wanted && (best.empty() || best > member)) best = member;
    return true;
  });
  return best.empty() ? name : best;
}

}  // namespace

WineDrives WineDrives::OfUser() {
  if (const char* prefix = getenv("WINEPREFIX"); prefix && prefix[0] == '/') return WineDrives(prefix);
  const std::string home = HostHome();
  return WineDrives(home.empty() ? "" : home + "/.wine");
}

WineDrives::WineDrives(const std::string& prefix) {
  if (prefix.empty()) return;
  for (char letter = 'a'; letter <= 'z'; ++letter) {
    const std::string link = prefix + "/dosdevices/" + letter + ":";
    const std::unique_ptr<char, decltype(&free)> real(realpath(link.c_str(), nullptr), &free);
    struct stat status;
    if (real && stat(real.get(), &status) == 0 && S_ISDIR(status.st_mode)) drives_[letter] = real.get();
  }
}

bool WineDrives::IsDosPath(std::string_view text) {
  return text.size() >= 2 && IsLetter(text[0]) && text[1] == ':' && (text.size() == 2 || IsSeparator(text[2]));
}

std::optional<std::vector<std::string>> WineDrives::Components(std::string_view text) {
  if (!IsDosPath(text)) return std::nullopt;
  std::vector<std::string> components;
  text.remove_prefix(2);
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of("/\\"), text.size());
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!components.empty()) components.pop_back();
    } else {
      components.emplace_back(part);
    }
  }
  return components;
}

Result<std::string> WineDrives::ToHost(std::string_view text) const {
  const auto components = Components(text);
  if (!components) return Fail(EINVAL);
  const auto drive = drives_.find(DriveOf(text));
  if (drive == drives_.end()) return Fail(ENODEV);
  std::string path = drive->second;
  for (const std::string& component : *components) {
    const std::string name = RealName(path, component);
    if (!path.ends_with('/')) path += '/';
    path += name;
  }
  return path;
}

Result<std::string> WineDrives::FromHost(const std::string& host_path, char separator) const {
  char best = 0;
  size_t best_length = 0;
  for (const auto& [letter, root] : drives_) {
    const std::string with_slash = root.ends_with('/') ? root : root + "/";
    const bool inside = host_path == root || host_path.starts_with(with_slash);
    if (!inside || (best && root.size() <= best_length)) continue;
    best = letter;
    best_length = root.size();
  }
  if (!best) return Fail(ENOENT);
  std::string rest = host_path.substr(best_length);
  if (!rest.starts_with('/')) rest.insert(0, "/");
  for (char& c : rest) {
    if (c == '/') c = separator;
  }
  return std::string(1, static_cast<char>(std::toupper(static_cast<unsigned char>(best)))) + ":" + rest;
}

}  // namespace usl::manager
