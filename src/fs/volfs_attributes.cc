// Changing attributes: what the host can store goes to the host file, the rest to its record, each change in one step.
#include <fcntl.h>
#include <unistd.h>

#include "fs/volfs_inode.h"

namespace usl::fs {
namespace {

// The host mode that stands for a guest mode: always usable by the host user, never set-id.
uint32_t HostModeFor(uint32_t type, uint32_t guest_mode) {
  return type == S_IFDIR ? (guest_mode & 01777) | 0700 : (guest_mode & 0777) | 0600;
}

}  // namespace

AttributeRecord VolInode::RecordFor(const Ownership& owner, uint32_t host_mode) const {
  AttributeRecord record = record_ ? *record_ : AttributeRecord{};
  auto put = [&](std::optional<uint32_t>& member, uint32_t value, bool is_default) {
    member = is_default ? std::nullopt : std::optional(value);
  };
  bool mapped = layer_->owners() == Owners::kMapped;
  put(record.uid, owner.uid, !mapped && owner.uid == 0);
  put(record.gid, owner.gid, !mapped && owner.gid == 0);
  put(record.mode, owner.mode, !mapped && !record.type && owner.mode == (host_mode & 07777));
  return record;
}

Result<void> VolInode::SaveRecord(AttributeRecord record) {
  if (!record_ && record.IsDefault()) return {};
  if (record_ && *record_ == record) return {};
  Resolved at = USL_TRY(Resolve());
  auto saved = layer_->store().Save(at.place, key_, record);
  uint32_t needed = IsDirectory() ? 0700 : 0600;
  if (!saved && saved.error().code() == EACCES && (host_mode_ & needed) != needed) {
    // Attributes need write permission, which an unpacked tree's file may lack.
    USL_TRY_VOID(ChangeHostMode(at.place, (host_mode_ | needed) & 01777));
    saved = layer_->store().Save(at.place, key_, record);
  }
  USL_TRY_VOID(saved);
  // An attribute of the host file changes its ctime; a record that is kept elsewhere does not.
  if (layer_->store().KeepsUserXattrs()) USL_TRY_VOID(ChangeHostMode(at.place, host_mode_ & 07777));
  record_ = record.IsDefault() ? nullptr : std::make_unique<AttributeRecord>(std::move(record));
  return {};
}

Result<void> VolInode::SetOwnership(const Ownership& wanted) {
  if (layer_->owners() == Owners::kMapped && !layer_->options().metadata) return SetMappedOwnership(wanted);
  // A host symlink has no attributes: one with an owner becomes a stand-in file.
  if (S_ISLNK(host_mode_)) {
    bool same = wanted.uid == owner_.uid && wanted.gid == owner_.gid;
    if (same) return {};
    if (!KeepsLinkOwners()) return ReplaceSymlink(wanted);
    if (!place_.parent || pinned_) return Fail(EPERM);
    USL_TRY_VOID(place_.parent->PutLinkOwner(LinkOwnerFor(wanted)));
    owner_.uid = wanted.uid;
    owner_.gid = wanted.gid;
    return {};
  }
  // Other special files of the host (in unpacked trees) stay as they are.
  if (!S_ISREG(host_mode_) && !S_ISDIR(host_mode_)) return Fail(EPERM);
  uint32_t host_mode = HostModeFor(type(), wanted.mode);
  bool is_stand_in = record_ && record_->type;
  if (is_stand_in) host_mode = host_mode_ & 0777;
  bool chmods = host_mode != (host_mode_ & 07777);
  AttributeRecord record = RecordFor(wanted, host_mode);
  bool owners_change = wanted.uid != owner_.uid || wanted.gid != owner_.gid;
  bool record_has_mode = record_ && record_->mode;
  // After a crash the guest's attributes are the old or the new ones. One that is stored in both places is changed in
  // the order that leaves no mixture: while the record names the mode, the host's bits do not count.
  if (chmods && (record.mode || (owners_change && !record_has_mode))) {
    AttributeRecord full = record;
    full.mode = wanted.mode;
    USL_TRY_VOID(SaveRecord(std::move(full)));
  }
  if (chmods || (record_ ? *record_ == record : record.IsDefault())) {
    // With nothing to change this still sets the ctime, as chmod(2) and chown(2) do.
    Resolved at = USL_TRY(Resolve());
    auto changed = ChangeHostMode(at.place, host_mode);
    // A file of another host user's keeps its mode there: the record alone says what the guest sees.
    const bool foreign = layer_->owners() == Owners::kMapped && !changed && changed.error().code() == EPERM;
    if (!foreign) {
      USL_TRY_VOID(changed);
      host_mode_ = (host_mode_ & S_IFMT) | host_mode;
    }
  }
  USL_TRY_VOID(SaveRecord(std::move(record)));
  owner_ = wanted;
  return {};
}

Result<void> VolInode::SetMappedOwnership(const Ownership& wanted) {
  if (!layer_->options().host_modes) return SetWritable(wanted);
  if (wanted.uid != owner_.uid || wanted.gid != owner_.gid) return Fail(EPERM);
  if (S_ISLNK(host_mode_)) return Fail(EOPNOTSUPP);
  // The host's own files: its bits as the guest asks, but never a set-id program of the host user.
  Resolved at = USL_TRY(Resolve());
  uint32_t mode = wanted.mode & 01777;
  USL_TRY_VOID(ChangeHostMode(at.place, mode));
  return Refresh(USL_TRY(Stat(at.place))), Result<void>{};
}

// Without metadata a file has one attribute of its own, as on a Windows drive: whether it may be written. Owners and
// the other bits belong to the mount, and changing them does nothing, successfully: programs that copy files try it
// always.
Result<void> VolInode::SetWritable(const Ownership& wanted) {
  if (S_ISLNK(host_mode_)) return {};
  const bool write = wanted.mode & 0222;
  if (write == ((owner_.mode & 0222) != 0)) return {};
  Resolved at = USL_TRY(Resolve());
  const uint32_t mode = host_mode_ & 01777;
  USL_TRY_VOID(ChangeHostMode(at.place, write ? mode | 0200 : mode & ~0222u));
  return Refresh(USL_TRY(Stat(at.place))), Result<void>{};
}

Result<void> VolInode::ReplaceSymlink(const Ownership& wanted) {
  // A directory of the host's own keeps its symlinks.
  if (!place_.parent || pinned_ || volfs_.options_.live) return Fail(EPERM);
  Resolved at = USL_TRY(Resolve());
  std::string target = USL_TRY(ReadHostLink(at.place));
  struct statx old = USL_TRY(Stat(at.place));
  Ref<OpenDirectory> work = USL_TRY(volfs_.Work());
  std::string temporary = volfs_.TemporaryName();
  HostPlace made{work->fd(), temporary.c_str()};
  vfs::NewInode spec;
  spec.mode = S_IFLNK | 0777;
  spec.uid = wanted.uid;
  spec.gid = wanted.gid;
  spec.symlink_target = target;
  AttributeRecord record;
  record.origin = number_;
  if (wanted.uid) record.uid = wanted.uid;
  if (wanted.gid) record.gid = wanted.gid;
  USL_TRY_VOID(place_.parent->MakeHostFile(made, spec, record, true));
  timespec times[2] = {TimeOf(old.stx_atime), TimeOf(old.stx_mtime)};
  USL_TRY_VOID(ChangeHostTimes(made, times));
  HostEntry entry = USL_TRY(layer_->ProbePlace(made));
  USL_TRY_VOID(place_.parent->Annotate());
  if (::renameat(work->fd(), temporary.c_str(), at.place.fd, at.place.name) < 0) {
    Error error = Error::FromErrno();
    ::unlinkat(work->fd(), temporary.c_str(), 0);
    return Fail(error);
  }
  // Its other names are links of the symlink that was: they become links of the stand-in, one by one.
  Result<void> others;
  if (other_places_) {
    for (const Place& other : *other_places_) {
      if (others) others = LinkStandIn(at.place, other);
    }
  }
  Unregister();
  TakeEntry(entry);
  Register();
  return others;
}

Result<void> VolInode::LinkStandIn(const HostPlace& stand_in, const Place& other) {
  HostDirectory* directory = other.parent->In(*layer_);
  if (!directory) return Fail(ESTALE);
  USL_TRY_VOID(other.parent->Annotate());
  Ref<OpenDirectory> work = USL_TRY(volfs_.Work()), open = USL_TRY(volfs_.cache_.Get(*directory));
  const std::string temporary = volfs_.TemporaryName();
  if (::linkat(stand_in.fd, stand_in.name, work->fd(), temporary.c_str(), 0) < 0) return FailErrno();
  if (::renameat(work->fd(), temporary.c_str(), open->fd(), other.name.c_str()) == 0) return {};
  const Error error = Error::FromErrno();
  ::unlinkat(work->fd(), temporary.c_str(), 0);
  return Fail(error);
}

Result<void> VolInode::Truncate(uint64_t size) {
  if (!IsRegular()) return Fail(IsDirectory() ? EISDIR : EINVAL);
  if (size > static_cast<uint64_t>(INT64_MAX)) return Fail(EINVAL);
  USL_TRY_VOID(CopyUp(size != 0));
  UniqueFd fd = USL_TRY(OpenFlags(O_WRONLY | O_NONBLOCK));
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) < 0) return FailErrno();
  return {};
}

Result<void> VolInode::SetAttributes(const vfs::AttributeChange& change) {
  const Announcement announcement(*this, IsDirectory() && (change.mode || change.uid || change.gid));
  if (change.size) USL_TRY_VOID(Truncate(*change.size));
  USL_TRY_VOID(CopyUp());
  if (change.mode || change.uid || change.gid) {
    if (volfs_.options_.live) USL_TRY_VOID(GetAttributes());  // they may be old
    Ownership wanted = owner_;
    if (change.mode) wanted.mode = *change.mode & 07777;
    if (change.uid) wanted.uid = *change.uid;
    if (change.gid) wanted.gid = *change.gid;
    USL_TRY_VOID(SetOwnership(wanted));
  }
  if (change.atime || change.mtime) {
    constexpr timespec kOmit{0, UTIME_OMIT};
    timespec times[2] = {change.atime.value_or(kOmit), change.mtime.value_or(kOmit)};
    Resolved at = USL_TRY(Resolve());
    USL_TRY_VOID(ChangeHostTimes(at.place, times));
  }
  return {};
}

// Says in the directory's record that some members are not what their host files look like.
Result<void> VolInode::Annotate() {
  if (!layer_->UsesRecords() || (record_ && (record_->flags & AttributeRecord::kAnnotated))) return {};
  AttributeRecord record = record_ ? *record_ : AttributeRecord{};
  record.flags |= AttributeRecord::kAnnotated;
  return SaveRecord(std::move(record));
}

}  // namespace usl::fs
