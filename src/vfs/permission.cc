#include "vfs/permission.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/stat.h>

#include "vfs/posix_acl.h"
#include "vfs/vfs.h"

namespace usl::vfs {

namespace {

// acl_permission_check(): EACCES, or nothing.
Result<void> CheckBits(const cred::Credentials& credentials, Inode& inode, const Attributes& attributes, int mask) {
  uint32_t mode = attributes.mode;
  if (attributes.uid == credentials.fsuid) {
    // The owner's bits decide alone, whatever a list says.
    mode >>= 6;
  } else {
    if ((mode & S_IRWXG) && inode.HasAcl()) {
      if (auto blob = inode.GetXattr(kAclAccess)) {
        auto acl = PosixAcl::Parse(*blob);
        // A list that cannot be read must not grant anything.
        if (!acl) return Fail(EACCES);
        if (!acl->empty()) return acl->CheckPermission(credentials, attributes.uid, attributes.gid, mask);
      }
    }
    // Group membership is looked up only where the answer depends on it.
    if ((mask & (mode ^ (mode >> 3))) && credentials.InGroup(attributes.gid)) mode >>= 3;
  }
  if (mask & ~mode) return Fail(EACCES);
  return {};
}

bool Overrides(const cred::Credentials& credentials, const Inode& inode, uint32_t mode, int mask) {
  if (inode.IsDirectory()) {
    if (credentials.Has(CAP_DAC_OVERRIDE)) return true;
    return !(mask & kMayWrite) && credentials.Has(CAP_DAC_READ_SEARCH);
  }
  if (mask == kMayRead && credentials.Has(CAP_DAC_READ_SEARCH)) return true;
  // Nobody executes what has no execute bit.
  return (!(mask & kMayExec) || (mode & 0111)) && credentials.Has(CAP_DAC_OVERRIDE);
}

Result<void> CheckFileSystem(const Inode& inode, int mask) {
  if (!(mask & kMayWrite) || !inode.file_system().IsReadOnly()) return {};
  if (inode.IsRegular() || inode.IsDirectory() || inode.IsSymlink()) return Fail(EROFS);
  return {};
}

}  // namespace

Result<void> CheckInodePermission(const cred::Credentials& credentials, Inode& inode, const Attributes& attributes,
                                  int mask) {
  USL_TRY_VOID(CheckFileSystem(inode, mask));
  mask &= kMayExec | kMayWrite | kMayRead;
  auto checked = CheckBits(credentials, inode, attributes, mask);
  if (checked || Overrides(credentials, inode, attributes.mode, mask)) return {};
  return checked;
}

Result<void> CheckInodePermission(const cred::Credentials& credentials, Inode& inode, int mask) {
  // The common case of root in a directory needs no attributes.
  if (inode.IsDirectory() && credentials.Has(CAP_DAC_OVERRIDE)) return CheckFileSystem(inode, mask);
  const Attributes attributes = USL_TRY(inode.GetPermissions());
  return CheckInodePermission(credentials, inode, attributes, mask);
}

bool IsOwnerOrCapable(const cred::Credentials& credentials, const Attributes& attributes) {
  return attributes.uid == credentials.fsuid || credentials.Has(CAP_FOWNER);
}

bool InGroupOrCapable(const cred::Credentials& credentials, gid_t group) {
  return credentials.InGroup(group) || credentials.Has(CAP_FSETID);
}

bool StickyForbids(const cred::Credentials& credentials, const Attributes& directory, const Attributes& victim) {
  if (!(directory.mode & S_ISVTX)) return false;
  return victim.uid != credentials.fsuid && directory.uid != credentials.fsuid && !credentials.Has(CAP_FOWNER);
}

Result<void> CheckWritable(const Mount* mount) {
  if (mount && mount->IsReadOnly()) return Fail(EROFS);
  return {};
}

cred::Credentials RealIdCredentials(const cred::Credentials& credentials) {
  cred::Credentials real = credentials;
  real.fsuid = credentials.uid;
  real.fsgid = credentials.gid;
  if (!(credentials.securebits & (1u << SECURE_NO_SETUID_FIXUP))) {
    real.effective = credentials.uid == 0 ? credentials.permitted : 0;
  }
  return real;
}

Result<void> Vfs::CheckPermission(const cred::Credentials& credentials, Inode& inode, int mask) {
  return CheckInodePermission(credentials, inode, mask);
}

Result<void> Vfs::Access(const Context& context, const Path& path, int mode, bool effective) {
  if (mode & ~(R_OK | W_OK | X_OK)) return Fail(EINVAL);
  Inode* inode = path.inode();
  if (!inode) return Fail(ENOENT);
  if (mode == F_OK) return {};
  if ((mode & X_OK) && inode->IsRegular() && path.mount && (path.mount->flags() & MS_NOEXEC)) return Fail(EACCES);
  USL_TRY_VOID(effective ? CheckInodePermission(context.credentials, *inode, mode)
                         : CheckInodePermission(RealIdCredentials(context.credentials), *inode, mode));
  if ((mode & W_OK) && (inode->IsRegular() || inode->IsDirectory() || inode->IsSymlink())) {
    return CheckWritable(path.mount.get());
  }
  return {};
}

}  // namespace usl::vfs
