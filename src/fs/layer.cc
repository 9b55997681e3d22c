#include "fs/layer.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

namespace usl::fs {
namespace {

// Numbers that linux/magic.h lacks or that differ between versions of it.
constexpr long kXfs = 0x58465342, kZfs = 0x2FC12FC1, kBcachefs = 0xCA451A4E, kJfs = 0x3153464A;

// File systems that hold a machine's own programs and data. Everything else that is mounted in the host's root (proc,
// sys, tmpfs, network and FUSE mounts, which may hold the user's secrets) is shown as an empty directory.
bool IsDiskFileSystem(long magic) {
  switch (magic) {
    case EXT4_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case OVERLAYFS_SUPER_MAGIC:
    case SQUASHFS_MAGIC:
    case EROFS_SUPER_MAGIC_V1:
    case NILFS_SUPER_MAGIC:
    case REISERFS_SUPER_MAGIC:
    case kXfs:
    case kZfs:
    case kBcachefs:
    case kJfs: return true;
    default: return false;
  }
}

bool IsReadable(const HostPlace& place, uint32_t type) {
  // Not faccessat: a helper program's real and effective ids may differ, and only the open itself counts.
  int flags = type == S_IFDIR ? O_RDONLY | O_DIRECTORY | O_NOFOLLOW : O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
  return OpenHost(place, flags).has_value();
}

}  // namespace

void HostRule::Set(std::string_view path, Action new_action) {
  HostRule* rule = this;
  while (!path.empty()) {
    size_t end = std::min(path.find('/'), path.size());
    std::string_view part = path.substr(0, end);
    path.remove_prefix(std::min(end + 1, path.size()));
    if (!part.empty()) rule = &rule->members[std::string(part)];
  }
  rule->action = new_action;
}

const HostRule* HostRule::Find(std::string_view name) const {
  auto found = members.find(name);
  return found == members.end() ? nullptr : &found->second;
}

Layer::Layer(LayerOptions options, std::unique_ptr<AttributeStore> store)
    : options_(std::move(options)), store_(std::move(store)), host_uid_(::geteuid()), host_gid_(::getegid()) {
  const int count = ::getgroups(0, nullptr);
  host_groups_.resize(static_cast<size_t>(std::max(count, 0)));
  if (count > 0 && ::getgroups(count, host_groups_.data()) != count) host_groups_.clear();
}

Result<std::unique_ptr<Layer>> Layer::Open(LayerOptions options, std::unique_ptr<AttributeStore> store) {
  std::unique_ptr<Layer> layer(new Layer(std::move(options), std::move(store)));
  UniqueFd fd(::open(layer->options_.path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return FailErrno();
  struct stat status;
  if (::fstat(fd.get(), &status) < 0) return FailErrno();
  struct statfs mounted;
  if (::fstatfs(fd.get(), &mounted) == 0) layer->mount_flags_ = static_cast<unsigned long>(mounted.f_flags);
  layer->root_fd_ = MakeRef<OpenDirectory>(std::move(fd));
  layer->root_ = MakeRef<HostDirectory>(*layer, layer->root_fd_, KeyOf(status));
  layer->root_->rule = &layer->options_.rules;
  return layer;
}

bool Layer::ApplyRules(const HostDirectory& directory, const HostPlace& place, std::string_view name,
                       HostEntry& entry) const {
  using enum HostRule::Action;
  entry.rule = directory.rule ? directory.rule->Find(name) : nullptr;
  uint32_t type = entry.host_type();
  if (entry.rule) {
    switch (entry.rule->action) {
      case kNone: break;
      case kHidden: return false;
      case kEmpty: entry.shown_empty = true; break;
      case kEmptyIfUnreadable: entry.shown_empty = type == S_IFDIR && !IsReadable(place, type); break;
      case kHiddenIfUnreadable:
        if (type == S_IFREG && !IsReadable(place, type)) return false;
        break;
    }
  }
  if (type != S_IFDIR || entry.shown_empty) return true;
  HostKey key = KeyOf(entry.status);
  if (std::ranges::find(options_.emptied, key) != options_.emptied.end()) entry.shown_empty = true;
  if (!options_.cross_mounts && key.device != directory.key().device) {
    // By an O_PATH fd: a directory that may not be read can be asked for its file system too.
    auto fd = OpenHost(place, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    struct statfs file_system;
    if (!fd || ::fstatfs(fd->get(), &file_system) < 0 || !IsDiskFileSystem(file_system.f_type))
      entry.shown_empty = true;
  }
  return true;
}

Result<std::optional<HostEntry>> Layer::Probe(DirectoryCache& cache, HostDirectory& directory, std::string_view name) {
  if (directory.shown_empty) return std::nullopt;
  ComponentName component(name);
  if (!component.IsValid()) return Fail(ENAMETOOLONG);
  Ref<OpenDirectory> open = USL_TRY(cache.Get(directory));
  HostPlace place{open->fd(), component.c_str()};
  auto status = Stat(place);
  if (!status) {
    if (status.error().code() == ENOENT) return std::nullopt;
    return Fail(status.error());
  }
  HostEntry entry;
  entry.status = *status;
  if (options_.owners == Owners::kHost) {
    if (!ApplyRules(directory, place, name, entry)) return std::nullopt;
    return entry;
  }
  uint32_t type = entry.host_type();
  if (UsesRecords() && (type == S_IFREG || type == S_IFDIR)) {
    entry.record = USL_TRY(store_->Load(place, KeyOf(entry.status)));
  }
  return entry;
}

Result<HostEntry> Layer::ProbePlace(const HostPlace& place) {
  HostEntry entry;
  entry.status = USL_TRY(Stat(place));
  uint32_t type = entry.host_type();
  if (UsesRecords() && (type == S_IFREG || type == S_IFDIR)) {
    entry.record = USL_TRY(store_->Load(place, KeyOf(entry.status)));
  }
  return entry;
}

uint32_t Layer::EffectiveMode(const struct statx& status) const {
  if (host_uid_ == 0) return 0777;
  // As the host decides: the first class that applies, alone. (Its access lists count at the open.)
  uint32_t bits = status.stx_mode & 7;
  if (status.stx_uid == host_uid_) {
    bits = (status.stx_mode >> 6) & 7;
  } else if (status.stx_gid == host_gid_ || std::ranges::find(host_groups_, status.stx_gid) != host_groups_.end()) {
    bits = (status.stx_mode >> 3) & 7;
  }
  uint32_t mode = 0777;
  if (!(bits & 4)) mode &= ~0444u;
  if (!(bits & 2)) mode &= ~0222u;
  // Every file may be executed, as its mode does not say whether it is a program.
  if (S_ISDIR(status.stx_mode) && !(bits & 1)) mode &= ~0111u;
  return mode;
}

Ownership Layer::OwnershipOf(const struct statx& status, const AttributeRecord* record) const {
  uint32_t mode = status.stx_mode & 07777;
  Ownership owner{mode, 0, 0};
  switch (options_.owners) {
    case Owners::kHost: return {mode, status.stx_uid, status.stx_gid};
    case Owners::kRecord: break;
    case Owners::kMapped:
      if (options_.host_modes) {
        owner.uid = status.stx_uid == host_uid_ ? options_.mapped_uid : status.stx_uid;
        owner.gid = status.stx_gid == host_gid_ ? options_.mapped_gid : status.stx_gid;
        // A set-id program of the host user would become one of the guest's root.
        owner.mode = mode & ~06000u;
      } else {
        owner = {EffectiveMode(status), options_.mapped_uid, options_.mapped_gid};
      }
      owner.mode &= ~(S_ISDIR(status.stx_mode) ? options_.directory_mask : options_.file_mask);
      break;
  }
  if (!record) {
    // The mode bits of a host symlink mean nothing.
    if (S_ISLNK(status.stx_mode)) owner.mode = 0777;
    return owner;
  }
  owner.mode = record->mode.value_or(owner.mode);
  owner.uid = record->uid.value_or(owner.uid);
  owner.gid = record->gid.value_or(owner.gid);
  return owner;
}

bool Layer::AccessTimeRests(const timespec& atime, const timespec& mtime, const timespec& ctime) const {
  if (mount_flags_ & (ST_NOATIME | ST_RDONLY)) return true;
  if (!(mount_flags_ & ST_RELATIME)) return false;
  // Linux's relatime_need_update(): one that is newer than the last change rests for a day.
  constexpr time_t kHalfDay = 12 * 60 * 60;
  auto later = [&](const timespec& other) {
    return atime.tv_sec != other.tv_sec ? atime.tv_sec > other.tv_sec : atime.tv_nsec > other.tv_nsec;
  };
  timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return later(mtime) && later(ctime) && now.tv_sec - atime.tv_sec < kHalfDay;
}

std::optional<std::string> Layer::RelativePath(std::string_view path) const {
  // Asked anew each time: the tree itself may have been renamed on the host.
  auto root = ReadHostLink({AT_FDCWD, FdPath(root_fd_->fd()).c_str()});
  if (!root) return std::nullopt;
  if (*root == "/") return path.starts_with('/') ? std::optional(std::string(path.substr(1))) : std::nullopt;
  if (path == *root) return std::string();
  if (path.size() > root->size() && path.starts_with(*root) && path[root->size()] == '/') {
    return std::string(path.substr(root->size() + 1));
  }
  return std::nullopt;
}

}  // namespace usl::fs
