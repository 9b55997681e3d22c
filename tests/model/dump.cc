#include "model/dump.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <map>
#include <vector>

namespace usl::model {
namespace {

constexpr time_t kSetByPrograms = 1'000'000'000;

std::string Format(const char* format, auto... values) {
  char text[512];
  snprintf(text, sizeof text, format, values...);
  return text;
}

std::string Time(const timespec& time) {
  if (time.tv_sec > kSetByPrograms) return "now";
  return Format("%lld.%09ld", static_cast<long long>(time.tv_sec), time.tv_nsec);
}

struct Entry {
  std::string name;
  uint64_t ino;
  unsigned char type;
};

class Dumper {
 public:
  Dumper(std::string root, bool everything) : root_(std::move(root)), everything_(everything) {}

  std::string Run() {
    Line("", nullptr);
    return std::move(text_);
  }

 private:
  void Line(const std::string& path, const Entry* entry) {
    const std::string full = root_ + path;
    struct stat status {};
    if (lstat(full.c_str(), &status) < 0) {
      text_ += Escaped(path) + " lstat " + strerrorname_np(errno) + "\n";
      return;
    }
    text_ += Format("%s %o %u:%u mtime %s", path.empty() ? "." : Escaped(path).c_str(), status.st_mode, status.st_uid,
                    status.st_gid, Time(status.st_mtim).c_str());
    if (everything_ || !S_ISDIR(status.st_mode))
      text_ += Format(" links %lu", static_cast<unsigned long>(status.st_nlink));
    if (entry && (entry->ino != status.st_ino || entry->type != IFTODT(status.st_mode))) {
      text_ += Format(" LISTED-AS type %d ino %s", entry->type, entry->ino == status.st_ino ? "same" : "other");
    }
    if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) {
      text_ += Format(" device %u:%u", major(status.st_rdev), minor(status.st_rdev));
    }
    if (!S_ISDIR(status.st_mode) && status.st_nlink > 1) {
      text_ += Format(" inode %zu", numbers_.try_emplace(status.st_ino, numbers_.size()).first->second);
    }
    if (!S_ISDIR(status.st_mode)) text_ += Format(" size %lld", static_cast<long long>(status.st_size));
    if (S_ISREG(status.st_mode) && everything_) text_ += Format(" atime %s", Time(status.st_atim).c_str());
    if (S_ISREG(status.st_mode)) text_ += Content(full);
    if (S_ISLNK(status.st_mode)) {
      char target[4096];
      const ssize_t length = readlink(full.c_str(), target, sizeof target);
      std::string shown(target, length < 0 ? 0 : static_cast<size_t>(length));
      if (shown.starts_with(root_)) shown.replace(0, root_.size(), "@");
      text_ += " -> " + Escaped(shown);
    }
    text_ += Xattrs(full) + "\n";
    if (S_ISDIR(status.st_mode)) Members(path);
  }

  void Members(const std::string& path) {
    DIR* directory = opendir((root_ + path).c_str());
    if (!directory) {
      text_ += Format("  opendir %s\n", strerrorname_np(errno));
      return;
    }
    std::vector<Entry> entries;
    while (const dirent* entry = readdir(directory)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") entries.push_back({name, entry->d_ino, entry->d_type});
    }
    closedir(directory);
    std::ranges::sort(entries, {}, &Entry::name);
    for (const Entry& entry : entries) Line(path + "/" + entry.name, &entry);
  }

  static std::string Content(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_NOATIME | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return Format(" open %s", strerrorname_np(errno));
    uint64_t hash = 14695981039346656037u;
    static unsigned char buffer[65536];
    ssize_t count;
    while ((count = read(fd, buffer, sizeof buffer)) > 0) {
      for (ssize_t i = 0; i < count; ++i) hash = (hash ^ buffer[i]) * 1099511628211u;
    }
    close(fd);
    return Format(" content %016llx", static_cast<unsigned long long>(hash));
  }

  static std::string Xattrs(const std::string& path) {
    char list[65536];
    const ssize_t length = llistxattr(path.c_str(), list, sizeof list);
    if (length < 0) return Format(" llistxattr %s", strerrorname_np(errno));
    std::vector<std::string> names;
    for (const char* name = list; name < list + length; name += strlen(name) + 1) names.emplace_back(name);
    std::ranges::sort(names);
    std::string text;
    for (const std::string& name : names) {
      char value[4096];
      const ssize_t size = lgetxattr(path.c_str(), name.c_str(), value, sizeof value);
      text += " " + Escaped(name) + "=";
      if (size < 0) text += strerrorname_np(errno);
      for (ssize_t i = 0; i < size; ++i) text += Format("%02x", static_cast<unsigned char>(value[i]));
    }
    return text;
  }

  const std::string root_;
  const bool everything_;
  std::string text_;
  std::map<ino_t, size_t> numbers_;
};

}  // namespace

std::string Escaped(const std::string& bytes) {
  std::string text;
  for (const char byte : bytes) {
    const auto value = static_cast<unsigned char>(byte);
    if (value > ' ' && value < 0x7f && value != '\\') {
      text += byte;
    } else {
      text += Format("\\x%02x", value);
    }
  }
  return text.size() > 120 ? text.substr(0, 100) + Format("...(%zu)", bytes.size()) : text;
}

std::string DumpTree(const std::string& directory, bool everything) {
  return Dumper(directory, everything).Run();
}

}  // namespace usl::model
