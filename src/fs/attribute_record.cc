#include "fs/attribute_record.h"

#include <linux/limits.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cstring>

namespace usl::fs {
namespace {

constexpr std::byte kMagic{'U'};
constexpr std::byte kVersion{1};

// The tags of docs/volfs.md. An unknown one with kOptional may be ignored; without, the record is not understood.
enum Tag : uint16_t {
  kUid = 1,
  kGid = 2,
  kMode = 3,
  kType = 4,
  kRdev = 5,
  kOrigin = 6,
  kFlags = 7,
  kXattr = 8,
  kLinks = 9,
  kRedirect = 10,
  kXattrMore = 11,
  kOverflow = 12,
  kOptional = 0x8000,
  kLinkOwners = kOptional | 11,
};

template <typename T>
void PutInteger(std::vector<std::byte>& out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) out.push_back(static_cast<std::byte>(value >> (8 * i)));
}

template <typename T>
void PutEntry(std::vector<std::byte>& out, uint16_t tag, T value) {
  PutInteger<uint16_t>(out, tag);
  PutInteger<uint16_t>(out, sizeof(T));
  PutInteger<T>(out, value);
}

void PutBytes(std::vector<std::byte>& out, uint16_t tag, std::span<const std::byte> value) {
  PutInteger<uint16_t>(out, tag);
  PutInteger<uint16_t>(out, static_cast<uint16_t>(value.size()));
  out.insert(out.end(), value.begin(), value.end());
}

template <typename T>
T GetInteger(std::span<const std::byte> data) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<T>(static_cast<T>(data[i]) << (8 * i));
  return value;
}

bool IsFileType(uint32_t type) {
  switch (type) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK: return true;
    default: return false;
  }
}

// Names that may be in a record: a known namespace, no NUL, a length that the kernel allows.
bool IsXattrName(std::string_view name) {
  if (name.empty() || name.size() > XATTR_NAME_MAX || name.find('\0') != name.npos) return false;
  size_t dot = name.find('.');
  if (dot == name.npos || dot + 1 == name.size()) return false;
  std::string_view space = name.substr(0, dot);
  return space == "security" || space == "trusted" || space == "system" || space == "user";
}

bool IsRedirect(std::string_view path) {
  if (path.empty() || path.find('\0') != path.npos) return false;
  for (size_t at = 0; at <= path.size();) {
    size_t end = std::min(path.find('/', at), path.size());
    std::string_view part = path.substr(at, end - at);
    if (part.empty() || part == "." || part == ".." || part.size() > 255) return false;
    at = end + 1;
  }
  return true;
}

// One number, once: false on a wrong length or a repeated tag.
template <typename T>
bool Take(std::span<const std::byte> data, uint32_t& seen, uint16_t tag, T& value) {
  if (data.size() != sizeof(T) || (seen & (1u << tag))) return false;
  seen |= 1u << tag;
  value = GetInteger<T>(data);
  return true;
}

bool TakeXattr(std::span<const std::byte> data, AttributeRecord& record) {
  if (data.empty()) return false;
  size_t name_length = static_cast<size_t>(data[0]);
  if (data.size() < 1 + name_length) return false;
  std::string name(reinterpret_cast<const char*>(data.data()) + 1, name_length);
  if (!IsXattrName(name) || record.FindXattr(name)) return false;
  record.PutXattr(name, data.subspan(1 + name_length));
  return record.xattrs.back().second.size() <= XATTR_SIZE_MAX;
}

// An entry holds 65535 bytes; a value that is longer goes on in the next one.
bool TakeMore(std::span<const std::byte> data, AttributeRecord& record) {
  std::vector<std::byte>& value = record.xattrs.back().second;
  if (data.empty() || value.size() + data.size() > XATTR_SIZE_MAX) return false;
  value.insert(value.end(), data.begin(), data.end());
  return true;
}

bool TakeRedirect(std::span<const std::byte> data, AttributeRecord& record) {
  if (!record.redirect.empty()) return false;
  record.redirect.assign(reinterpret_cast<const char*>(data.data()), data.size());
  return IsRedirect(record.redirect);
}

constexpr size_t kLinkOwnerSize = 20;

bool TakeLinkOwners(std::span<const std::byte> data, AttributeRecord& record) {
  if (data.empty() || data.size() % kLinkOwnerSize != 0 || !record.link_owners.empty()) return false;
  for (; !data.empty(); data = data.subspan(kLinkOwnerSize)) {
    const AttributeRecord::LinkOwner owner{GetInteger<uint64_t>(data), GetInteger<uint32_t>(data.subspan(8)),
                                           GetInteger<uint32_t>(data.subspan(12)),
                                           GetInteger<uint32_t>(data.subspan(16))};
    if (owner.uid == UINT32_MAX || owner.gid == UINT32_MAX) return false;
    record.link_owners.push_back(owner);
  }
  return true;
}

bool TakeEntry(uint16_t tag, uint16_t previous, std::span<const std::byte> data, uint32_t& seen,
               AttributeRecord& record) {
  uint32_t number = 0;
  switch (tag) {
    case kUid:
      if (!Take(data, seen, tag, number) || number == UINT32_MAX) return false;
      record.uid = number;
      return true;
    case kGid:
      if (!Take(data, seen, tag, number) || number == UINT32_MAX) return false;
      record.gid = number;
      return true;
    case kMode:
      if (!Take(data, seen, tag, number) || number > 07777) return false;
      record.mode = number;
      return true;
    case kType: return Take(data, seen, tag, record.type) && IsFileType(record.type);
    case kRdev: return Take(data, seen, tag, record.rdev);
    case kOrigin: return Take(data, seen, tag, record.origin);
    case kLinks: return Take(data, seen, tag, record.links);
    case kFlags: return Take(data, seen, tag, record.flags) && !(record.flags & ~AttributeRecord::kKnownFlags);
    case kXattr: return TakeXattr(data, record);
    case kXattrMore: return (previous == kXattr || previous == kXattrMore) && TakeMore(data, record);
    case kRedirect: return TakeRedirect(data, record);
    case kOverflow: return Take(data, seen, tag, record.overflow) && record.overflow != 0;
    case kLinkOwners: return TakeLinkOwners(data, record);
    default:
      if (!(tag & kOptional)) return false;
      record.unknown.emplace_back(tag, std::vector<std::byte>(data.begin(), data.end()));
      return true;
  }
}

// Takes the entries up to the first that is wrong, or with `lenient` all that are well-formed. False when one is wrong.
bool TakeEntries(std::span<const std::byte> data, bool lenient, AttributeRecord& record) {
  bool good = true;
  uint32_t seen = 0;
  uint16_t previous = 0;
  while (!data.empty()) {
    if (data.size() < 4) return false;
    uint16_t tag = GetInteger<uint16_t>(data);
    size_t length = GetInteger<uint16_t>(data.subspan(2));
    data = data.subspan(4);
    if (length > data.size()) return false;
    // A refused entry may have been half taken.
    AttributeRecord before = lenient ? record : AttributeRecord{};
    if (!TakeEntry(tag, previous, data.first(length), seen, record)) {
      if (!lenient) return false;
      good = false;
      record = std::move(before);
      // A part of a value is not the value.
      if (tag == kXattrMore && (previous == kXattr || previous == kXattrMore)) record.xattrs.pop_back();
      tag = 0;
    }
    previous = tag;
    data = data.subspan(length);
  }
  return good;
}

}  // namespace

const std::vector<std::byte>* AttributeRecord::FindXattr(std::string_view name) const {
  auto found = std::ranges::find(xattrs, name, [](const auto& pair) -> std::string_view { return pair.first; });
  return found == xattrs.end() ? nullptr : &found->second;
}

void AttributeRecord::PutXattr(std::string_view name, std::span<const std::byte> value) {
  std::vector<std::byte> copy(value.begin(), value.end());
  auto found = std::ranges::find(xattrs, name, [](const auto& pair) -> std::string_view { return pair.first; });
  if (found != xattrs.end()) {
    found->second = std::move(copy);
  } else {
    xattrs.emplace_back(std::string(name), std::move(copy));
  }
}

bool AttributeRecord::DropXattr(std::string_view name) {
  return std::erase_if(xattrs, [&](const auto& pair) { return pair.first == name; }) > 0;
}

std::vector<std::byte> EncodeRecord(const AttributeRecord& record) {
  std::vector<std::byte> out{kMagic, kVersion};
  if (record.uid) PutEntry<uint32_t>(out, kUid, *record.uid);
  if (record.gid) PutEntry<uint32_t>(out, kGid, *record.gid);
  if (record.mode) PutEntry<uint32_t>(out, kMode, *record.mode);
  if (record.type) PutEntry<uint32_t>(out, kType, record.type);
  if (record.rdev) PutEntry<uint64_t>(out, kRdev, record.rdev);
  if (record.origin) PutEntry<uint64_t>(out, kOrigin, record.origin);
  if (record.links) PutEntry<uint32_t>(out, kLinks, record.links);
  if (record.flags) PutEntry<uint32_t>(out, kFlags, record.flags);
  if (record.overflow) PutEntry<uint64_t>(out, kOverflow, record.overflow);
  if (!record.redirect.empty()) PutBytes(out, kRedirect, std::as_bytes(std::span(record.redirect)));
  if (!record.link_owners.empty()) {
    std::vector<std::byte> owners;
    for (const AttributeRecord::LinkOwner& owner : record.link_owners) {
      PutInteger<uint64_t>(owners, owner.ino);
      PutInteger<uint32_t>(owners, owner.birth);
      PutInteger<uint32_t>(owners, owner.uid);
      PutInteger<uint32_t>(owners, owner.gid);
    }
    PutBytes(out, kLinkOwners, owners);
  }
  for (const auto& [name, value] : record.xattrs) {
    std::vector<std::byte> entry{static_cast<std::byte>(name.size())};
    auto bytes = std::as_bytes(std::span(name));
    entry.insert(entry.end(), bytes.begin(), bytes.end());
    entry.insert(entry.end(), value.begin(), value.end());
    std::span<const std::byte> rest(entry);
    for (uint16_t tag = kXattr; tag == kXattr || !rest.empty(); tag = kXattrMore) {
      size_t length = std::min<size_t>(rest.size(), UINT16_MAX);
      PutBytes(out, tag, rest.first(length));
      rest = rest.subspan(length);
    }
  }
  for (const auto& [tag, value] : record.unknown) PutBytes(out, tag, value);
  return out;
}

Result<AttributeRecord> DecodeRecord(std::span<const std::byte> data, size_t limit) {
  if (data.size() < 2 || data.size() > limit || data[0] != kMagic || data[1] != kVersion) return Fail(EIO);
  AttributeRecord record;
  if (!TakeEntries(data.subspan(2), false, record)) return Fail(EIO);
  return record;
}

RecordReport InspectRecord(std::span<const std::byte> data, size_t limit) {
  RecordReport report;
  if (data.size() < 2 || data.size() > limit || data[0] != kMagic) return report;
  report.version = static_cast<unsigned>(data[1]);
  if (data[1] != kVersion) {
    report.state = RecordReport::State::kOtherVersion;
  } else if (TakeEntries(data.subspan(2), true, report.salvaged)) {
    report.state = RecordReport::State::kGood;
  }
  return report;
}

}  // namespace usl::fs
