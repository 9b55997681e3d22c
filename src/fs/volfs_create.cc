// Making and removing names in the upper tree.
#include <fcntl.h>
#include <unistd.h>

#include "fs/volfs_inode.h"

namespace usl::fs {
namespace {

constexpr int kLargeFile = 0100000;  // O_LARGEFILE of the kernel; the C library says 0

uint32_t HostModeFor(uint32_t mode) {
  return S_ISDIR(mode) ? (mode & 01777) | 0700 : (mode & 0777) | 0600;
}

}  // namespace

Result<void> VolInode::CheckChangeable(std::string_view name) {
  if (!IsDirectory()) return Fail(ENOTDIR);
  if (!volfs_.upper()) return Fail(EROFS);
  // A removed directory takes nothing new.
  if (pinned_) return Fail(ENOENT);
  if (volfs_.IsReservedName(*this, name)) return Fail(EPERM);
  return {};
}

Result<bool> VolInode::LowerHas(std::string_view name) {
  if (!volfs_.IsLayered()) return false;
  std::span<const Ref<HostDirectory>> stack(directory_->stack);
  if (&stack.front()->layer() == volfs_.upper()) stack = stack.subspan(1);
  if (stack.empty()) return false;
  return USL_TRY(volfs_.Find(stack, name)).has_value();
}

bool VolInode::MayHoldWhiteouts() const {
  if (directory_->stack.size() > 1 || layer_ != volfs_.upper()) return true;
  return volfs_.IsLayered() && record_ && (record_->flags & AttributeRecord::kAnnotated);
}

Result<bool> VolInode::IsWhiteoutAt(const HostPlace& place) {
  if (!volfs_.IsLayered()) return false;
  auto entry = volfs_.upper()->ProbePlace(place);
  if (!entry) return entry.error().code() == ENOENT ? Result<bool>(false) : Fail(entry.error());
  return entry->IsWhiteout();
}

HostPlace VolInode::PlaceOf(const WantedOpen* opening, const HostPlace& place) {
  return opening && *opening->fd ? HostPlace{opening->fd->get(), ""} : place;
}

// Makes one host file for a guest file; `record` says what the host file cannot. ReplaceSymlink and copy-up use it too.
Result<void> VolInode::MakeHostFile(const HostPlace& place, const vfs::NewInode& spec, AttributeRecord& record,
                                    bool needs_record, const WantedOpen* opening, std::optional<struct statx>* status) {
  Layer& upper = *volfs_.upper();
  bool mapped = upper.owners() == Owners::kMapped;
  // The host's own directories get the very mode, without set-id bits.
  mode_t host_mode =
      mapped && !upper.UsesRecords() ? spec.mode & (S_ISDIR(spec.mode) ? 01777 : 0777) : HostModeFor(spec.mode);
  switch (spec.mode & S_IFMT) {
    case S_IFDIR:
      if (::mkdirat(place.fd, place.name, host_mode) < 0) return FailErrno();
      break;
    case S_IFREG:
      if (opening) {
        constexpr int kHow = O_CREAT | O_EXCL | O_NONBLOCK | O_CLOEXEC;
        opening->fd->Reset(::openat(place.fd, place.name, kHow | opening->flags, host_mode));
        if (!*opening->fd) return FailErrno();
      } else if (::mknodat(place.fd, place.name, S_IFREG | host_mode, 0) < 0) {
        return FailErrno();
      }
      break;
    case S_IFLNK:
      if (!needs_record) {
        if (::symlinkat(std::string(spec.symlink_target).c_str(), place.fd, place.name) < 0) return FailErrno();
        return {};
      }
      [[fallthrough]];
    default: {
      if (mapped && !upper.UsesRecords()) {
        // Host FIFOs and sockets are ordinary things of the host's directory; devices are not.
        if (!S_ISFIFO(spec.mode) && !S_ISSOCK(spec.mode)) return Fail(EPERM);
        if (::mknodat(place.fd, place.name, (spec.mode & S_IFMT) | (spec.mode & 0777), 0) < 0) return FailErrno();
        return {};
      }
      // Not by an open, which a watch would tell of.
      if (::mknodat(place.fd, place.name, S_IFREG | 0600, 0) < 0) return FailErrno();
      record.type = spec.mode & S_IFMT;
      if (S_ISCHR(spec.mode) || S_ISBLK(spec.mode)) record.rdev = spec.rdev;
      // A stand-in's host mode means nothing, so the record has the guest's.
      record.mode = spec.mode & 07777;
      if (S_ISLNK(spec.mode)) {
        UniqueFd fd = USL_TRY(OpenHost(place, O_WRONLY));
        std::string_view rest = spec.symlink_target;
        while (!rest.empty()) {
          ssize_t written = ::write(fd.get(), rest.data(), rest.size());
          if (written < 0) return FailErrno();
          rest.remove_prefix(static_cast<size_t>(written));
        }
      }
    }
  }
  if (record.IsDefault() && !upper.store().KeepsUserXattrs()) return {};
  struct statx made = USL_TRY(Stat(PlaceOf(opening, place)));
  upper.store().Created(KeyOf(made));
  if (status && record.IsDefault()) *status = made;  // saving a record may change the time
  return upper.store().Save(place, KeyOf(made), record);
}

// After a crash the name is there with its owner, or not at all: made complete under a private name first, as a rule.
Result<void> VolInode::MakeComplete(const HostPlace& place, std::string_view name, const vfs::NewInode& spec,
                                    AttributeRecord& record, bool over_whiteout) {
  const bool is_directory = S_ISDIR(spec.mode);
  const bool watched = watched_ && !over_whiteout;
  if (watched && is_directory) {
    auto made = MakeDirectoryInPlace(place, name, spec, record);
    if (made || made.error().code() != EFBIG) return made;
  }
  Ref<OpenDirectory> work = USL_TRY(volfs_.Work());
  const std::string temporary = volfs_.TemporaryName();
  const HostPlace made{work->fd(), temporary.c_str()};
  // A symlink of root's over a whiteout stays one on the host.
  const bool needs_record = !S_ISLNK(spec.mode) || !record.IsDefault();
  auto done = MakeHostFile(made, spec, record, needs_record);
  if (done && watched && !is_directory) {
    // A link appears as a new name, where a rename would appear as one that was moved here.
    if (::linkat(made.fd, made.name, place.fd, place.name, 0) < 0) done = FailErrno();
    ::unlinkat(made.fd, made.name, 0);
    return done;
  }
  if (done) done = Publish(temporary, name, is_directory);
  if (!done) ::unlinkat(work->fd(), temporary.c_str(), is_directory ? AT_REMOVEDIR : 0);
  return done;
}

Result<Ref<vfs::Inode>> VolInode::Create(std::string_view name, const vfs::NewInode& spec) {
  return CreateChecked(name, spec, nullptr);
}

Result<Ref<vfs::Inode>> VolInode::CreateOpened(std::string_view name, const vfs::NewInode& spec, int flags,
                                               UniqueFd* fd) {
  // Of what an open may say only that which any host file system takes.
  constexpr int kPlain = O_ACCMODE | O_APPEND | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | kLargeFile;
  const bool is_plain = (flags & ~kPlain) == 0 && (flags & O_ACCMODE) != O_ACCMODE;
  // DrvFs and the host view make files in ways of their own.
  if (!is_plain || volfs_.options_.live || !S_ISREG(spec.mode)) return Create(name, spec);
  // O_NOFOLLOW is a mark of Vfs's that stays with the descriptor (a name that must be new is not followed anyway).
  const WantedOpen opening{flags & (O_ACCMODE | O_APPEND | O_NOFOLLOW), fd};
  auto made = CreateChecked(name, spec, &opening);
  if (!made || !*fd) return made;
  auto& inode = static_cast<VolInode&>(**made);
  if ((flags & O_ACCMODE) != O_RDONLY) volfs_.MayGrow(inode);
  if (!(flags & O_NONBLOCK)) USL_TRY_VOID(MakeBlocking(fd->get(), flags));
  return made;
}

Result<Ref<vfs::Inode>> VolInode::CreateChecked(std::string_view name, const vfs::NewInode& spec,
                                                const WantedOpen* opening) {
  const Announcement announcement(*this);
  USL_TRY_VOID(CheckChangeable(name));
  uint32_t type = spec.mode & S_IFMT;
  bool layered = volfs_.IsLayered();
  if (layered && type == S_IFCHR && spec.rdev == 0) return Fail(EPERM);
  // 0:0 would be a whiteout (as on overlayfs). The lower layers are asked here too: another thread may have been first.
  bool is_merged = MayHoldWhiteouts();
  if (is_merged && USL_TRY(volfs_.Find(directory_->stack, name))) return Fail(EEXIST);
  USL_TRY_VOID(volfs_.TakeName(type == S_IFREG));
  auto made = CreateInUpper(name, spec, is_merged, opening);
  if (!made) volfs_.GiveName(nullptr);
  return made;
}

Result<Ref<vfs::Inode>> VolInode::CreateInUpper(std::string_view name, const vfs::NewInode& spec, bool is_merged,
                                                const WantedOpen* opening) {
  uint32_t type = spec.mode & S_IFMT;
  Ref<OpenDirectory> open = USL_TRY(OpenUpper());
  ComponentName component(name);
  if (!component.IsValid()) return Fail(ENAMETOOLONG);
  HostPlace place{open->fd(), component.c_str()};

  Layer& upper = *volfs_.upper();
  AttributeRecord record;
  // The symlinks of a host directory stay symlinks for the host.
  if (upper.UsesRecords() && !(type == S_IFLNK && volfs_.options_.live)) {
    bool mapped = upper.owners() == Owners::kMapped;
    if (spec.uid != (mapped ? upper.options().mapped_uid : 0)) record.uid = spec.uid;
    if (spec.gid != (mapped ? upper.options().mapped_gid : 0)) record.gid = spec.gid;
    // A mapped file whose record names no mode shows what the mount makes of it.
    const bool mode_differs = mapped || HostModeFor(spec.mode) != (spec.mode & 07777);
    if (type != S_IFLNK && mode_differs) record.mode = spec.mode & 07777;
  }
  bool is_stand_in = upper.UsesRecords() && ((type == S_IFLNK && !record.IsDefault()) ||
                                             (type != S_IFLNK && type != S_IFREG && type != S_IFDIR));
  bool over_whiteout = is_merged && USL_TRY(IsWhiteoutAt(place));
  if (over_whiteout && type == S_IFDIR) record.flags |= AttributeRecord::kOpaque;
  if (is_stand_in) USL_TRY_VOID(Annotate());
  bool needs_record = is_stand_in || !record.IsDefault();
  std::optional<struct statx> status;
  if (!needs_record && !over_whiteout) {
    USL_TRY_VOID(MakeHostFile(place, spec, record, false, opening, &status));
  } else if (!upper.UsesRecords() || (volfs_.options_.live)) {
    // A directory of the host's own gets no private directory of ours: the name appears before its record.
    USL_TRY_VOID(MakeHostFile(place, spec, record, needs_record));
  } else {
    USL_TRY_VOID(MakeComplete(place, name, spec, record, over_whiteout));
  }
  if (type == S_IFDIR && volfs_.options_.name_case == NameCase::kDir) {
    // What Linux programs make they may fill with names that differ in case only, as on WSL.
    constexpr std::byte kSensitive{'1'};
    auto marked = SetHostXattr(place, kCaseMark, {&kSensitive, 1}, 0);
    if (!marked && marked.error().code() != EOPNOTSUPP) return Fail(marked.error());
  }
  const bool owned_link = type == S_IFLNK && KeepsLinkOwners() &&
                          (spec.uid != upper.options().mapped_uid || spec.gid != upper.options().mapped_gid);
  if (owned_link) {
    const struct statx made = USL_TRY(Stat(place));
    auto noted = PutLinkOwner({made.stx_ino, static_cast<uint32_t>(BirthOf(made)), spec.uid, spec.gid});
    if (!noted) {
      ::unlinkat(place.fd, place.name, 0);
      return Fail(noted.error());
    }
  }
  ListingChanged();
  FoundName found;
  found.layer = &upper;
  found.entry.status = status ? *status : USL_TRY(Stat(PlaceOf(opening, place)));
  if (needs_record) found.entry.record = std::make_unique<AttributeRecord>(record);
  if (type == S_IFDIR) {
    found.stack.push_back(
        MakeRef<HostDirectory>(Ref<HostDirectory>(UpperDirectory()), std::string(name), KeyOf(found.entry.status)));
  }
  return USL_TRY(volfs_.MakeInode(std::move(found), this, name));
}

Result<void> VolInode::Publish(const std::string& temporary, std::string_view name, bool is_directory) {
  Ref<OpenDirectory> work = USL_TRY(volfs_.Work());
  Ref<OpenDirectory> open = USL_TRY(volfs_.cache_.Get(*UpperDirectory()));
  ComponentName component(name);
  HostPlace from{work->fd(), temporary.c_str()}, to{open->fd(), component.c_str()};
  auto moved = RenameHost(from, to, RENAME_NOREPLACE);
  if (moved || moved.error().code() != EEXIST || !USL_TRY(IsWhiteoutAt(to))) return moved;
  if (!is_directory) return RenameHost(from, to, 0);
  return volfs_.ReplaceWhiteout(from, to);
}

Result<void> VolInode::Link(std::string_view name, vfs::Inode& target_inode) {
  USL_TRY_VOID(CheckChangeable(name));
  if (&target_inode.file_system() != &volfs_) return Fail(EXDEV);
  auto& target = static_cast<VolInode&>(target_inode);
  if (target.IsDirectory()) return Fail(EPERM);
  const Announcement here(*this), there(target);
  USL_TRY_VOID(volfs_.TakeName(false));
  auto linked = LinkInUpper(name, target);
  if (!linked) volfs_.GiveName(nullptr);
  return linked;
}

Result<void> VolInode::LinkInUpper(std::string_view name, VolInode& target) {
  Ref<OpenDirectory> open = USL_TRY(OpenUpper());
  USL_TRY_VOID(target.CopyUp());
  if (target.record_ && target.record_->type) USL_TRY_VOID(Annotate());
  if (target.record_ && target.record_->origin) USL_TRY_VOID(Annotate());
  ComponentName component(name);
  if (!component.IsValid()) return Fail(ENAMETOOLONG);
  HostPlace to{open->fd(), component.c_str()};
  bool is_merged = MayHoldWhiteouts();
  if (is_merged && USL_TRY(volfs_.Find(directory_->stack, name))) return Fail(EEXIST);
  bool over_whiteout = is_merged && USL_TRY(IsWhiteoutAt(to));
  Ref<OpenDirectory> work;
  std::string temporary;
  HostPlace destination = to;
  if (over_whiteout) {
    work = USL_TRY(volfs_.Work());
    temporary = volfs_.TemporaryName();
    destination = {work->fd(), temporary.c_str()};
  }
  Resolved from = USL_TRY(target.Resolve());
  // Before the name is there: after a crash a count that is too high only keeps the file, one too low would lose it.
  USL_TRY_VOID(target.CountLinks(+1));
  int done = from.place.IsFd() ? ::linkat(AT_FDCWD, FdPath(from.place.fd).c_str(), destination.fd, destination.name,
                                          AT_SYMLINK_FOLLOW)
                               : ::linkat(from.place.fd, from.place.name, destination.fd, destination.name, 0);
  Result<void> linked = done < 0 ? FailErrno() : Result<void>{};
  if (linked && over_whiteout) linked = Publish(temporary, name, false);
  if (!linked) {
    if (over_whiteout) ::unlinkat(destination.fd, destination.name, 0);
    USL_TRY_VOID(target.CountLinks(-1));
    return linked;
  }
  target.pinned_.Reset();
  target.AddPlace(*this, name);
  if (!target.registered_) target.Register();
  ListingChanged();
  return {};
}

// Before one of several names of a lower file goes: only the index's record can count those that are left. A file that
// the host user may not read stays where it is, and keeps the host's count.
Result<void> VolInode::CopyUpToCountLinks() {
  if (layer_ == volfs_.upper() || IsDirectory()) return {};
  Resolved at = USL_TRY(Resolve());
  struct statx status = USL_TRY(Stat(at.place));
  if (status.stx_nlink < 2) return {};
  auto done = CopyUp();
  return done || done.error().code() == EACCES ? Result<void>{} : done;
}

Result<void> VolInode::CountLinks(int difference) {
  if (!record_ || !record_->links) return {};
  // The index has lost it: the host's count is all there is.
  if (index_name_.empty()) return {};
  AttributeRecord record = *record_;
  record.links = static_cast<uint32_t>(static_cast<int>(record.links) + difference);
  // The last name is gone: only the index still holds the file.
  if (record.links == 0 && !index_name_.empty()) {
    Ref<OpenDirectory> index = USL_TRY(volfs_.Index(false));
    // Guests that have it open go on by an fd.
    UniqueFd keep = USL_TRY(OpenHost({index->fd(), index_name_.c_str()}, O_PATH | O_NOFOLLOW));
    ::unlinkat(index->fd(), index_name_.c_str(), 0);
    index_name_.clear();
    record_->links = 0;
    pinned_ = std::move(keep);
    return {};
  }
  return SaveRecord(std::move(record));
}

Result<void> VolInode::RemoveUpperName(std::string_view name, bool lower_has) {
  Ref<OpenDirectory> open = USL_TRY(OpenUpper());
  ComponentName component(name);
  HostPlace place{open->fd(), component.c_str()};
  if (!lower_has) {
    if (::unlinkat(place.fd, place.name, 0) < 0) return FailErrno();
    return {};
  }
  USL_TRY_VOID(Annotate());
  auto linked = volfs_.LinkWhiteout(place);
  if (linked || linked.error().code() != EEXIST) return linked;
  // The name is in the upper too: the whiteout takes its place in one step.
  Ref<OpenDirectory> work = USL_TRY(volfs_.Work());
  std::string temporary = volfs_.TemporaryName();
  HostPlace made{work->fd(), temporary.c_str()};
  USL_TRY_VOID(volfs_.LinkWhiteout(made));
  return RenameHost(made, place, 0);
}

Result<UniqueFd> VolInode::KeepSpecial() {
  if (IsRegular() || IsDirectory() || IsSymlink()) return UniqueFd();
  Resolved at = USL_TRY(Resolve());
  return OpenHost(at.place, O_PATH | O_NOFOLLOW);
}

Result<void> VolInode::Unlink(std::string_view name, vfs::Inode& victim_inode) {
  USL_TRY_VOID(CheckChangeable(name));
  auto& victim = static_cast<VolInode&>(victim_inode);
  if (victim.IsDirectory()) return Fail(EISDIR);
  const Announcement here(*this), there(victim);
  bool lower_has = USL_TRY(LowerHas(name));
  USL_TRY_VOID(victim.CopyUpToCountLinks());
  // The index's name of the file would go unnoticed: links are counted before the name goes.
  bool counted = victim.record_ && victim.record_->links;
  bool is_told = volfs_.upper()->store().WantsRemovals() && victim.layer_ == volfs_.upper();
  bool is_last = is_told && USL_TRY(victim.GetAttributes()).nlink <= 1;
  // A link of several names keeps its owner.
  const bool drops_owner =
      S_ISLNK(victim.host_mode_) && KeepsLinkOwners() && USL_TRY(victim.GetAttributes()).nlink <= 1;
  UniqueFd keep = USL_TRY(victim.KeepSpecial());
  USL_TRY_VOID(RemoveUpperName(name, lower_has));
  volfs_.GiveName(is_last ? &victim.key_ : nullptr);
  if (counted) USL_TRY_VOID(victim.CountLinks(-1));
  if (drops_owner) USL_TRY_VOID(DropLinkOwner(victim));
  ListingChanged(name);
  victim.DropPlace(*this, name);
  if (keep && !victim.HasPlace()) victim.pinned_ = std::move(keep);
  if (victim.HasPlace() && !victim.pinned_) return {};
  if (victim.layer_ != volfs_.upper()) return {};
  // Without a known name: either none is left, and the host may reuse the number, or others are, which a look-up finds.
  victim.Unregister();
  if (is_last) volfs_.upper()->store().Removed(victim.key_);
  return {};
}

Result<Ref<vfs::Inode>> VolInode::CreateUnnamed(const vfs::NewInode& spec, bool linkable) {
  USL_TRY_VOID(CheckChangeable(""));
  USL_TRY_VOID(volfs_.TakeName(true));
  volfs_.GiveName(nullptr);  // it has none yet
  Ref<OpenDirectory> open = USL_TRY(OpenUpper());
  mode_t host_mode = HostModeFor(spec.mode | S_IFREG);
  // The host remembers whether it may get a name, however the guest comes back to it.
  const int exclusive = linkable ? 0 : O_EXCL;
  UniqueFd fd(::openat(open->fd(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC | exclusive, host_mode));
  if (!fd) return FailErrno();
  FoundName found;
  found.layer = volfs_.upper();
  found.entry.status = USL_TRY(Stat({fd.get(), ""}));
  HostKey key = KeyOf(found.entry.status);
  Layer& upper = *volfs_.upper();
  upper.store().Created(key);
  if (upper.UsesRecords()) {
    bool mapped = upper.owners() == Owners::kMapped;
    AttributeRecord record;
    if (mapped || spec.uid) record.uid = spec.uid;
    if (mapped || spec.gid) record.gid = spec.gid;
    if (host_mode != (spec.mode & 07777)) record.mode = spec.mode & 07777;
    if (!record.IsDefault()) {
      USL_TRY_VOID(upper.store().Save({fd.get(), ""}, key, record));
      found.entry.record = std::make_unique<AttributeRecord>(std::move(record));
    }
  }
  auto inode = MakeRef<VolInode>(volfs_, std::move(found), nullptr, "");
  inode->pinned_ = std::move(fd);
  inode->Register();
  return inode;
}

}  // namespace usl::fs
