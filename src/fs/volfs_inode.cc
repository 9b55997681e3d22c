#include "fs/volfs_inode.h"

#include <unistd.h>

#include <algorithm>

namespace usl::fs {
namespace {

// open(2) flags that are passed to the host; the others are Vfs's business or this file's.
constexpr int kHostFlags =
    O_ACCMODE | O_APPEND | O_DIRECT | O_DIRECTORY | O_DSYNC | O_SYNC | O_NOATIME | O_NOFOLLOW | O_TRUNC | O_ASYNC;
constexpr uint64_t kShownStatxAttributes = STATX_ATTR_COMPRESSED | STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND |
                                           STATX_ATTR_NODUMP | STATX_ATTR_ENCRYPTED | STATX_ATTR_VERITY;

}  // namespace

VolInode::VolInode(VolFs& file_system, FoundName found, VolInode* parent, std::string_view name)
    : Inode(file_system, found.entry.type()),
      volfs_(file_system),
      layer_(found.layer),
      place_{Ref<VolInode>(parent), std::string(name)} {
  TakeEntry(found.entry);
  number_ = record_ && record_->origin ? record_->origin : volfs_.Number(key_);
  if (IsDirectory()) {
    directory_ = std::make_unique<DirectoryState>();
    directory_->stack = std::move(found.stack);
    directory_->serial = volfs_.next_serial_++;
  }
}

VolInode::~VolInode() {
  // Who is not registered may outlive its file system: nothing of that is touched then.
  if (registered_ && directory_) volfs_.DropList(directory_->serial);
  Unregister();
  // Not by recursion: a guest makes chains of directories as deep as it likes.
  Ref<VolInode> next = std::move(place_.parent);
  while (next && next->HasOneRef()) next = std::move(next->place_.parent);
}

void VolInode::TakeEntry(HostEntry& entry) {
  key_ = KeyOf(entry.status);
  birth_ = BirthOf(entry.status);
  host_mode_ = entry.status.stx_mode;
  seen_ctime_ = TimeOf(entry.status.stx_ctime);
  record_ = std::move(entry.record);
  owner_ = layer_->OwnershipOf(entry.status, record_.get());
  ApplyLinkOwner();
}

void VolInode::Refresh(const struct statx& status) {
  host_mode_ = status.stx_mode;
  owner_ = layer_->OwnershipOf(status, record_.get());
  ApplyLinkOwner();
}

Result<void> VolInode::RefreshAll(const HostPlace& place, const struct statx& status) {
  const timespec ctime = TimeOf(status.stx_ctime);
  const bool same = ctime.tv_sec == seen_ctime_.tv_sec && ctime.tv_nsec == seen_ctime_.tv_nsec;
  if (layer_->UsesRecords() && !same && (S_ISREG(status.stx_mode) || S_ISDIR(status.stx_mode))) {
    // Another instance may have changed it.
    record_ = USL_TRY(layer_->store().Load(place, key_));
    seen_ctime_ = ctime;
    // The type of an inode never changes: what was a device is another file by now.
    if ((record_ && record_->type ? record_->type : status.stx_mode & S_IFMT) != type()) return Fail(ESTALE);
  }
  Refresh(status);
  return {};
}

void VolInode::Register() {
  volfs_.inodes_[key_] = this;
  if (lower_key_.device) volfs_.inodes_[lower_key_] = this;
  registered_ = true;
}

void VolInode::Unregister() {
  if (!registered_) return;
  registered_ = false;
  for (const HostKey& key : {key_, lower_key_}) {
    auto found = volfs_.inodes_.find(key);
    if (found != volfs_.inodes_.end() && found->second == this) volfs_.inodes_.erase(found);
  }
}

void VolInode::AddPlace(VolInode& parent, std::string_view name) {
  if (place_.Is(parent, name)) return;
  if (!place_.parent || volfs_.options_.live) {
    place_ = {Ref<VolInode>(&parent), std::string(name)};
    return;
  }
  // A set, as there may be tens of thousands.
  if (!other_places_) other_places_ = std::make_unique<std::unordered_set<Place, PlaceHash>>();
  other_places_->insert({Ref<VolInode>(&parent), std::string(name)});
}

void VolInode::DropPlace(const VolInode& parent, std::string_view name) {
  if (!place_.Is(parent, name)) {
    if (!other_places_) return;
    other_places_->erase({Ref<VolInode>(const_cast<VolInode*>(&parent)), std::string(name)});
  } else if (!other_places_) {
    place_ = {};
  } else {
    place_ = std::move(other_places_->extract(other_places_->begin()).value());
  }
  if (other_places_ && other_places_->empty()) other_places_ = nullptr;
}

Result<void> VolInode::Pin(int fd) {
  pinned_ = USL_TRY(OpenHost({fd, ""}, O_PATH));
  return {};
}

HostDirectory* VolInode::In(const Layer& layer) const {
  for (const auto& directory : directory_->stack) {
    if (&directory->layer() == &layer) return directory.get();
  }
  return nullptr;
}

Result<VolInode::Resolved> VolInode::Resolve() {
  if (pinned_) return Resolved{nullptr, {pinned_.get(), ""}};
  if (!index_name_.empty()) {
    Ref<OpenDirectory> index = USL_TRY(volfs_.Index(false));
    if (!index) return Fail(ESTALE);
    return Resolved{index, {index->fd(), index_name_.c_str()}};
  }
  if (directory_) {
    HostDirectory& own = *directory_->stack.front();
    if (Ref<OpenDirectory> open = volfs_.cache_.Peek(own)) return Resolved{open, {open->fd(), ""}};
    Ref<OpenDirectory> parent = USL_TRY(volfs_.cache_.Get(*own.parent()));
    return Resolved{parent, {parent->fd(), own.name().c_str()}};
  }
  if (!place_.parent) return Fail(ENOENT);
  HostDirectory* directory = place_.parent->In(*layer_);
  if (!directory) return Fail(ESTALE);
  Ref<OpenDirectory> open = USL_TRY(volfs_.cache_.Get(*directory));
  return Resolved{open, {open->fd(), place_.name.c_str()}};
}

Result<Ref<OpenDirectory>> VolInode::OpenUpper() {
  USL_TRY_VOID(CopyUp());
  return volfs_.cache_.Get(*UpperDirectory());
}

bool VolInode::IsMergeable() const {
  return directory_->stack.size() > 1 || (volfs_.has_upper_ && layer_ != volfs_.upper());
}

Result<vfs::Attributes> VolInode::GetPermissions() {
  if (volfs_.options_.live) return GetAttributes();
  vfs::Attributes attributes;
  attributes.ino = number_;
  attributes.mode = type() | owner_.mode;
  attributes.uid = owner_.uid;
  attributes.gid = owner_.gid;
  return attributes;
}

Result<vfs::Attributes> VolInode::GetAttributes() {
  Resolved at = USL_TRY(Resolve());
  struct statx status = USL_TRY(Stat(at.place));
  if (KeyOf(status) != key_ || ((status.stx_mode ^ host_mode_) & S_IFMT)) return Fail(ESTALE);
  if (volfs_.options_.live) USL_TRY_VOID(RefreshAll(at.place, status));
  return AttributesFrom(status);
}

Result<vfs::Attributes> VolInode::GetAttributesOf(int fd) {
  if (!volfs_.options_.live) {
    auto status = Stat({fd, ""});
    if (status && KeyOf(*status) == key_ && !((status->stx_mode ^ host_mode_) & S_IFMT)) return AttributesFrom(*status);
  }
  return GetAttributes();
}

Result<vfs::Attributes> VolInode::GetAttributesFrom(const struct stat& host) {
  if (volfs_.options_.live || KeyOf(host) != key_ || ((host.st_mode ^ host_mode_) & S_IFMT)) return GetAttributes();
  const auto time_of = [](const timespec& time) {
    return statx_timestamp{time.tv_sec, static_cast<uint32_t>(time.tv_nsec), {}};
  };
  struct statx status {};
  status.stx_mask = STATX_BASIC_STATS;
  status.stx_nlink = static_cast<uint32_t>(host.st_nlink);
  status.stx_mode = static_cast<uint16_t>(host.st_mode);
  status.stx_size = static_cast<uint64_t>(host.st_size);
  status.stx_blocks = static_cast<uint64_t>(host.st_blocks);
  status.stx_blksize = static_cast<uint32_t>(host.st_blksize);
  status.stx_rdev_major = major(host.st_rdev);
  status.stx_rdev_minor = minor(host.st_rdev);
  status.stx_atime = time_of(host.st_atim);
  status.stx_mtime = time_of(host.st_mtim);
  status.stx_ctime = time_of(host.st_ctim);
  return AttributesFrom(status);
}

vfs::Attributes VolInode::AttributesFrom(const struct statx& status) const {
  vfs::Attributes attributes;
  attributes.ino = number_;
  attributes.mode = type() | owner_.mode;
  attributes.uid = owner_.uid;
  attributes.gid = owner_.gid;
  attributes.nlink = status.stx_nlink;
  // As overlayfs: programs that count subdirectories by links take 1 for "unknown".
  if (directory_ && directory_->stack.size() > 1) attributes.nlink = 1;
  if (record_ && record_->links) attributes.nlink = record_->links;
  bool is_stand_in = (status.stx_mode & S_IFMT) != type();
  bool has_size = IsRegular() || IsDirectory() || IsSymlink();
  attributes.size = has_size ? status.stx_size : 0;
  attributes.blocks = has_size && !(IsSymlink() && is_stand_in) ? status.stx_blocks : 0;
  attributes.block_size = status.stx_blksize;
  if (type() == S_IFCHR || type() == S_IFBLK) {
    attributes.rdev = is_stand_in && record_ ? record_->rdev : makedev(status.stx_rdev_major, status.stx_rdev_minor);
  }
  attributes.atime = TimeOf(status.stx_atime);
  attributes.mtime = TimeOf(status.stx_mtime);
  attributes.ctime = TimeOf(status.stx_ctime);
  attributes.has_btime = status.stx_mask & STATX_BTIME;
  if (attributes.has_btime) attributes.btime = TimeOf(status.stx_btime);
  attributes.statx_attributes = status.stx_attributes & kShownStatxAttributes;
  attributes.statx_attributes_mask = status.stx_attributes_mask & kShownStatxAttributes;
  return attributes;
}

Result<std::string> VolInode::ReadLink(const vfs::Context&) {
  if (!IsSymlink()) return Fail(EINVAL);
  if (target_) return *target_;
  Resolved at = USL_TRY(Resolve());
  std::string text = USL_TRY(S_ISLNK(host_mode_) ? ReadHostLink(at.place) : ReadSmallFile(at.place, 4096));
  // A symlink's text never changes; the host may put another one in its place where the tree is shared with it.
  if (!volfs_.options_.live) target_ = std::make_unique<const std::string>(text);
  return text;
}

Result<void> VolInode::CheckOpened(int fd) const {
  struct stat status;
  if (::fstat(fd, &status) < 0) return FailErrno();
  if (KeyOf(status) != key_ || (status.st_mode & S_IFMT) != (host_mode_ & S_IFMT)) return Fail(ESTALE);
  return {};
}

// The host refuses what the guest's root may do where an unpacked tree has modes without u+rw: give the file the mode
// that VolFs keeps (the guest's goes to the record) and try again.
Result<UniqueFd> VolInode::OpenNormalising(const HostPlace& place, int flags) {
  auto fd = OpenHost(place, flags);
  if (fd) return fd;
  int code = fd.error().code();
  if (code == EPERM && (flags & O_NOATIME)) return OpenHost(place, flags & ~O_NOATIME);
  uint32_t needed = IsDirectory() ? 0700 : 0600;
  if (code != EACCES || layer_ != volfs_.upper() || (host_mode_ & needed) == needed) return fd;
  if (layer_->owners() == Owners::kRecord) {
    USL_TRY_VOID(SetOwnership(owner_));
    return OpenHost(place, flags);
  }
  // DrvFs: the file's mode is the host's to see, so it gets it back at once.
  struct statx status = USL_TRY(Stat(place));
  if (KeyOf(status) != key_ || status.stx_uid != ::geteuid()) return fd;
  USL_TRY_VOID(ChangeHostMode(place, (status.stx_mode & 07777) | needed));
  fd = OpenHost(place, flags);
  USL_TRY_VOID(ChangeHostMode(place, status.stx_mode & 07777));
  return fd;
}

Result<void> VolInode::MakeBlocking(int fd, int flags) {
  int settable = flags & (O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME);
  int set = ::fcntl(fd, F_SETFL, settable);
  // Of a host file that is not the host user's: the guest may ask for it, the host does not let us (OpenNormalising).
  if (set < 0 && errno == EPERM && (settable & O_NOATIME)) set = ::fcntl(fd, F_SETFL, settable & ~O_NOATIME);
  return set < 0 ? FailErrno() : Result<void>{};
}

Result<UniqueFd> VolInode::OpenFlags(int flags) {
  // What stands behind a directory that is shown empty (the user's home) is not to be given away, nor may it be
  // readable: the guest gets the upper tree's directory.
  if (directory_ && directory_->stack.front()->shown_empty && volfs_.upper() && !pinned_) USL_TRY_VOID(CopyUp());
  if (flags & O_PATH) {
    Resolved at = USL_TRY(Resolve());
    int path_flags = O_PATH | (flags & (O_DIRECTORY | O_NOFOLLOW)) | (IsSymlink() ? O_NOFOLLOW : 0);
    UniqueFd fd = USL_TRY(OpenHost(at.place, path_flags));
    USL_TRY_VOID(CheckOpened(fd.get()));
    return fd;
  }
  if (IsSymlink()) return Fail(ELOOP);
  // Their host objects are the guest's business through Vfs: FIFOs and devices are never opened here.
  if (!IsRegular() && !IsDirectory()) return Fail(ENXIO);
  bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
  if (writes && IsDirectory()) return Fail(EISDIR);
  may_be_open_ = true;
  if (IsRegular()) NoteReading();
  std::optional<Announcement> announcement;
  if (writes) {
    may_be_written_ = true;
    announcement.emplace(*this);
    USL_TRY_VOID(CopyUp(!(flags & O_TRUNC)));
    // A file without a name goes with its descriptors: nobody would tell that it is gone.
    if (!pinned_) volfs_.MayGrow(*this);
  }
  Resolved at = USL_TRY(Resolve());
  // O_NONBLOCK: a lease of another process must not stall the kernel.
  UniqueFd fd = USL_TRY(OpenNormalising(at.place, (flags & kHostFlags) | O_NONBLOCK));
  USL_TRY_VOID(CheckOpened(fd.get()));
  // Again: a copy-up lets others in, an exec among them that found nobody writing.
  if (writes) may_be_written_ = true;
  if (directory_ && IsMergeable()) volfs_.LearnCursorBits(key_.device, fd.get());
  if (!(flags & O_NONBLOCK)) USL_TRY_VOID(MakeBlocking(fd.get(), flags));
  return fd;
}

bool VolInode::IsOpen(int kind) {
  auto at = Resolve();
  if (!at) return true;
  // Taking a read lease fails exactly when somebody has the file open for writing, a write lease when somebody has it
  // open at all.
  auto fd = OpenHost(at->place, O_RDONLY | O_NONBLOCK);
  if (!fd || ::fcntl(fd->get(), F_SETLEASE, kind) < 0) return true;
  ::fcntl(fd->get(), F_SETLEASE, F_UNLCK);
  return false;
}

// Names and owners are this file system's alone, but guests read and write the host files.
bool VolInode::IsSteady(const vfs::Attributes& attributes) {
  if (volfs_.options_.live || layer_->owners() != Owners::kRecord || pinned_) return false;
  const bool rests = layer_->AccessTimeRests(attributes.atime, attributes.mtime, attributes.ctime);
  if (IsSymlink()) return rests;
  reading_changes_it_ = !rests;
  if (!IsRegular()) return true;
  if (may_be_open_) may_be_open_ = IsOpen(F_WRLCK);
  return !may_be_open_ || (rests && !IsOpen(F_RDLCK));
}

void VolInode::NoteReading() {
  if (!std::exchange(reading_changes_it_, false)) return;
  Changed();
}

Result<UniqueFd> VolInode::Open(int flags, const vfs::Context&) {
  return OpenFlags(flags);
}

}  // namespace usl::fs
