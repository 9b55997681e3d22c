// chmod(2), chown(2), utimensat(2), truncate(2): the rules of setattr_prepare() and notify_change().
#include <linux/capability.h>
#include <sys/stat.h>

#include "vfs/permission.h"
#include "vfs/posix_acl.h"
#include "vfs/vfs.h"

namespace usl::vfs {

namespace {

constexpr std::string_view kFileCapabilities = "security.capability";

// setattr_should_drop_suidgid(): the mode after somebody wrote to the file or changed its owner.
uint32_t WithoutSetId(const cred::Credentials& credentials, const Attributes& attributes) {
  uint32_t mode = attributes.mode & ~uint32_t{S_ISUID};
  if ((mode & S_ISGID) && ((mode & S_IXGRP) || !InGroupOrCapable(credentials, attributes.gid))) {
    mode &= ~uint32_t{S_ISGID};
  }
  return mode;
}

Result<void> DropFileCapabilities(Inode& inode) {
  if (!inode.HasFileCapabilities() || !inode.GetXattr(kFileCapabilities)) return {};
  return inode.RemoveXattr(kFileCapabilities);
}

// An access list goes along with the permission bits.
Result<void> SyncAccessList(Inode& inode, uint32_t mode) {
  if (!inode.HasAcl()) return {};
  auto blob = inode.GetXattr(kAclAccess);
  if (!blob) return {};
  auto acl = PosixAcl::Parse(*blob);
  if (!acl || acl->empty()) return {};
  acl->SetMode(mode);
  return inode.SetXattr(kAclAccess, acl->Serialise(), 0);
}

}  // namespace

Result<void> Vfs::DropPrivileges(const Context& context, Inode& inode) {
  USL_TRY_VOID(DropFileCapabilities(inode));
  const Attributes attributes = USL_TRY(inode.GetPermissions());
  if (!(attributes.mode & (S_ISUID | S_ISGID)) || context.credentials.Has(CAP_FSETID)) return {};
  const uint32_t mode = WithoutSetId(context.credentials, attributes);
  if (mode == attributes.mode) return {};
  return inode.SetAttributes({.mode = mode & 07777});
}

Result<void> Vfs::ChangeMode(const Context& context, const FileIdentity& file, mode_t mode) {
  if (!file.inode) return Fail(EPERM);
  Inode& inode = *file.inode;
  USL_TRY_VOID(CheckWritable(file.path.mount.get()));
  if (inode.file_system().IsReadOnly()) return Fail(EROFS);
  const Attributes attributes = USL_TRY(inode.GetPermissions());
  if (!IsOwnerOrCapable(context.credentials, attributes)) return Fail(EPERM);
  if (inode.IsSymlink()) return Fail(EOPNOTSUPP);
  mode &= 07777;
  if (!InGroupOrCapable(context.credentials, attributes.gid)) mode &= ~mode_t{S_ISGID};
  USL_TRY_VOID(inode.SetAttributes({.mode = mode}));
  return SyncAccessList(inode, mode);
}

Result<void> Vfs::ChangeOwner(const Context& context, const FileIdentity& file, uid_t uid, gid_t gid) {
  if (!file.inode) return Fail(EPERM);
  Inode& inode = *file.inode;
  const cred::Credentials& credentials = context.credentials;
  USL_TRY_VOID(CheckWritable(file.path.mount.get()));
  if (inode.file_system().IsReadOnly()) return Fail(EROFS);
  const Attributes attributes = USL_TRY(inode.GetPermissions());
  const bool owns = attributes.uid == credentials.fsuid;
  const bool capable = credentials.Has(CAP_CHOWN);
  AttributeChange change;
  if (uid != static_cast<uid_t>(-1)) {
    if (!capable && !(owns && uid == attributes.uid)) return Fail(EPERM);
    change.uid = uid;
  }
  if (gid != static_cast<gid_t>(-1)) {
    if (!capable && !(owns && (gid == attributes.gid || credentials.InGroup(gid)))) return Fail(EPERM);
    change.gid = gid;
  }
  if (!inode.IsDirectory()) {
    const uint32_t mode = WithoutSetId(credentials, attributes);
    if (mode != attributes.mode) {
      if (!IsOwnerOrCapable(credentials, attributes)) return Fail(EPERM);
      change.mode = mode & 07777;
    }
    USL_TRY_VOID(DropFileCapabilities(inode));
  }
  return inode.SetAttributes(change);
}

Result<void> Vfs::ChangeTimes(const Context& context, const FileIdentity& file, const timespec* times) {
  if (!file.inode) return Fail(EPERM);
  Inode& inode = *file.inode;
  constexpr timespec kNow{.tv_sec = 0, .tv_nsec = UTIME_NOW};
  bool only_now = true;
  AttributeChange change{.atime = kNow, .mtime = kNow};
  if (times) {
    for (int i = 0; i < 2; ++i) {
      const bool special = times[i].tv_nsec == UTIME_NOW || times[i].tv_nsec == UTIME_OMIT;
      if (!special && (times[i].tv_nsec < 0 || times[i].tv_nsec > 999'999'999)) return Fail(EINVAL);
    }
    if (times[0].tv_nsec == UTIME_OMIT && times[1].tv_nsec == UTIME_OMIT) return {};
    only_now = times[0].tv_nsec == UTIME_NOW && times[1].tv_nsec == UTIME_NOW;
    change.atime = times[0].tv_nsec == UTIME_OMIT ? std::nullopt : std::optional(times[0]);
    change.mtime = times[1].tv_nsec == UTIME_OMIT ? std::nullopt : std::optional(times[1]);
  }
  USL_TRY_VOID(CheckWritable(file.path.mount.get()));
  if (inode.file_system().IsReadOnly()) return Fail(EROFS);
  const Attributes attributes = USL_TRY(inode.GetPermissions());
  if (!IsOwnerOrCapable(context.credentials, attributes)) {
    // Who may write the file may say "now" for both, nothing else.
    if (!only_now) return Fail(EPERM);
    USL_TRY_VOID(CheckInodePermission(context.credentials, inode, attributes, kMayWrite));
  }
  return inode.SetAttributes(change);
}

Result<void> Vfs::Truncate(const Context& context, const FileIdentity& file, uint64_t size) {
  if (!file.inode) return Fail(EINVAL);
  Inode& inode = *file.inode;
  if (inode.IsDirectory()) return Fail(EISDIR);
  if (!inode.IsRegular()) return Fail(EINVAL);
  if (size > static_cast<uint64_t>(INT64_MAX)) return Fail(EINVAL);
  USL_TRY_VOID(CheckInodePermission(context.credentials, inode, kMayWrite));
  USL_TRY_VOID(CheckWritable(file.path.mount.get()));
  USL_TRY_VOID(CheckNotRunning(inode));
  USL_TRY_VOID(DropPrivileges(context, inode));
  return inode.SetAttributes({.size = size});
}

}  // namespace usl::vfs
