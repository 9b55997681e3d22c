// Renaming, and removing directories.
#include <fcntl.h>
#include <unistd.h>

#include "fs/volfs_inode.h"
#include "fs/volfs_list.h"

namespace usl::fs {
namespace {

constexpr size_t kMaxRedirect = 2048;

}  // namespace

Result<bool> VolInode::IsEmptyMerged() {
  auto list = USL_TRY(BuildList(nullptr));
  return list->entries.empty();
}

Result<void> VolInode::ClearWhiteouts(int directory) {
  std::vector<std::string> names;
  USL_TRY_VOID(ForEachEntry(directory, [&](const char* name, uint64_t, unsigned char) {
    names.emplace_back(name);
    return true;
  }));
  for (const std::string& name : names) {
    HostPlace place{directory, name.c_str()};
    // Only what nobody sees is removed: anything else means the tree was changed behind the kernel's back.
    if (!USL_TRY(IsWhiteoutAt(place))) return Fail(ENOTEMPTY);
    if (::unlinkat(directory, name.c_str(), 0) < 0) return FailErrno();
  }
  return {};
}

Result<void> VolInode::RemoveDirectory(std::string_view name, vfs::Inode& victim_inode) {
  USL_TRY_VOID(CheckChangeable(name));
  auto& victim = static_cast<VolInode&>(victim_inode);
  if (!victim.IsDirectory()) return Fail(ENOTDIR);
  const Announcement here(*this), there(victim);
  bool layered = volfs_.IsLayered();
  bool lower_has = USL_TRY(LowerHas(name));
  if (layered && !USL_TRY(victim.IsEmptyMerged())) return Fail(ENOTEMPTY);
  // Whoever is in the directory, or has it open, goes on by an fd.
  Resolved at = USL_TRY(victim.Resolve());
  UniqueFd keep = USL_TRY(OpenHost(at.place, O_PATH | O_DIRECTORY));

  Ref<OpenDirectory> open = USL_TRY(OpenUpper());
  ComponentName component(name);
  HostPlace place{open->fd(), component.c_str()};
  HostDirectory* upper_victim = victim.UpperDirectory();
  if (!upper_victim) {
    USL_TRY_VOID(Annotate());
    USL_TRY_VOID(volfs_.LinkWhiteout(place));
  } else if (!lower_has && !(layered && victim.record_ && (victim.record_->flags & AttributeRecord::kAnnotated))) {
    if (::unlinkat(place.fd, place.name, AT_REMOVEDIR) < 0) return FailErrno();
  } else {
    // It may hold whiteouts: moved away whole in one step, then cleaned up.
    Ref<OpenDirectory> work = USL_TRY(volfs_.Work());
    std::string temporary = volfs_.TemporaryName();
    HostPlace moved{work->fd(), temporary.c_str()};
    if (lower_has) {
      USL_TRY_VOID(Annotate());
      USL_TRY_VOID(volfs_.LinkWhiteout(moved));
      if (auto exchanged = RenameHost(moved, place, RENAME_EXCHANGE); !exchanged) {
        if (exchanged.error().code() != EINVAL) return exchanged;
        // NFS and others cannot exchange.
        std::string away = volfs_.TemporaryName();
        USL_TRY_VOID(RenameHost(place, {work->fd(), away.c_str()}, 0));
        USL_TRY_VOID(RenameHost(moved, place, 0));
        temporary = away;
      }
    } else {
      USL_TRY_VOID(RenameHost(place, moved, RENAME_NOREPLACE));
    }
    USL_TRY_VOID(ClearWhiteouts(keep.get()));
    ::unlinkat(work->fd(), temporary.c_str(), AT_REMOVEDIR);
  }
  ListingChanged(name);
  victim.DropPlace(*this, name);
  // Nothing of it can be found by name any more; its number may be given to another directory once the fd is closed.
  victim.pinned_ = std::move(keep);
  for (auto& directory : victim.directory_->stack) directory->shown_empty = true;
  volfs_.upper()->store().Removed(victim.key_);
  volfs_.GiveName(&victim.key_);
  return {};
}

// Not by recursion: the tree may be deep.
std::string VolInode::LowerPath() const {
  std::vector<std::string_view> parts;
  size_t length = 0;
  for (const VolInode* at = this; at; at = at->place_.parent.get()) {
    bool redirected = at->record_ && !at->record_->redirect.empty();
    std::string_view part = redirected ? at->record_->redirect : at->place_.name;
    if (!part.empty()) parts.push_back(part);
    length += part.size() + 1;
    if (redirected) break;
  }
  std::string path;
  path.reserve(length);
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (!path.empty()) path += '/';
    path += *part;
  }
  return path;
}

Result<void> VolInode::MakeIndexedName(VolInode& inode, const HostPlace& place) {
  if (inode.index_name_.empty()) return {};
  Ref<OpenDirectory> index = USL_TRY(volfs_.Index(false));
  if (!index) return Fail(ESTALE);
  USL_TRY_VOID(Annotate());
  if (::linkat(index->fd(), inode.index_name_.c_str(), place.fd, place.name, 0) < 0 && errno != EEXIST)
    return FailErrno();
  return {};
}

// Before a directory gets another name: its lower parts must go with it, and those of the new name must not show.
Result<void> VolInode::PrepareMove(VolInode& moved) {
  if (!volfs_.IsLayered() || !moved.IsDirectory()) return {};
  AttributeRecord record = moved.record_ ? *moved.record_ : AttributeRecord{};
  bool has_lower = moved.directory_->stack.size() > 1;
  if (has_lower) {
    record.redirect = moved.LowerPath();
    // Too long for a record: EXDEV makes mv(1) and its kin copy.
    if (record.redirect.size() > kMaxRedirect) return Fail(EXDEV);
  } else {
    // Something of the new name may lie below, now or behind a whiteout that will be gone then.
    std::span<const Ref<HostDirectory>> below = std::span(directory_->stack);
    if (&below.front()->layer() == volfs_.upper()) below = below.subspan(1);
    if (!below.empty()) record.flags |= AttributeRecord::kOpaque;
  }
  return moved.SaveRecord(std::move(record));
}

Result<void> VolInode::Rename(std::string_view old_name, vfs::Inode& source_inode, vfs::Inode& directory_inode,
                              std::string_view new_name, vfs::Inode* target_inode, unsigned flags) {
  USL_TRY_VOID(CheckChangeable(old_name));
  if (&directory_inode.file_system() != &volfs_) return Fail(EXDEV);
  auto& destination = static_cast<VolInode&>(directory_inode);
  auto& source = static_cast<VolInode&>(source_inode);
  auto* target = static_cast<VolInode*>(target_inode);
  USL_TRY_VOID(destination.CheckChangeable(new_name));
  bool exchange = flags & RENAME_EXCHANGE;
  // Whiteouts belong to the layers here: as overlayfs.
  if ((flags & RENAME_WHITEOUT) && volfs_.IsLayered()) return Fail(EINVAL);
  if (exchange && !target) return Fail(ENOENT);
  if ((flags & RENAME_NOREPLACE) && target) return Fail(EEXIST);
  // Two names of one file: rename(2) does nothing.
  if (target == &source) return {};
  ComponentName old_component(old_name), new_component(new_name);
  if (!old_component.IsValid() || !new_component.IsValid()) return Fail(ENAMETOOLONG);

  const Announcement here(*this), there(destination), moved(source), replaced_one(target ? *target : source);
  USL_TRY_VOID(source.CopyUp());
  Ref<OpenDirectory> old_open = USL_TRY(OpenUpper());
  Ref<OpenDirectory> new_open = USL_TRY(destination.OpenUpper());
  HostPlace from{old_open->fd(), old_component.c_str()}, to{new_open->fd(), new_component.c_str()};
  bool old_lower = USL_TRY(LowerHas(old_name));
  USL_TRY_VOID(MakeIndexedName(source, from));
  // Members that are not what they look like take the mark with them.
  auto is_marked = [](const VolInode& inode) {
    return inode.record_ && (inode.record_->type || inode.record_->origin);
  };
  if (is_marked(source)) USL_TRY_VOID(destination.Annotate());
  // Symlinks of the host take their owners along, before they move: what is noted for nothing does no harm.
  const bool owned = KeepsLinkOwners() && &destination != this;
  const bool moves_link = owned && S_ISLNK(source.host_mode_),
             swaps_link = owned && exchange && S_ISLNK(target->host_mode_);
  if (moves_link) USL_TRY_VOID(destination.PutLinkOwner(source.LinkOwnerFor(source.owner_)));
  if (swaps_link) USL_TRY_VOID(PutLinkOwner(target->LinkOwnerFor(target->owner_)));
  UniqueFd replaced;
  if (target && !exchange && target->IsDirectory()) {
    // Whoever is in the directory that disappears goes on by an fd.
    Resolved at = USL_TRY(target->Resolve());
    replaced = USL_TRY(OpenHost(at.place, O_PATH | O_DIRECTORY));
  } else if (target && !exchange) {
    replaced = USL_TRY(target->KeepSpecial());
  }
  if (exchange) {
    USL_TRY_VOID(target->CopyUp());
    USL_TRY_VOID(destination.MakeIndexedName(*target, to));
    if (is_marked(*target)) USL_TRY_VOID(Annotate());
    USL_TRY_VOID(destination.PrepareMove(source));
    USL_TRY_VOID(PrepareMove(*target));
    USL_TRY_VOID(RenameHost(from, to, RENAME_EXCHANGE));
  } else {
    if (target) USL_TRY_VOID(target->CopyUpToCountLinks());
    std::string whiteout;
    if (flags & RENAME_WHITEOUT) whiteout = USL_TRY(MakeGuestWhiteout());
    USL_TRY_VOID(destination.PrepareMove(source));
    USL_TRY_VOID(MoveHost(source, from, to, old_lower, destination, new_name, target));
    if (!whiteout.empty()) {
      Ref<OpenDirectory> work = USL_TRY(volfs_.Work());
      USL_TRY_VOID(RenameHost({work->fd(), whiteout.c_str()}, from, RENAME_NOREPLACE));
    }
  }

  if (moves_link) USL_TRY_VOID(DropLinkOwner(source));
  if (swaps_link) USL_TRY_VOID(destination.DropLinkOwner(*target));
  ListingChanged(exchange ? std::string_view{} : old_name);
  destination.ListingChanged();
  if (target) {
    target->DropPlace(destination, new_name);
    if (exchange) {
      target->Arrive(*this, old_name);
    } else if (replaced && !target->HasPlace()) {
      target->pinned_ = std::move(replaced);
    } else if (!target->HasPlace()) {
      target->Unregister();
    }
  }
  source.DropPlace(*this, old_name);
  source.Arrive(destination, new_name);
  return {};
}

// The node that RENAME_WHITEOUT leaves in a single tree, where it is one of the guest's: a file of its own in the work
// directory, whose name is returned.
Result<std::string> VolInode::MakeGuestWhiteout() {
  // A directory of the host's own gets no stand-ins.
  if (!volfs_.upper()->UsesRecords() || volfs_.options_.live) return Fail(EINVAL);
  Ref<OpenDirectory> work = USL_TRY(volfs_.Work());
  std::string temporary = volfs_.TemporaryName();
  AttributeRecord record;
  USL_TRY_VOID(MakeHostFile({work->fd(), temporary.c_str()}, {.mode = S_IFCHR}, record, true));
  USL_TRY_VOID(Annotate());
  return temporary;
}

void VolInode::Arrive(VolInode& parent, std::string_view name) {
  AddPlace(parent, name);
  if (!directory_) return;
  if (HostDirectory* own = UpperDirectory()) {
    own->Move(Ref<HostDirectory>(parent.UpperDirectory()), std::string(name));
  }
}

// Called on the old directory. After a crash the file is under its old name or under its new one.
Result<void> VolInode::MoveHost(VolInode& source, const HostPlace& from, const HostPlace& to, bool old_lower,
                                VolInode& destination, std::string_view new_name, VolInode* target) {
  if (target && target->IsDirectory() && volfs_.IsLayered()) {
    // Its whiteouts and lower parts: the ordinary removal deals with them and leaves nothing, or a whiteout.
    USL_TRY_VOID(destination.RemoveDirectory(new_name, *target));
    target = nullptr;
  }
  bool counted = target && target->record_ && target->record_->links;
  bool is_told = target && volfs_.upper()->store().WantsRemovals();
  bool is_last = is_told && (target->IsDirectory() || USL_TRY(target->GetAttributes()).nlink <= 1);
  bool over_whiteout = USL_TRY(IsWhiteoutAt(to));
  if (old_lower) USL_TRY_VOID(Annotate());
  if (old_lower && !target) {
    USL_TRY_VOID(volfs_.MoveLeavingWhiteout(from, to, over_whiteout, source.IsDirectory(), PathInUpper(from.name)));
  } else if (over_whiteout && source.IsDirectory()) {
    USL_TRY_VOID(volfs_.ReplaceWhiteout(from, to));
  } else if (old_lower) {
    USL_TRY_VOID(volfs_.MoveThenWhiteOut(from, to, PathInUpper(from.name)));
  } else {
    USL_TRY_VOID(RenameHost(from, to, 0));
  }
  if (counted) USL_TRY_VOID(target->CountLinks(-1));
  if (is_last) volfs_.upper()->store().Removed(target->key_);
  if (target) volfs_.GiveName(is_last ? &target->key_ : nullptr);
  return {};
}

}  // namespace usl::fs
