#include "vfs/posix_acl.h"

#include <sys/stat.h>

#include <cstring>

namespace usl::vfs {

namespace {

constexpr uint32_t kVersion = 2;  // POSIX_ACL_XATTR_VERSION
constexpr uint32_t kNoId = ~uint32_t{0};
static_assert(sizeof(PosixAcl::Entry) == 8);

bool IsKnown(const PosixAcl::Entry& entry) {
  switch (entry.tag) {
    case PosixAcl::kUser:
    case PosixAcl::kGroup: return entry.id != kNoId;
    case PosixAcl::kUserObj:
    case PosixAcl::kGroupObj:
    case PosixAcl::kMask:
    case PosixAcl::kOther: return true;
    default: return false;
  }
}

}  // namespace

// posix_acl_valid().
bool PosixAcl::IsValid() const {
  if (entries_.empty()) return true;
  int state = PosixAcl::kUserObj;
  bool needs_mask = false;
  for (const auto& entry : entries_) {
    if (entry.permissions > 7) return false;
    switch (entry.tag) {
      case PosixAcl::kUserObj:
        if (state != PosixAcl::kUserObj) return false;
        state = PosixAcl::kUser;
        break;
      case PosixAcl::kUser:
        if (state != PosixAcl::kUser || entry.id == kNoId) return false;
        needs_mask = true;
        break;
      case PosixAcl::kGroupObj:
        if (state != PosixAcl::kUser) return false;
        state = PosixAcl::kGroup;
        break;
      case PosixAcl::kGroup:
        if (state != PosixAcl::kGroup || entry.id == kNoId) return false;
        needs_mask = true;
        break;
      case PosixAcl::kMask:
        if (state != PosixAcl::kGroup) return false;
        state = PosixAcl::kOther;
        break;
      case PosixAcl::kOther:
        if (state != PosixAcl::kOther && (state != PosixAcl::kGroup || needs_mask)) return false;
        state = 0;
        break;
      default: return false;
    }
  }
  return state == 0;
}

Result<PosixAcl> PosixAcl::Parse(std::span<const std::byte> blob) {
  PosixAcl acl = USL_TRY(ParseEntries(blob));
  if (!acl.IsValid()) return Fail(EINVAL);
  return acl;
}

Result<PosixAcl> PosixAcl::ParseEntries(std::span<const std::byte> blob) {
  uint32_t version;
  if (blob.size() < sizeof version) return Fail(EINVAL);
  std::memcpy(&version, blob.data(), sizeof version);
  if (version != kVersion) return Fail(EOPNOTSUPP);
  blob = blob.subspan(sizeof version);
  if (blob.size() % sizeof(Entry) != 0) return Fail(EINVAL);
  PosixAcl acl;
  acl.entries_.resize(blob.size() / sizeof(Entry));
  if (acl.entries_.empty()) return acl;
  std::memcpy(acl.entries_.data(), blob.data(), blob.size());
  for (Entry& entry : acl.entries_) {
    if (!IsKnown(entry)) return Fail(EINVAL);
    // What is not an id is not kept.
    if (entry.tag != kUser && entry.tag != kGroup) entry.id = kNoId;
  }
  return acl;
}

std::vector<std::byte> PosixAcl::Serialise() const {
  std::vector<std::byte> blob(sizeof kVersion + entries_.size() * sizeof(Entry));
  std::memcpy(blob.data(), &kVersion, sizeof kVersion);
  if (!entries_.empty()) {
    std::memcpy(blob.data() + sizeof kVersion, entries_.data(), entries_.size() * sizeof(Entry));
  }
  return blob;
}

Result<void> PosixAcl::CheckPermission(const cred::Credentials& credentials, uid_t owner, gid_t group, int mask) const {
  auto grant = [mask](int permissions) -> Result<void> {
    if ((permissions & mask) == mask) return {};
    return Fail(EACCES);
  };
  int masked = 7;
  for (const auto& entry : entries_) {
    if (entry.tag == kMask) masked = entry.permissions;
  }
  bool in_some_group = false;
  for (const auto& entry : entries_) {
    switch (entry.tag) {
      case kUserObj:
        if (owner == credentials.fsuid) return grant(entry.permissions);
        break;
      case kUser:
        if (entry.id == credentials.fsuid) return grant(entry.permissions & masked);
        break;
      case kGroupObj:
      case kGroup:
        // Any group that the caller is in and that grants it suffices; one that does not still rules out "other".
        if (!credentials.InGroup(entry.tag == kGroupObj ? group : entry.id)) break;
        in_some_group = true;
        if ((entry.permissions & mask) == mask) return grant(entry.permissions & masked);
        break;
      case kOther: return in_some_group ? Fail(EACCES) : grant(entry.permissions);
      default: break;
    }
  }
  return Fail(EACCES);
}

std::optional<uint32_t> PosixAcl::EquivalentMode() const {
  for (const auto& entry : entries_) {
    if (entry.tag == kUser || entry.tag == kGroup || entry.tag == kMask) return std::nullopt;
  }
  return ModeBits();
}

uint32_t PosixAcl::ModeBits() const {
  uint32_t mode = 0;
  for (const auto& entry : entries_) {
    switch (entry.tag) {
      case kUserObj: mode |= uint32_t{entry.permissions} << 6; break;
      case kGroupObj: mode |= uint32_t{entry.permissions} << 3; break;
      // The mask comes behind the group and stands in its place.
      case kMask: mode = (mode & ~uint32_t{S_IRWXG}) | uint32_t{entry.permissions} << 3; break;
      case kOther: mode |= entry.permissions; break;
      default: break;
    }
  }
  return mode;
}

void PosixAcl::SetMode(uint32_t mode) {
  Entry* group = nullptr;
  for (auto& entry : entries_) {
    switch (entry.tag) {
      case kUserObj: entry.permissions = (mode >> 6) & 7; break;
      case kGroupObj: group = group ? group : &entry; break;
      case kMask: group = &entry; break;
      case kOther: entry.permissions = mode & 7; break;
      default: break;
    }
  }
  if (group) group->permissions = (mode >> 3) & 7;
}

void PosixAcl::ApplyCreationMode(uint32_t& mode) {
  const uint32_t narrowed = ModeBits() & mode;
  SetMode(narrowed);
  mode = (mode & ~uint32_t{0777}) | (narrowed & 0777);
}

}  // namespace usl::vfs
