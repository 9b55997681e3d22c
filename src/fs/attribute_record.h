// What a host file cannot say of a guest file: the content of the extended attribute `user.usl` (docs/volfs.md).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace usl::fs {

struct AttributeRecord {
  // Directory flags.
  static constexpr uint32_t kOpaque = 1;     // nothing of the lower layers shows through
  static constexpr uint32_t kAnnotated = 2;  // some members have another type or number than their host file: ask each
  static constexpr uint32_t kKnownFlags = kOpaque | kAnnotated;

  std::optional<uint32_t> uid;  // absent: root (DrvFs: the mapped owner)
  std::optional<uint32_t> gid;
  std::optional<uint32_t> mode;  // the twelve permission bits; absent: the host file's
  uint32_t type = 0;             // S_IFMT where the host file is a stand-in, else 0
  uint64_t rdev = 0;             // of device nodes
  uint64_t origin = 0;           // inode number of the lower file that this one was copied from, or 0
  uint32_t links = 0;            // the guest's link count of a copied-up file with several names, or 0: the host's
  uint32_t flags = 0;
  uint64_t overflow = 0;  // the record proper is in `.usl/overflow` under this number (AttributeStore's business), or 0
  // Directories of a DrvFs with metadata: whose its symlinks are, which have no attributes on the host.
  struct LinkOwner {
    uint64_t ino = 0;    // of the host
    uint32_t birth = 0;  // the low bits of the birth time in nanoseconds: numbers are used again
    uint32_t uid = 0;
    uint32_t gid = 0;
    friend bool operator==(const LinkOwner&, const LinkOwner&) = default;
  };
  std::vector<LinkOwner> link_owners;
  std::string redirect;  // directories: where their content lies in the lower layers, "a/b/c"
  // security.*, trusted.*, system.posix_acl_* by full name (and user.* in MemoryStore).
  std::vector<std::pair<std::string, std::vector<std::byte>>> xattrs;
  // Entries of a later version that may be ignored: kept as they are when the record is rewritten.
  std::vector<std::pair<uint16_t, std::vector<std::byte>>> unknown;

  // Says nothing, so it need not be stored.
  bool IsDefault() const { return *this == AttributeRecord{}; }
  const std::vector<std::byte>* FindXattr(std::string_view name) const;
  void PutXattr(std::string_view name, std::span<const std::byte> value);
  bool DropXattr(std::string_view name);

  friend bool operator==(const AttributeRecord&, const AttributeRecord&) = default;
};

// The most that an extended attribute of the host holds: the kernel's own limit.
inline constexpr size_t kMaxRecordSize = 65536;
// The most that a record elsewhere (sidecar, overflow) may have.
inline constexpr size_t kMaxLargeRecordSize = 1 << 20;

std::vector<std::byte> EncodeRecord(const AttributeRecord& record);
// EIO for anything that is not a well-formed record of a version known here, or longer than `limit`. The input is
// hostile: every length, value and combination is checked.
Result<AttributeRecord> DecodeRecord(std::span<const std::byte> data, size_t limit = kMaxRecordSize);

// A look at a record that Decode may refuse, for those who repair trees.
struct RecordReport {
  enum class State { kGood, kOtherVersion, kDamaged };
  State state = State::kDamaged;
  unsigned version = 0;
  AttributeRecord salvaged;  // what is well-formed of it: all of a good one, nothing of another version
};
RecordReport InspectRecord(std::span<const std::byte> data, size_t limit = kMaxRecordSize);

}  // namespace usl::fs
