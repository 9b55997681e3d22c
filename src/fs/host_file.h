// The host calls that VolFs makes on a file, each on an open directory and ONE component that is never followed when it
// is a symlink, or on an open fd itself. Nothing here takes a host path, so no symlink of the host is ever followed.
#pragma once

#include <linux/stat.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace usl::fs {

// A host inode while it exists. Numbers are reused after that: whoever keeps a key keeps the file alive too, or
// compares the birth time.
struct HostKey {
  dev_t device = 0;
  uint64_t ino = 0;
  friend bool operator==(const HostKey&, const HostKey&) = default;
};

struct HostKeyHash {
  size_t operator()(const HostKey& key) const {
    return static_cast<size_t>((key.ino * 0x9E3779B97F4A7C15ull) ^ (key.device * 0xC2B2AE3D27D4EB4Full));
  }
};

// Where a host file is. `name` is one component in the directory `fd` (which may be an O_PATH fd), or "" for the file
// behind `fd` itself. Does not own either.
struct HostPlace {
  int fd = -1;
  const char* name = "";
  bool IsFd() const { return *name == '\0'; }
};

// A component as a C string on the stack.
class ComponentName {
 public:
  explicit ComponentName(std::string_view name);
  // False when the name is longer than NAME_MAX: ENAMETOOLONG.
  bool IsValid() const { return valid_; }
  const char* c_str() const { return text_; }

 private:
  char text_[256];
  bool valid_;
};

// statx(2) with the basic fields and the birth time, not following a symlink.
Result<struct statx> Stat(const HostPlace& place);
HostKey KeyOf(const struct statx& status);
inline HostKey KeyOf(const struct stat& status) {
  return {status.st_dev, status.st_ino};
}
// The birth time in nanoseconds, or 0 where the host has none.
uint64_t BirthOf(const struct statx& status);
timespec TimeOf(const struct statx_timestamp& time);

// Opens with openat2(2) and RESOLVE_NO_SYMLINKS (openat with O_NOFOLLOW where a container forbids openat2), always with
// O_CLOEXEC. `flags` must not have O_CREAT. ELOOP for a symlink, unless it is O_PATH | O_NOFOLLOW.
Result<UniqueFd> OpenHost(const HostPlace& place, int flags);
// The same with O_CREAT | O_EXCL: a new regular file.
Result<UniqueFd> CreateHost(const HostPlace& place, int flags, mode_t mode);
// fchmodat2(2), by an O_PATH fd on older hosts. Never follows.
Result<void> ChangeHostMode(const HostPlace& place, mode_t mode);
// utimensat(2); `times` as there.
Result<void> ChangeHostTimes(const HostPlace& place, const timespec times[2]);
// renameat2(2). RENAME_NOREPLACE works on file systems that do not have it (NFS) too, as far as nobody else makes the
// name meanwhile; EINVAL for RENAME_EXCHANGE there.
Result<void> RenameHost(const HostPlace& from, const HostPlace& to, unsigned flags);
// Test hook: as if no file system had renameat2(2)'s flags.
void PretendPlainRename(bool plain);
// readlinkat(2), whole.
Result<std::string> ReadHostLink(const HostPlace& place);
// Everything from the start of a small file (a symlink's target, a record); EFBIG beyond `limit`.
Result<std::string> ReadSmallFile(const HostPlace& place, size_t limit);

// Extended attributes of a regular file or directory; getxattrat(2) and its family where the host has them, else by
// /proc/self/fd. ENODATA when absent, EOPNOTSUPP where the host file system has none.
Result<std::vector<std::byte>> GetHostXattr(const HostPlace& place, const char* name);
Result<void> SetHostXattr(const HostPlace& place, const char* name, std::span<const std::byte> value, int flags);
Result<void> RemoveHostXattr(const HostPlace& place, const char* name);
Result<std::vector<std::string>> ListHostXattr(const HostPlace& place);

// Calls `add(name, ino, type)` for each entry of a directory but "." and "..", from its start. `directory` is any fd of
// it (an O_PATH one too). Stops early when `add` returns false.
Result<void> ForEachEntry(int directory,
                          const std::function<bool(const char* name, uint64_t ino, unsigned char type)>& add);

// What getdents64(2) fills.
struct HostDirent {
  uint64_t ino;
  int64_t next;
  uint16_t length;
  unsigned char type;
  char name[];
};

// "/proc/self/fd/N".
std::string FdPath(int fd);

}  // namespace usl::fs
