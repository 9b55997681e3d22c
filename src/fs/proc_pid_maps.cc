// maps, smaps, smaps_rollup and numa_maps with the guest's file names.
#include <fcntl.h>

#include <map>
#include <tuple>

#include "base/format.h"
#include "fs/proc_pid.h"
#include "fs/proc_text.h"

namespace usl::fs {
namespace {

constexpr uint64_t kPicoSize = 0x1000;

// Host names that tell nothing of the host's files: the guest's own memfds and shared memory.
bool IsNativeName(std::string_view path) {
  return path.starts_with('[') || path.starts_with("/memfd:") || path.starts_with("/SYSV") ||
         path.starts_with("/dev/zero") || path.starts_with("/anon_hugepage") || path.starts_with("anon_inode:");
}

class MapRenamer {
 public:
  explicit MapRenamer(const ProcRead& read) : read_(read), pico_(read.proc.guests().PicoBase()) {}

  void operator()(MapsLine& line) {
    const bool is_pico = line.start >= pico_ && line.end <= pico_ + kPicoSize && line.path.starts_with('/');
    if (is_pico || line.path.starts_with("/memfd:usl-fast")) {
      Set(line, {"[usl]", 0, 0});
    } else if (line.path.starts_with('/') || line.inode != 0) {
      // Several lines of one file follow each other.
      if (!cached_ || std::tie(device_, inode_, path_) != std::tie(line.device, line.inode, line.path)) {
        device_ = line.device;
        inode_ = line.inode;
        path_ = line.path;
        name_ = Name(line);
        cached_ = true;
      }
      Set(line, name_);
    }
  }

 private:
  static void Set(MapsLine& line, const ProcFileName& name) {
    line.path = name.path;
    line.device = name.device;
    line.inode = name.inode;
  }

  ProcFileName Name(const MapsLine& line) const {
    const std::string secret = "/memfd:" + read_.proc.instance().secret;
    if (line.path.starts_with(secret)) {
      // A synthetic file, mapped: secret, number and path stand in its name, and no guest may learn the first.
      const size_t slash = line.path.find('/', secret.size());
      std::string path = slash == std::string::npos ? std::string() : line.path.substr(slash);
      static constexpr std::string_view kDeleted = " (deleted)";
      if (path.ends_with(kDeleted)) path.resize(path.size() - kDeleted.size());
      return {path, 0, SyntheticIno(path)};
    }
    if (auto name = read_.proc.guests().MappedFile(read_.target.id.pid, line.device, line.inode, line.path)) {
      return *std::move(name);
    }
    if (IsNativeName(line.path)) return {line.path, line.device, line.inode};
    return {};
  }

  const ProcRead& read_;
  const uint64_t pico_;
  bool cached_ = false;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  std::string path_;
  ProcFileName name_;
};

Result<std::string> ReadMapsLike(const ProcRead& read, const char* file) {
  const std::string host = USL_TRY(ReadHostFile(read.target.host.get(), file));
  MapRenamer renamer(read);
  return RewriteMaps(host, [&](MapsLine& line) { renamer(line); });
}

}  // namespace

Result<std::string> ReadProcMaps(const ProcRead& read) {
  return ReadMapsLike(read, "maps");
}
Result<std::string> ReadProcSmaps(const ProcRead& read) {
  return ReadMapsLike(read, "smaps");
}
Result<std::string> ReadProcSmapsRollup(const ProcRead& read) {
  return ReadMapsLike(read, "smaps_rollup");
}

Result<std::string> ReadProcNumaMaps(const ProcRead& read) {
  const std::string host = USL_TRY(ReadHostFile(read.target.host.get(), "numa_maps"));
  // It names files without device and inode: take the names from maps.
  std::map<uint64_t, std::string> names;
  MapRenamer renamer(read);
  RewriteMaps(USL_TRY(ReadHostFile(read.target.host.get(), "maps")), [&](MapsLine& line) {
    renamer(line);
    names[line.start] = line.path;
  });
  return RewriteNumaMaps(host, [&](uint64_t address, std::string_view) { return names[address]; });
}

}  // namespace usl::fs
