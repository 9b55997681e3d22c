// POSIX access control lists in the binary form of their extended attributes (acl(5), uapi/linux/posix_acl_xattr.h).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cred/credentials.h"

namespace usl::vfs {

inline constexpr std::string_view kAclAccess = "system.posix_acl_access";
inline constexpr std::string_view kAclDefault = "system.posix_acl_default";

class PosixAcl {
 public:
  enum Tag : uint16_t { kUserObj = 1, kUser = 2, kGroupObj = 4, kGroup = 8, kMask = 0x10, kOther = 0x20 };
  struct Entry {
    uint16_t tag;
    uint16_t permissions;
    uint32_t id;
  };

  // EINVAL for a malformed or invalid list, EOPNOTSUPP for an unknown version. A list without entries is empty().
  static Result<PosixAcl> Parse(std::span<const std::byte> blob);
  // The same without the check that the entries make a list together (IsValid), which Linux makes later. EINVAL for a
  // wrong length, an unknown tag or an impossible id.
  static Result<PosixAcl> ParseEntries(std::span<const std::byte> blob);
  // The entries are in order, one of each base kind, with a mask when anybody is named; an empty list is valid.
  bool IsValid() const;
  std::vector<std::byte> Serialise() const;
  bool empty() const { return entries_.empty(); }
  const std::vector<Entry>& entries() const { return entries_; }

  // posix_acl_permission(): 0 or EACCES. `mask` of MAY_EXEC 1, MAY_WRITE 2, MAY_READ 4.
  Result<void> CheckPermission(const cred::Credentials& credentials, uid_t owner, gid_t group, int mask) const;
  // The permission bits that say the same; nullopt when the list says more than mode bits can (named entries or a
  // mask).
  std::optional<uint32_t> EquivalentMode() const;
  // The nine bits that the list shows in st_mode.
  uint32_t ModeBits() const;
  // chmod(2): puts the nine bits of `mode` into the list.
  void SetMode(uint32_t mode);
  // Creation of a file below a directory with this default list: narrows list and `mode` to what both allow.
  void ApplyCreationMode(uint32_t& mode);

 private:
  std::vector<Entry> entries_;
};

}  // namespace usl::vfs
