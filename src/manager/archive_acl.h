// Between libarchive's form of POSIX ACLs and that of Linux's system.posix_acl_* attributes.
#pragma once

#include <archive_entry.h>

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "vfs/posix_acl.h"

namespace usl::manager {

// The list of type ARCHIVE_ENTRY_ACL_TYPE_ACCESS or _DEFAULT; nothing when the entry has none that is valid and says
// more than its mode. Users and groups that are named without a number are left out.
std::optional<vfs::PosixAcl> AclFromEntry(archive_entry* entry, int type);
// Adds the list of an attribute's value; a malformed one adds nothing. The mode of the entry then has the bits of the
// owning group, not the mask, as libarchive wants it.
void AclToEntry(std::span<const std::byte> value, int type, archive_entry* entry);

}  // namespace usl::manager
