#include "fs/tree_writer.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fs/host_remove.h"
#include "fs/sidecar_store.h"

namespace usl::fs {
namespace {

constexpr std::string_view kPrivate = ".usl";
constexpr int kMaxLinks = 40;  // as path_resolution(7)

uint32_t HostModeFor(uint32_t mode) {
  return S_ISDIR(mode) ? (mode & 01777) | 0700 : (mode & 0777) | 0600;
}

// As src/fs/volfs_xattr.cc has it: the host's user.usl is the record.
std::string HostName(const std::string& name) {
  const std::string_view own = XattrStore::kName;
  const bool is_escaped = name.starts_with(own) && name.find_first_not_of('_', own.size()) == name.npos;
  return is_escaped ? name + '_' : name;
}

bool IsKept(const std::string& name) {
  if (name.size() > XATTR_NAME_MAX) return false;
  for (const std::string_view space : {"user.", "security.", "trusted."}) {
    if (name.starts_with(space)) return name.size() > space.size();
  }
  return name == "system.posix_acl_access" || name == "system.posix_acl_default";
}

Result<void> WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailErrno();
    text.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

constexpr uint64_t kMaxDirectoryNames = 256 << 20;  // bytes of paths whose times are kept to the end

}  // namespace

Result<TreeWriter> TreeWriter::Open(const std::string& directory) {
  // All modes given to host calls are meant literally.
  ::umask(0);
  TreeWriter writer;
  UniqueFd root(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!root) return FailErrno();
  const auto probe = XattrStore::Probe(root.get());
  if (probe) {
    writer.store_ = USL_TRY(XattrStore::Open(root.get(), RecordLog::Access::kWrite));
  } else if (probe.error().code() == EOPNOTSUPP && SidecarStore::HasLastingNumbers(root.get())) {
    writer.store_ = USL_TRY(SidecarStore::Open(root.get(), RecordLog::Access::kWrite));
  } else {
    return Fail(probe.error());
  }
  if (::fchmod(root.get(), 0755) < 0) return FailErrno();
  writer.levels_.push_back({"", std::move(root)});
  return writer;
}

Result<TreeWriter::Components> TreeWriter::Split(std::string_view path) {
  Components components;
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (part.empty() || part == ".") continue;
    if (part == "..") return Fail(EINVAL);
    components.emplace_back(part);
  }
  return components;
}

std::string TreeWriter::PathOfTop() const {
  std::string path;
  for (const Level& level : levels_) path += level.name + "/";
  return path.substr(1);
}

Result<std::optional<std::string>> TreeWriter::ReadLink(const std::string& name) {
  const HostPlace place{top(), name.c_str()};
  const struct statx status = USL_TRY(Stat(place));
  if (S_ISLNK(status.stx_mode)) return USL_TRY(ReadHostLink(place));
  if (!S_ISREG(status.stx_mode)) return std::nullopt;
  const auto record = USL_TRY(store_->Load(place, KeyOf(status)));
  if (!record || record->type != S_IFLNK) return std::nullopt;
  return USL_TRY(ReadSmallFile(place, PATH_MAX));
}

Result<void> TreeWriter::Enter(const std::string& name, Missing missing) {
  if (levels_.size() == 1 && name == kPrivate) return Fail(EPERM);
  if (levels_.size() > kMaxDepth) return Fail(ENAMETOOLONG);
  const HostPlace place{top(), name.c_str()};
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  auto fd = OpenHost(place, kFlags);
  bool is_missing = !fd && fd.error().code() == ENOENT;
  if (!fd && fd.error().code() == ENOTDIR && missing == Missing::kMake) {
    is_missing = USL_TRY(IsWhiteout(name, USL_TRY(Stat(place))));
  }
  if (is_missing && missing == Missing::kMake) {
    USL_TRY_VOID(MakeDirectory(name, {.mode = S_IFDIR | 0755}));
    fd = OpenHost(place, kFlags);
  }
  if (!fd) return Fail(fd.error());
  levels_.push_back({name, std::move(*fd)});
  return {};
}

Result<void> TreeWriter::Descend(Components components, Missing missing, bool follow) {
  for (int links = 0;;) {
    size_t same = 0;
    while (same < components.size() && same + 1 < levels_.size() && levels_[same + 1].name == components[same]) ++same;
    levels_.resize(same + 1);
    auto entered = Result<void>();
    for (; same < components.size() && entered; ++same) entered = Enter(components[same], missing);
    if (entered) return {};
    const int code = entered.error().code();
    if (!follow || (code != ELOOP && code != ENOTDIR)) return entered;
    // `same` is one past the component that is no directory.
    const auto target = USL_TRY(ReadLink(components[same - 1]));
    if (!target) return Fail(ENOTDIR);
    if (++links > kMaxLinks) return Fail(ELOOP);
    // The path anew: ".." at the root stays there, as in the guest.
    Components next;
    if (!target->starts_with('/')) next.assign(components.begin(), components.begin() + static_cast<long>(same) - 1);
    for (size_t at = 0; at <= target->size();) {
      const size_t slash = std::min(target->find('/', at), target->size());
      const std::string part = target->substr(at, slash - at);
      at = slash + 1;
      if (part.empty() || part == ".") continue;
      if (part != "..") {
        next.push_back(part);
      } else if (!next.empty()) {
        next.pop_back();
      }
    }
    next.insert(next.end(), components.begin() + static_cast<long>(same), components.end());
    components = std::move(next);
  }
}

Result<std::string> TreeWriter::DescendToParent(std::string_view path, Missing missing) {
  Components components = USL_TRY(Split(path));
  if (components.empty()) return Fail(EINVAL);
  std::string name = std::move(components.back());
  components.pop_back();
  USL_TRY_VOID(Descend(std::move(components), missing));
  if (levels_.size() == 1 && name == kPrivate) return Fail(EPERM);
  if (name.size() > NAME_MAX) return Fail(ENAMETOOLONG);
  return name;
}

TreeWriter::Times TreeWriter::TimesOf(const NewFile& file) {
  constexpr timespec kOmit{0, UTIME_OMIT};
  return {file.atime.value_or(kOmit), file.mtime.value_or(kOmit)};
}

Result<void> TreeWriter::Clear(const std::string& name) {
  const struct statx status = USL_TRY(Stat({top(), name.c_str()}));
  if (S_ISDIR(status.stx_mode)) {
    const std::string path = PathOfTop() + name;
    // With what is below it.
    directory_times_.erase(path);
    directory_times_.erase(directory_times_.lower_bound(path + "/"), directory_times_.lower_bound(path + "0"));
    return RemoveHostTree(top(), name.c_str());
  }
  if (::unlinkat(top(), name.c_str(), 0) < 0) return FailErrno();
  if (status.stx_nlink <= 1) store_->Removed(KeyOf(status));
  return {};
}

Result<void> TreeWriter::SaveRecord(int fd, AttributeRecord record, const NewFile& file, uint32_t host_mode,
                                    bool is_new) {
  const bool has_user_xattrs = S_ISREG(file.mode) || S_ISDIR(file.mode);
  if (file.uid) record.uid = file.uid;
  if (file.gid) record.gid = file.gid;
  if (record.type || (file.mode & 07777) != host_mode) record.mode = file.mode & 07777;
  for (const auto& [name, value] : file.xattrs) {
    if (!IsKept(name)) continue;
    if (!name.starts_with("user.")) {
      record.PutXattr(name, value);
    } else if (has_user_xattrs && store_->KeepsUserXattrs()) {
      record.PutXattr(name, value);
    } else if (has_user_xattrs) {
      USL_TRY_VOID(SetHostXattr({fd, ""}, HostName(name).c_str(), value, 0));
    }
  }
  if (record.IsDefault() && is_new) return {};
  struct stat status;
  if (::fstat(fd, &status) < 0) return FailErrno();
  return store_->Save({fd, ""}, KeyOf(status), record);
}

Result<void> TreeWriter::AddFlag(int fd, uint32_t flag) {
  struct stat status;
  if (::fstat(fd, &status) < 0) return FailErrno();
  const auto loaded = USL_TRY(store_->Load({fd, ""}, KeyOf(status)));
  AttributeRecord record = loaded ? *loaded : AttributeRecord{};
  record.flags |= flag;
  return store_->Save({fd, ""}, KeyOf(status), record);
}

Result<void> TreeWriter::Annotate() {
  Level& level = levels_.back();
  if (level.annotated) return {};
  USL_TRY_VOID(AddFlag(level.fd.get(), AttributeRecord::kAnnotated));
  level.annotated = true;
  return {};
}

Result<bool> TreeWriter::IsWhiteout(const std::string& name, const struct statx& status) {
  if (!S_ISREG(status.stx_mode)) return false;
  const auto record = USL_TRY(store_->Load({top(), name.c_str()}, KeyOf(status)));
  return record && record->type == S_IFCHR && record->rdev == 0;
}

Result<void> TreeWriter::MakeDirectory(const std::string& name, const NewFile& file) {
  const uint32_t host_mode = HostModeFor(file.mode);
  bool is_new = ::mkdirat(top(), name.c_str(), host_mode) == 0, replaces_whiteout = false;
  if (!is_new && errno == EEXIST) {
    const struct statx status = USL_TRY(Stat({top(), name.c_str()}));
    if (!S_ISDIR(status.stx_mode)) {
      replaces_whiteout = USL_TRY(IsWhiteout(name, status));
      USL_TRY_VOID(Clear(name));
      is_new = ::mkdirat(top(), name.c_str(), host_mode) == 0;
      if (!is_new) return FailErrno();
    }
  } else if (!is_new) {
    return FailErrno();
  }
  const UniqueFd fd = USL_TRY(OpenHost({top(), name.c_str()}, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  struct stat status;
  if (::fstat(fd.get(), &status) < 0) return FailErrno();
  AttributeRecord record;
  if (is_new) {
    store_->Created(KeyOf(status));
  } else {
    const auto loaded = USL_TRY(store_->Load({fd.get(), ""}, KeyOf(status)));
    if (loaded) record.flags = loaded->flags;
    if (::fchmod(fd.get(), host_mode) < 0) return FailErrno();
  }
  // What was hidden below the name stays hidden.
  if (replaces_whiteout) record.flags |= AttributeRecord::kOpaque;
  // A set-group-id bit comes with the parent's on some file systems.
  if (is_new && (status.st_mode & 07777) != host_mode && ::fchmod(fd.get(), host_mode) < 0) return FailErrno();
  return SaveRecord(fd.get(), std::move(record), file, host_mode, is_new);
}

Result<void> TreeWriter::MakeRegular(const std::string& name, const NewFile& file,
                                     const std::function<Result<void>(int fd)>& fill) {
  const uint32_t host_mode = HostModeFor(file.mode);
  const HostPlace place{top(), name.c_str()};
  auto fd = CreateHost(place, O_WRONLY | O_NOFOLLOW, host_mode);
  if (!fd && fd.error().code() == EEXIST) {
    USL_TRY_VOID(Clear(name));
    fd = CreateHost(place, O_WRONLY | O_NOFOLLOW, host_mode);
  }
  if (!fd) return Fail(fd.error());
  if (store_->WantsRemovals()) store_->Created(KeyOf(USL_TRY(Stat({fd->get(), ""}))));
  USL_TRY_VOID(SaveRecord(fd->get(), {}, file, host_mode, true));
  if (fill) USL_TRY_VOID(fill(fd->get()));
  const Times times = TimesOf(file);
  if (::futimens(fd->get(), times.data()) < 0) return FailErrno();
  return {};
}

Result<void> TreeWriter::MakeStandIn(const std::string& name, const NewFile& file, std::string_view content) {
  const HostPlace place{top(), name.c_str()};
  auto fd = CreateHost(place, O_WRONLY | O_NOFOLLOW, 0600);
  if (!fd && fd.error().code() == EEXIST) {
    USL_TRY_VOID(Clear(name));
    fd = CreateHost(place, O_WRONLY | O_NOFOLLOW, 0600);
  }
  if (!fd) return Fail(fd.error());
  if (store_->WantsRemovals()) store_->Created(KeyOf(USL_TRY(Stat({fd->get(), ""}))));
  USL_TRY_VOID(Annotate());
  USL_TRY_VOID(WriteAll(fd->get(), content));
  AttributeRecord record;
  record.type = file.mode & S_IFMT;
  if (S_ISCHR(file.mode) || S_ISBLK(file.mode)) record.rdev = file.rdev;
  USL_TRY_VOID(SaveRecord(fd->get(), std::move(record), file, 0, true));
  const Times times = TimesOf(file);
  if (::futimens(fd->get(), times.data()) < 0) return FailErrno();
  return {};
}

Result<void> TreeWriter::MakeSymlink(const std::string& name, const NewFile& file) {
  if (file.target.empty() || file.target.size() >= PATH_MAX) return Fail(EINVAL);
  bool needs_record = file.uid || file.gid;
  for (const auto& [attribute, value] : file.xattrs) {
    needs_record = needs_record || (IsKept(attribute) && !attribute.starts_with("user."));
  }
  if (needs_record) {
    NewFile link = file;
    link.mode = S_IFLNK | 0777;
    return MakeStandIn(name, link, file.target);
  }
  const std::string target(file.target);
  if (::symlinkat(target.c_str(), top(), name.c_str()) < 0) {
    if (errno != EEXIST) return FailErrno();
    USL_TRY_VOID(Clear(name));
    if (::symlinkat(target.c_str(), top(), name.c_str()) < 0) return FailErrno();
  }
  const Times times = TimesOf(file);
  if (::utimensat(top(), name.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) < 0) return FailErrno();
  return {};
}

// Kept to the end, as what is made in a directory changes its times.
Result<void> TreeWriter::NoteTimes(std::string path, const NewFile& file) {
  const auto [at, is_new] = directory_times_.insert_or_assign(std::move(path), TimesOf(file));
  if (is_new) directory_names_size_ += at->first.size();
  return directory_names_size_ > kMaxDirectoryNames ? Fail(E2BIG) : Result<void>{};
}

Result<void> TreeWriter::Add(const NewFile& file, const std::function<Result<void>(int fd)>& fill) {
  if (file.uid == static_cast<uid_t>(-1) || file.gid == static_cast<gid_t>(-1)) return Fail(EINVAL);
  if (S_ISDIR(file.mode) && USL_TRY(Split(file.path)).empty()) {
    levels_.resize(1);
    const uint32_t host_mode = HostModeFor(file.mode);
    struct stat status;
    if (::fchmod(top(), host_mode) < 0 || ::fstat(top(), &status) < 0) return FailErrno();
    const auto loaded = USL_TRY(store_->Load({top(), ""}, KeyOf(status)));
    AttributeRecord record;
    if (loaded) record.flags = loaded->flags;
    USL_TRY_VOID(SaveRecord(top(), std::move(record), file, host_mode, false));
    directory_times_[""] = TimesOf(file);
    return {};
  }
  const std::string name = USL_TRY(DescendToParent(file.path, Missing::kMake));
  switch (file.mode & S_IFMT) {
    case S_IFDIR: USL_TRY_VOID(MakeDirectory(name, file)); return NoteTimes(PathOfTop() + name, file);
    case S_IFREG: return MakeRegular(name, file, fill);
    case S_IFLNK: return MakeSymlink(name, file);
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK: return MakeStandIn(name, file, "");
    default: return Fail(EINVAL);
  }
}

Result<void> TreeWriter::Link(std::string_view path, std::string_view target) {
  const std::string old_name = USL_TRY(DescendToParent(target, Missing::kFail));
  const struct statx old_status = USL_TRY(Stat({top(), old_name.c_str()}));
  if (S_ISDIR(old_status.stx_mode)) return Fail(EISDIR);
  bool is_stand_in = false;
  if (S_ISREG(old_status.stx_mode)) {
    const auto record = USL_TRY(store_->Load({top(), old_name.c_str()}, KeyOf(old_status)));
    is_stand_in = record && record->type;
  }
  const UniqueFd old_parent(::fcntl(top(), F_DUPFD_CLOEXEC, 3));
  if (!old_parent) return FailErrno();
  const std::string name = USL_TRY(DescendToParent(path, Missing::kMake));
  if (is_stand_in) USL_TRY_VOID(Annotate());
  const auto link = [&] { return ::linkat(old_parent.get(), old_name.c_str(), top(), name.c_str(), 0) == 0; };
  if (link()) return {};
  if (errno != EEXIST) return FailErrno();
  const struct statx status = USL_TRY(Stat({top(), name.c_str()}));
  if (KeyOf(status) == KeyOf(old_status)) return {};
  USL_TRY_VOID(Clear(name));
  if (!link()) return FailErrno();
  return {};
}

Result<void> TreeWriter::AddWhiteout(std::string_view path) {
  const std::string name = USL_TRY(DescendToParent(path, Missing::kMake));
  // A layer that also makes the name (in either order) says that it replaces what is below.
  const auto there = Stat({top(), name.c_str()});
  if (there && !S_ISDIR(there->stx_mode)) return {};
  if (there) {
    const UniqueFd fd = USL_TRY(OpenHost({top(), name.c_str()}, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    return AddFlag(fd.get(), AttributeRecord::kOpaque);
  }
  return MakeStandIn(name, {.path = path, .mode = S_IFCHR | 0600}, "");
}

Result<void> TreeWriter::MakeOpaque(std::string_view directory) {
  Components components = USL_TRY(Split(directory));
  USL_TRY_VOID(Descend(std::move(components), Missing::kMake));
  return AddFlag(top(), AttributeRecord::kOpaque);
}

Result<void> TreeWriter::Finish() {
  for (const auto& [path, times] : directory_times_) {
    Components components = USL_TRY(Split(path));
    USL_TRY_VOID(Descend(std::move(components), Missing::kFail, false));
    if (::futimens(top(), times.data()) < 0) return FailErrno();
  }
  levels_.resize(1);
  if (::syncfs(top()) < 0) return FailErrno();
  return {};
}

}  // namespace usl::fs
