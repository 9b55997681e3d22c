// Who may do what to an inode (path_resolution(7), capabilities(7)): owner, group, other, access lists, capabilities.
#pragma once

#include "base/result.h"
#include "cred/credentials.h"
#include "vfs/attributes.h"
#include "vfs/file_system.h"
#include "vfs/mount.h"

namespace usl::vfs {

inline constexpr int kMayExec = 1;
inline constexpr int kMayWrite = 2;
inline constexpr int kMayRead = 4;

// inode_permission(): EACCES, or EROFS for writing to a file of a read-only file system.
Result<void> CheckInodePermission(const cred::Credentials& credentials, Inode& inode, int mask);
// The same where the attributes are at hand already.
Result<void> CheckInodePermission(const cred::Credentials& credentials, Inode& inode, const Attributes& attributes,
                                  int mask);

// inode_owner_or_capable(): the owner by fsuid, or CAP_FOWNER.
bool IsOwnerOrCapable(const cred::Credentials& credentials, const Attributes& attributes);
// in_group_or_capable(): a member of `group`, or CAP_FSETID: may keep the set-group-id bit.
bool InGroupOrCapable(const cred::Credentials& credentials, gid_t group);
// check_sticky(): does the sticky bit of `directory` keep the caller from removing `victim`?
bool StickyForbids(const cred::Credentials& credentials, const Attributes& directory, const Attributes& victim);

// EROFS when the mount (which may be null) or its file system is read-only.
Result<void> CheckWritable(const Mount* mount);

// The credentials that access(2) asks about: real ids, and root's capabilities by the real uid.
cred::Credentials RealIdCredentials(const cred::Credentials& credentials);

}  // namespace usl::vfs
