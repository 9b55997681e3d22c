// inotify over the trees: a guest's watch is one of the host file's, so what the guest is to see must happen to that
// file.
#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "fs/volfs_inode.h"
#include "fs/volfs_list.h"

namespace usl::fs {
namespace {

constexpr uint32_t kNameEvents = IN_CREATE | IN_DELETE | IN_MOVE;
// What is copied at most for a watch of a directory of several layers.
constexpr size_t kMaxMembers = 4096;
constexpr uint64_t kMaxBytes = 64 << 20;

bool IsRefusal(const Error& error) {
  return error.code() == EACCES || error.code() == EPERM;
}

}  // namespace

Result<void> VolInode::PrepareWatch(uint32_t mask) {
  if (volfs_.upper() && layer_ != volfs_.upper()) {
    // A later copy-up would leave the watch with a file that nobody uses any more.
    auto copied = CopyUp();
    // What the host user may not read cannot be changed by the guest either.
    if (!copied && !IsRefusal(copied.error())) return copied;
  }
  if (IsDirectory() && (mask & kNameEvents) && layer_ == volfs_.upper()) USL_TRY_VOID(Flatten());
  watched_ = true;
  return {};
}

Result<bool> VolInode::IsCheapToFlatten(const std::vector<Ref<VolInode>>& members) {
  uint64_t bytes = 0;
  for (const auto& member : members) {
    if (member->layer_ == volfs_.upper() || !member->IsRegular()) continue;
    bytes += USL_TRY(member->GetAttributes()).blocks * 512;
    if (bytes > kMaxBytes) return false;
  }
  return true;
}

// Removing a name that a lower layer has puts a whiteout there, and changing a file makes a copy appear: the host would
// tell of a new name each time. In a directory that is opaque and complete everything happens as the guest does it.
Result<void> VolInode::Flatten() {
  // The root is merged by its place, not by its record.
  if (directory_->stack.size() < 2 || this == volfs_.root_.get()) return {};
  const auto list = USL_TRY(BuildList(nullptr));
  if (list->entries.size() > kMaxMembers) return {};
  std::vector<Ref<VolInode>> members;
  for (const MergedEntry& entry : list->entries) {
    auto member = LookupName(entry.name);
    if (!member) return member.error().code() == ENOENT ? Result<void>{} : Fail(member.error());
    members.push_back(std::move(*member));
  }
  if (!USL_TRY(IsCheapToFlatten(members))) return {};
  for (const auto& member : members) {
    auto copied = member->CopyUp();
    if (!copied) return IsRefusal(copied.error()) ? Result<void>{} : copied;
    if (!member->IsDirectory() || member->directory_->stack.size() < 2) continue;
    // Found by its own path from now on, as this directory no longer leads to the layers below.
    AttributeRecord record = member->record_ ? *member->record_ : AttributeRecord{};
    if (record.redirect.empty()) record.redirect = member->LowerPath();
    auto saved = member->SaveRecord(std::move(record));
    if (!saved) return saved;
  }
  AttributeRecord record = record_ ? *record_ : AttributeRecord{};
  record.flags |= AttributeRecord::kOpaque;
  record.redirect.clear();
  USL_TRY_VOID(SaveRecord(std::move(record)));
  directory_->stack.resize(1);
  ListingChanged();
  // What was removed needs no whiteouts any more. A kernel that is killed here leaves some, which show nothing.
  Ref<OpenDirectory> open = USL_TRY(OpenUpper());
  std::vector<std::string> names;
  USL_TRY_VOID(ForEachEntry(open->fd(), [&](const char* name, uint64_t, unsigned char) {
    names.emplace_back(name);
    return true;
  }));
  for (const std::string& name : names) {
    const HostPlace place{open->fd(), name.c_str()};
    if (USL_TRY(IsWhiteoutAt(place)) && ::unlinkat(place.fd, place.name, 0) < 0) return FailErrno();
  }
  return {};
}

}  // namespace usl::fs
