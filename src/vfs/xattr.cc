// Extended attributes (xattr(7)): who may use which name space, and the access lists among them (acl(5)).
#include <linux/capability.h>
#include <linux/limits.h>
#include <linux/xattr.h>
#include <sys/stat.h>

#include <algorithm>

#include "vfs/permission.h"
#include "vfs/posix_acl.h"
#include "vfs/vfs.h"

namespace usl::vfs {

namespace {

constexpr std::string_view kFileCapabilities = "security.capability";

// Of DrvFs with case=dir; a file system without it says so itself.
constexpr std::string_view kCaseSensitive = "system.wsl_case_sensitive";

bool IsAcl(std::string_view name) {
  return name == kAclAccess || name == kAclDefault;
}

// The prefixes that file systems have handlers for; a name that is only the prefix is invalid.
Result<void> CheckName(std::string_view name) {
  if (name.empty() || name.size() > XATTR_NAME_MAX) return Fail(ERANGE);
  for (std::string_view prefix : {"user.", "trusted.", "security.", "system."}) {
    if (!name.starts_with(prefix)) continue;
    if (name.size() == prefix.size()) return Fail(EINVAL);
    const bool known = prefix != "system." || IsAcl(name) || name == kCaseSensitive;
    return known ? Result<void>() : Fail(EOPNOTSUPP);
  }
  return Fail(EOPNOTSUPP);
}

// xattr_permission().
Result<void> CheckAccess(const cred::Credentials& credentials, Inode& inode, std::string_view name, int mask) {
  const int refused = (mask & kMayWrite) ? EPERM : ENODATA;
  if (name == kCaseSensitive) return CheckInodePermission(credentials, inode, mask);
  if (name.starts_with("security.") || name.starts_with("system.")) return {};
  if (name.starts_with("trusted.")) {
    if (!credentials.Has(CAP_SYS_ADMIN)) return Fail(refused);
    return {};
  }
  if (name.starts_with("user.")) {
    if (!inode.IsRegular() && !inode.IsDirectory()) return Fail(refused);
    if (inode.IsDirectory() && (mask & kMayWrite)) {
      const Attributes attributes = USL_TRY(inode.GetPermissions());
      if ((attributes.mode & S_ISVTX) && !IsOwnerOrCapable(credentials, attributes)) return Fail(EPERM);
    }
  }
  return CheckInodePermission(credentials, inode, mask);
}

// The security name space has no module behind it here: cap_inode_setxattr() decides.
Result<void> CheckSecurity(const cred::Credentials& credentials, std::string_view name) {
  if (!name.starts_with("security.")) return {};
  if (!credentials.Has(name == kFileCapabilities ? CAP_SETFCAP : CAP_SYS_ADMIN)) return Fail(EPERM);
  return {};
}

// cap_convert_nscap(): struct vfs_cap_data of version 2, or vfs_ns_cap_data of version 3.
Result<void> CheckFileCapabilities(std::span<const std::byte> value) {
  uint32_t magic;
  if (value.size() < sizeof magic) return Fail(EINVAL);
  __builtin_memcpy(&magic, value.data(), sizeof magic);
  const uint32_t revision = magic & VFS_CAP_REVISION_MASK;
  if (magic & ~uint32_t{VFS_CAP_REVISION_MASK | VFS_CAP_FLAGS_EFFECTIVE}) return Fail(EINVAL);
  const bool valid = (value.size() == XATTR_CAPS_SZ_2 && revision == VFS_CAP_REVISION_2) ||
                     (value.size() == XATTR_CAPS_SZ_3 && revision == VFS_CAP_REVISION_3);
  return valid ? Result<void>() : Fail(EINVAL);
}

// set_posix_acl(). An empty list removes it.
Result<void> ChangeAcl(const cred::Credentials& credentials, Inode& inode, std::string_view name, const PosixAcl& acl) {
  if (inode.IsSymlink()) return Fail(EOPNOTSUPP);
  const bool is_access = name == kAclAccess;
  if (!is_access && !inode.IsDirectory()) return acl.empty() ? Result<void>() : Fail(EACCES);
  const Attributes attributes = USL_TRY(inode.GetPermissions());
  if (!IsOwnerOrCapable(credentials, attributes)) return Fail(EPERM);
  if (!acl.IsValid()) return Fail(EINVAL);

  const auto equivalent = is_access && !acl.empty() ? acl.EquivalentMode() : std::nullopt;
  if (acl.empty() || equivalent) {
    // What mode bits can say needs no list.
    auto removed = inode.RemoveXattr(name);
    if (!removed && removed.error().code() != ENODATA) return removed;
  } else {
    USL_TRY_VOID(inode.SetXattr(name, acl.Serialise(), 0));
  }
  if (!is_access || acl.empty()) return {};
  uint32_t mode = (attributes.mode & 07000) | acl.ModeBits();
  if (!InGroupOrCapable(credentials, attributes.gid)) mode &= ~uint32_t{S_ISGID};
  if (mode == (attributes.mode & 07777)) return {};
  return inode.SetAttributes({.mode = mode});
}

Result<void> CheckChangeable(const FileIdentity& file) {
  USL_TRY_VOID(CheckWritable(file.path.mount.get()));
  if (file.inode->file_system().IsReadOnly()) return Fail(EROFS);
  return {};
}

}  // namespace

Result<std::vector<std::byte>> Vfs::GetXattr(const Context& context, const FileIdentity& file, std::string_view name) {
  if (!file.inode) return Fail(EOPNOTSUPP);
  if (name.empty() || name.size() > XATTR_NAME_MAX) return Fail(ERANGE);
  USL_TRY_VOID(CheckAccess(context.credentials, *file.inode, name, kMayRead));
  USL_TRY_VOID(CheckName(name));
  if (IsAcl(name) && file.inode->IsSymlink()) return Fail(EOPNOTSUPP);
  return file.inode->GetXattr(name);
}

Result<void> Vfs::SetXattr(const Context& context, const FileIdentity& file, std::string_view name,
                           std::span<const std::byte> value, int flags) {
  if (flags & ~(XATTR_CREATE | XATTR_REPLACE)) return Fail(EINVAL);
  if (name.empty() || name.size() > XATTR_NAME_MAX) return Fail(ERANGE);
  if (value.size() > XATTR_SIZE_MAX) return Fail(E2BIG);
  if (!file.inode) return Fail(EOPNOTSUPP);
  Inode& inode = *file.inode;
  USL_TRY_VOID(CheckChangeable(file));
  if (IsAcl(name)) {
    // No value at all removes the list.
    const PosixAcl acl = value.empty() ? PosixAcl() : USL_TRY(PosixAcl::ParseEntries(value));
    return ChangeAcl(context.credentials, inode, name, acl);
  }
  if (name == kFileCapabilities) {
    USL_TRY_VOID(CheckFileCapabilities(value));
    if (!inode.IsRegular() && inode.type() != S_IFLNK && !context.credentials.Has(CAP_SETFCAP)) return Fail(EPERM);
  }
  USL_TRY_VOID(CheckAccess(context.credentials, inode, name, kMayWrite));
  USL_TRY_VOID(CheckSecurity(context.credentials, name));
  USL_TRY_VOID(CheckName(name));
  return inode.SetXattr(name, value, flags);
}

Result<void> Vfs::RemoveXattr(const Context& context, const FileIdentity& file, std::string_view name) {
  if (name.empty() || name.size() > XATTR_NAME_MAX) return Fail(ERANGE);
  if (!file.inode) return Fail(EOPNOTSUPP);
  Inode& inode = *file.inode;
  USL_TRY_VOID(CheckChangeable(file));
  if (IsAcl(name)) return ChangeAcl(context.credentials, inode, name, PosixAcl());
  USL_TRY_VOID(CheckAccess(context.credentials, inode, name, kMayWrite));
  USL_TRY_VOID(CheckSecurity(context.credentials, name));
  USL_TRY_VOID(CheckName(name));
  return inode.RemoveXattr(name);
}

Result<std::vector<std::string>> Vfs::ListXattr(const Context& context, const FileIdentity& file) {
  if (!file.inode) return Fail(EOPNOTSUPP);
  auto names = USL_TRY(file.inode->ListXattr());
  if (!context.credentials.Has(CAP_SYS_ADMIN)) {
    std::erase_if(names, [](const std::string& name) { return name.starts_with("trusted."); });
  }
  return names;
}

}  // namespace usl::vfs
