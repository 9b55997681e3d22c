// Whose the symlinks of a DrvFs with metadata are. The host's symlinks can have no attributes, and the host's programs
// are to go on seeing symlinks, so the record of the directory has a list: by number and birth time, as names change.
#include <algorithm>
#include <unordered_set>

#include "fs/volfs_inode.h"

namespace usl::fs {
namespace {

// Beyond this the list is looked through for links that are gone. (ext4 has room for 4 KB of attributes.)
constexpr size_t kPruneAt = 100;

}  // namespace

void VolInode::ApplyLinkOwner() {
  if (!S_ISLNK(host_mode_) || !KeepsLinkOwners() || !place_.parent || !place_.parent->record_) return;
  for (const AttributeRecord::LinkOwner& owner : place_.parent->record_->link_owners) {
    if (owner.ino != key_.ino || owner.birth != static_cast<uint32_t>(birth_)) continue;
    owner_.uid = owner.uid;
    owner_.gid = owner.gid;
  }
}

AttributeRecord::LinkOwner VolInode::LinkOwnerFor(const Ownership& owner) const {
  return {key_.ino, static_cast<uint32_t>(birth_), owner.uid, owner.gid};
}

Result<void> VolInode::PutLinkOwner(const AttributeRecord::LinkOwner& owner) {
  USL_TRY(GetAttributes());  // another instance may have written to the record
  AttributeRecord record = record_ ? *record_ : AttributeRecord{};
  auto& list = record.link_owners;
  std::erase_if(list, [&](const auto& each) { return each.ino == owner.ino; });
  if (list.size() >= kPruneAt) {
    // The host may have removed some.
    std::unordered_set<uint64_t> present;
    Ref<OpenDirectory> open = USL_TRY(OpenUpper());
    USL_TRY_VOID(ForEachEntry(open->fd(), [&](const char*, uint64_t ino, unsigned char) {
      present.insert(ino);
      return true;
    }));
    std::erase_if(list, [&](const auto& each) { return !present.contains(each.ino); });
  }
  const bool is_default = owner.uid == layer_->options().mapped_uid && owner.gid == layer_->options().mapped_gid;
  if (!is_default) list.push_back(owner);
  return SaveRecord(std::move(record));
}

Result<void> VolInode::DropLinkOwner(const VolInode& link) {
  USL_TRY(GetAttributes());
  if (!record_) return {};
  AttributeRecord record = *record_;
  if (std::erase_if(record.link_owners, [&](const auto& each) { return each.ino == link.key_.ino; }) == 0) return {};
  return SaveRecord(std::move(record));
}

}  // namespace usl::fs
