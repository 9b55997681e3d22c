#include "fs/host_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/format.h"

namespace usl::fs {
namespace {

constexpr long kSetXattrAt = 463, kGetXattrAt = 464, kListXattrAt = 465, kRemoveXattrAt = 466;
constexpr long kFchmodAt2 = 452;

struct XattrArgs {  // struct xattr_args of linux/xattr.h (6.13)
  uint64_t value;
  uint32_t size;
  uint32_t flags;
};

// Calls that the host may lack; learnt at the first ENOSYS (or EPERM, which container filters answer instead).
std::atomic<bool> g_has_xattrat{true};
std::atomic<bool> g_has_openat2{true};
std::atomic<bool> g_has_fchmodat2{true};
std::atomic<bool> g_plain_rename{false};

bool IsMissing(int error) {
  return error == ENOSYS;
}

// The path by which the older calls reach a place. It follows the magic link of the fd, and nothing behind it.
std::string ProcPath(const HostPlace& place) {
  return place.IsFd() ? FdPath(place.fd) : format("/proc/self/fd/{}/{}", place.fd, place.name);
}

// The xattr calls by path: for an fd itself the magic link must be followed, for a component nothing may be.
ssize_t GetByPath(const HostPlace& place, const char* name, void* value, size_t size) {
  std::string path = ProcPath(place);
  return place.IsFd() ? ::getxattr(path.c_str(), name, value, size) : ::lgetxattr(path.c_str(), name, value, size);
}

ssize_t GetOnce(const HostPlace& place, const char* name, void* value, size_t size) {
  if (!place.IsFd() && g_has_xattrat.load(std::memory_order_relaxed)) {
    XattrArgs args{reinterpret_cast<uint64_t>(value), static_cast<uint32_t>(size), 0};
    long length = ::syscall(kGetXattrAt, place.fd, place.name, AT_SYMLINK_NOFOLLOW, name, &args, sizeof args);
    if (length >= 0 || !IsMissing(errno)) return length;
    g_has_xattrat = false;
  }
  return GetByPath(place, name, value, size);
}

ssize_t ListOnce(const HostPlace& place, char* list, size_t size) {
  if (!place.IsFd() && g_has_xattrat.load(std::memory_order_relaxed)) {
    long length = ::syscall(kListXattrAt, place.fd, place.name, AT_SYMLINK_NOFOLLOW, list, size);
    if (length >= 0 || !IsMissing(errno)) return length;
    g_has_xattrat = false;
  }
  std::string path = ProcPath(place);
  return place.IsFd() ? ::listxattr(path.c_str(), list, size) : ::llistxattr(path.c_str(), list, size);
}

Result<UniqueFd> OpenWith(const HostPlace& place, int flags, mode_t mode) {
  flags |= O_CLOEXEC;
  if (g_has_openat2.load(std::memory_order_relaxed)) {
    open_how how{};
    how.flags = static_cast<uint64_t>(static_cast<unsigned>(flags));
    how.mode = mode;
    how.resolve = RESOLVE_NO_SYMLINKS;
    long fd = ::syscall(SYS_openat2, place.fd, place.name, &how, sizeof how);
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    if (!IsMissing(errno)) return FailErrno();
    g_has_openat2 = false;
  }
  int fd = ::openat(place.fd, place.name, flags | O_NOFOLLOW, mode);
  if (fd < 0) return FailErrno();
  return UniqueFd(fd);
}

}  // namespace

ComponentName::ComponentName(std::string_view name) : valid_(name.size() < sizeof text_) {
  size_t length = valid_ ? name.size() : 0;
  std::memcpy(text_, name.data(), length);
  text_[length] = '\0';
}

std::string FdPath(int fd) {
  return format("/proc/self/fd/{}", fd);
}

Result<struct statx> Stat(const HostPlace& place) {
  struct statx status;
  if (::statx(place.fd, place.name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
              STATX_BASIC_STATS | STATX_BTIME, &status) < 0) {
    return FailErrno();
  }
  return status;
}

HostKey KeyOf(const struct statx& status) {
  return {makedev(status.stx_dev_major, status.stx_dev_minor), status.stx_ino};
}

uint64_t BirthOf(const struct statx& status) {
  if (!(status.stx_mask & STATX_BTIME)) return 0;
  return static_cast<uint64_t>(status.stx_btime.tv_sec) * 1'000'000'000u + status.stx_btime.tv_nsec;
}

timespec TimeOf(const struct statx_timestamp& time) {
  return {static_cast<time_t>(time.tv_sec), static_cast<long>(time.tv_nsec)};
}

Result<UniqueFd> OpenHost(const HostPlace& place, int flags) {
  if (!place.IsFd()) return OpenWith(place, flags, 0);
  // By the magic link: it works for removed files too, and opens the very inode.
  int fd = ::open(FdPath(place.fd).c_str(), (flags & ~O_NOFOLLOW) | O_CLOEXEC);
  if (fd < 0) return FailErrno();
  return UniqueFd(fd);
}

Result<UniqueFd> CreateHost(const HostPlace& place, int flags, mode_t mode) {
  return OpenWith(place, flags | O_CREAT | O_EXCL, mode);
}

Result<void> ChangeHostMode(const HostPlace& place, mode_t mode) {
  if (g_has_fchmodat2.load(std::memory_order_relaxed)) {
    if (::syscall(kFchmodAt2, place.fd, place.name, mode, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == 0) return {};
    if (!IsMissing(errno)) return FailErrno();
    g_has_fchmodat2 = false;
  }
  UniqueFd opened;
  int fd = place.fd;
  if (!place.IsFd()) {
    opened = USL_TRY(OpenHost(place, O_PATH | O_NOFOLLOW));
    fd = opened.get();
  }
  if (::chmod(FdPath(fd).c_str(), mode) < 0) return FailErrno();
  return {};
}

Result<void> ChangeHostTimes(const HostPlace& place, const timespec times[2]) {
  if (place.IsFd()) {
    if (::utimensat(AT_FDCWD, FdPath(place.fd).c_str(), times, 0) < 0) return FailErrno();
    return {};
  }
  if (::utimensat(place.fd, place.name, times, AT_SYMLINK_NOFOLLOW) < 0) return FailErrno();
  return {};
}

Result<void> RenameHost(const HostPlace& from, const HostPlace& to, unsigned flags) {
  bool is_plain = flags && g_plain_rename.load(std::memory_order_relaxed);
  if (!is_plain && ::syscall(SYS_renameat2, from.fd, from.name, to.fd, to.name, flags) == 0) return {};
  int code = is_plain ? EINVAL : errno;
  if (flags != RENAME_NOREPLACE || code != EINVAL) return Fail(code);
  // A directory may not go below itself: that is EINVAL too, and the plain call says it again.
  auto found = Stat(to);
  if (found) return Fail(EEXIST);
  if (found.error().code() != ENOENT) return Fail(found.error());
  if (::renameat(from.fd, from.name, to.fd, to.name) < 0) return FailErrno();
  return {};
}

void PretendPlainRename(bool plain) {
  g_plain_rename = plain;
}

Result<std::string> ReadHostLink(const HostPlace& place) {
  char target[4097];
  ssize_t length = ::readlinkat(place.fd, place.name, target, sizeof target);
  if (length < 0) return FailErrno();
  if (length == sizeof target) return Fail(ENAMETOOLONG);
  return std::string(target, static_cast<size_t>(length));
}

Result<std::string> ReadSmallFile(const HostPlace& place, size_t limit) {
  UniqueFd fd = USL_TRY(OpenHost(place, O_RDONLY | O_NONBLOCK));
  // One byte more than fits tells that there is more; as large as the file and not as the limit, which may be generous.
  std::string content;
  size_t filled = 0;
  while (filled <= limit) {
    if (filled == content.size()) content.resize(std::min(std::max(filled * 2, size_t{4096}), limit + 1));
    ssize_t count = ::read(fd.get(), content.data() + filled, content.size() - filled);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FailErrno();
    if (count == 0) break;
    filled += static_cast<size_t>(count);
  }
  if (filled > limit) return Fail(EFBIG);
  content.resize(filled);
  return content;
}

Result<std::vector<std::byte>> GetHostXattr(const HostPlace& place, const char* name) {
  std::byte small[1024];
  ssize_t length = GetOnce(place, name, small, sizeof small);
  if (length >= 0) return std::vector<std::byte>(small, small + length);
  if (errno != ERANGE) return FailErrno();
  std::vector<std::byte> value(XATTR_SIZE_MAX);
  length = GetOnce(place, name, value.data(), value.size());
  if (length < 0) return FailErrno();
  value.resize(static_cast<size_t>(length));
  return value;
}

Result<void> SetHostXattr(const HostPlace& place, const char* name, std::span<const std::byte> value, int flags) {
  if (!place.IsFd() && g_has_xattrat.load(std::memory_order_relaxed)) {
    XattrArgs args{reinterpret_cast<uint64_t>(value.data()), static_cast<uint32_t>(value.size()),
                   static_cast<uint32_t>(flags)};
    if (::syscall(kSetXattrAt, place.fd, place.name, AT_SYMLINK_NOFOLLOW, name, &args, sizeof args) == 0) return {};
    if (!IsMissing(errno)) return FailErrno();
    g_has_xattrat = false;
  }
  std::string path = ProcPath(place);
  int done = place.IsFd() ? ::setxattr(path.c_str(), name, value.data(), value.size(), flags)
                          : ::lsetxattr(path.c_str(), name, value.data(), value.size(), flags);
  if (done < 0) return FailErrno();
  return {};
}

Result<void> RemoveHostXattr(const HostPlace& place, const char* name) {
  if (!place.IsFd() && g_has_xattrat.load(std::memory_order_relaxed)) {
    if (::syscall(kRemoveXattrAt, place.fd, place.name, AT_SYMLINK_NOFOLLOW, name) == 0) return {};
    if (!IsMissing(errno)) return FailErrno();
    g_has_xattrat = false;
  }
  std::string path = ProcPath(place);
  int done = place.IsFd() ? ::removexattr(path.c_str(), name) : ::lremovexattr(path.c_str(), name);
  if (done < 0) return FailErrno();
  return {};
}

Result<std::vector<std::string>> ListHostXattr(const HostPlace& place) {
  std::string list(XATTR_LIST_MAX, '\0');
  ssize_t length = ListOnce(place, list.data(), list.size());
  if (length < 0) return FailErrno();
  std::vector<std::string> names;
  for (size_t at = 0; at < static_cast<size_t>(length);) {
    names.emplace_back(list.c_str() + at);
    at += names.back().size() + 1;
  }
  return names;
}

Result<void> ForEachEntry(int directory,
                          const std::function<bool(const char* name, uint64_t ino, unsigned char type)>& add) {
  // A fresh open file: its own position, and readable where `directory` is O_PATH.
  UniqueFd fd(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return FailErrno();
  alignas(HostDirent) char buffer[32768];
  while (true) {
    long length = ::syscall(SYS_getdents64, fd.get(), buffer, sizeof buffer);
    if (length < 0) return FailErrno();
    if (length == 0) return {};
    for (long at = 0; at < length;) {
      auto* entry = reinterpret_cast<HostDirent*>(buffer + at);
      at += entry->length;
      if (entry->name[0] == '.' && (!entry->name[1] || (entry->name[1] == '.' && !entry->name[2]))) continue;
      if (!add(entry->name, entry->ino, entry->type)) return {};
    }
  }
}

}  // namespace usl::fs
