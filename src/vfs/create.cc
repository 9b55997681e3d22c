// Calls that make a name: mkdir(2), mknod(2), symlink(2), link(2) and the node of bind(2); what a new inode gets.
#include "vfs/create.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <sys/stat.h>

#include "vfs/path_walk.h"
#include "vfs/permission.h"
#include "vfs/posix_acl.h"

namespace usl::vfs {

namespace {

constexpr uint32_t kAllBits = 07777;  // S_IALLUGO

// The directory and the free name that a new file gets (filename_create() of Linux).
Result<void> CheckFree(const Dentry& child, const PathWalker& walker, bool is_directory) {
  if (!child.IsNegative()) return Fail(EEXIST);
  if (walker.has_trailing_slash() && !is_directory) return Fail(ENOENT);
  return CheckWritable(&walker.mount());
}

// fs.protected_hardlinks: who may not read and write a file, or does not own a set-id one, may not link to it.
Result<void> CheckMayLink(const Context& context, Inode& source) {
  const Attributes attributes = USL_TRY(source.GetPermissions());
  if (IsOwnerOrCapable(context.credentials, attributes)) return {};
  const bool set_gid_executable = (attributes.mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP);
  if (!source.IsRegular() || (attributes.mode & S_ISUID) || set_gid_executable) return Fail(EPERM);
  if (!CheckInodePermission(context.credentials, source, attributes, kMayRead | kMayWrite)) return Fail(EPERM);
  return {};
}

}  // namespace

Result<Vfs::Creation> Vfs::PrepareCreation(const Context& context, Inode& directory, mode_t mode) {
  const Attributes parent = USL_TRY(directory.GetPermissions());
  Creation creation;
  NewInode& spec = creation.spec;
  spec.mode = mode;
  spec.uid = context.credentials.fsuid;
  spec.gid = context.credentials.fsgid;
  if (parent.mode & S_ISGID) {
    spec.gid = parent.gid;
    if (S_ISDIR(mode)) {
      spec.mode |= S_ISGID;
    } else if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
               !InGroupOrCapable(context.credentials, parent.gid)) {
      spec.mode &= ~uint32_t{S_ISGID};
    }
  }
  if (S_ISLNK(mode)) return creation;
  if (directory.HasAcl()) {
    auto blob = directory.GetXattr(kAclDefault);
    auto acl = blob ? PosixAcl::Parse(*blob) : PosixAcl();
    if (acl && !acl->empty()) {
      if (S_ISDIR(mode)) creation.default_acl = std::move(*blob);
      acl->ApplyCreationMode(spec.mode);
      if (!acl->EquivalentMode()) creation.access_acl = acl->Serialise();
      return creation;
    }
  }
  spec.mode &= ~uint32_t{context.umask & 0777};
  return creation;
}

Result<void> Vfs::Creation::ApplyLists(Inode& inode) const {
  if (!access_acl.empty()) USL_TRY_VOID(inode.SetXattr(kAclAccess, access_acl, 0));
  if (!default_acl.empty()) USL_TRY_VOID(inode.SetXattr(kAclDefault, default_acl, 0));
  return {};
}

Result<Ref<Inode>> Vfs::CreateIn(const Context& context, const Ref<Dentry>& directory, std::string_view name,
                                 mode_t mode, dev_t device, std::string_view symlink_target, Opening* opening) {
  if (!directory->IsLinked()) return Fail(ENOENT);
  Creation creation = USL_TRY(PrepareCreation(context, *directory->inode(), mode));
  creation.spec.rdev = device;
  creation.spec.symlink_target = symlink_target;
  Inode& parent = *directory->inode();
  if (!opening) {
    auto inode = USL_TRY(parent.Create(name, creation.spec));
    USL_TRY_VOID(creation.ApplyLists(*inode));
    return inode;
  }
  auto inode = parent.CreateOpened(name, creation.spec, opening->flags, &opening->fd);
  opening->made = inode || opening->fd;
  if (!inode) return inode;
  USL_TRY_VOID(creation.ApplyLists(**inode));
  return inode;
}

Result<Path> Vfs::CreateAt(const Context& context, const Location& location, mode_t mode, dev_t device,
                           std::string_view symlink_target) {
  PathWalker walker(*this, context, 0);
  USL_TRY_VOID(walker.WalkToParent(location));
  if (walker.last_type() != PathWalker::Last::kNormal) return Fail(EEXIST);
  const Path& parent = walker.parent();
  auto child = USL_TRY(LookupIn(context, parent.dentry, walker.last()));
  USL_TRY_VOID(CheckFree(*child, walker, S_ISDIR(mode)));
  if (!parent.dentry->IsLinked()) return Fail(ENOENT);
  USL_TRY_VOID(CheckInodePermission(context.credentials, *parent.inode(), kMayWrite | kMayExec));
  // The 0,0 character device is a whiteout, which needs no privilege.
  if ((S_ISBLK(mode) || (S_ISCHR(mode) && device != 0)) && !context.credentials.Has(CAP_MKNOD)) return Fail(EPERM);
  auto inode = USL_TRY(CreateIn(context, parent.dentry, walker.last(), mode, device, symlink_target));
  return Path{parent.mount, dentries_.Insert(parent.dentry, walker.last(), std::move(inode))};
}

Result<void> Vfs::MakeDirectory(const Context& context, const Location& location, mode_t mode) {
  USL_TRY_VOID(CreateAt(context, location, S_IFDIR | (mode & (0777 | S_ISVTX)), 0, {}));
  return {};
}

Result<void> Vfs::MakeNode(const Context& context, const Location& location, mode_t mode, dev_t device) {
  mode_t type = mode & S_IFMT;
  switch (type) {
    case 0: type = S_IFREG; [[fallthrough]];
    case S_IFREG:
    case S_IFIFO:
    case S_IFSOCK: device = 0; break;
    case S_IFCHR:
    case S_IFBLK: break;
    case S_IFDIR: return Fail(EPERM);
    default: return Fail(EINVAL);
  }
  USL_TRY_VOID(CreateAt(context, location, type | (mode & kAllBits), device, {}));
  return {};
}

Result<Path> Vfs::MakeSocket(const Context& context, const Location& location, mode_t mode) {
  auto path = CreateAt(context, location, S_IFSOCK | (mode & 0777), 0, {});
  if (!path && path.error().code() == EEXIST) return Fail(EADDRINUSE);
  return path;
}

Result<void> Vfs::MakeSymlink(const Context& context, const Location& location, std::string_view target) {
  if (target.empty()) return Fail(ENOENT);
  if (target.size() >= PATH_MAX) return Fail(ENAMETOOLONG);
  USL_TRY_VOID(CreateAt(context, location, S_IFLNK | 0777, 0, target));
  return {};
}

Result<void> Vfs::Link(const Context& context, const Location& old_location, const Location& new_location,
                       int at_flags) {
  if (at_flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) return Fail(EINVAL);
  Location source = old_location;
  source.allow_empty = at_flags & AT_EMPTY_PATH;
  if (source.allow_empty && source.path.empty() && !context.credentials.Has(CAP_DAC_READ_SEARCH)) return Fail(ENOENT);
  Path path = USL_TRY(Walk(context, source, (at_flags & AT_SYMLINK_FOLLOW) ? 0u : kNoFollow));
  return LinkTo(context, path, new_location);
}

Result<void> Vfs::LinkInode(const Context& context, const FileIdentity& file, const Location& new_location) {
  if (!file.inode) return Fail(EXDEV);
  // The working directory (AT_FDCWD) needs no capability to be refused as a directory is.
  if (!file.inode->IsDirectory() && !context.credentials.Has(CAP_DAC_READ_SEARCH)) return Fail(ENOENT);
  return LinkTo(context, file.path, new_location);
}

Result<void> Vfs::LinkTo(const Context& context, const Path& source, const Location& new_location) {
  PathWalker walker(*this, context, 0);
  USL_TRY_VOID(walker.WalkToParent(new_location));
  if (walker.last_type() != PathWalker::Last::kNormal) return Fail(EEXIST);
  const Path& parent = walker.parent();
  auto child = USL_TRY(LookupIn(context, parent.dentry, walker.last()));
  USL_TRY_VOID(CheckFree(*child, walker, false));
  // What was opened is known by its primary mount only (Identify), so an unnamed file is held to its file system.
  const bool same_mount = source.mount == parent.mount || !source.dentry->IsLinked();
  Ref<Inode> inode = source.dentry->inode();
  if (!same_mount || &inode->file_system() != &parent.inode()->file_system()) return Fail(EXDEV);
  if (protection_.hardlinks != 0) USL_TRY_VOID(CheckMayLink(context, *inode));
  if (!parent.dentry->IsLinked()) return Fail(ENOENT);
  USL_TRY_VOID(CheckInodePermission(context.credentials, *parent.inode(), kMayWrite | kMayExec));
  if (inode->IsDirectory()) return Fail(EPERM);
  if (!source.dentry->IsLinked() && !inode->linkable_) {
    const Attributes attributes = USL_TRY(inode->GetAttributes());
    if (attributes.nlink == 0) return Fail(ENOENT);
  }
  USL_TRY_VOID(parent.inode()->Link(walker.last(), *inode));
  inode->linkable_ = false;
  dentries_.Insert(parent.dentry, walker.last(), std::move(inode));
  return {};
}

}  // namespace usl::vfs
