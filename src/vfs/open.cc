// open(2), openat2(2): which flags go together, what is created, who may, and which host object the guest gets.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include "base/format.h"
#include "vfs/create.h"
#include "vfs/device_table.h"
#include "vfs/fifo.h"
#include "vfs/handle_table.h"
#include "vfs/native_object.h"
#include "vfs/path_walk.h"
#include "vfs/permission.h"

namespace usl::vfs {

namespace {

constexpr int kTmpFileBit = O_TMPFILE & ~O_DIRECTORY;  // __O_TMPFILE
constexpr int kSyncBit = O_SYNC & ~O_DSYNC;            // __O_SYNC
constexpr int kLargeFile = 0100000;                    // O_LARGEFILE of the kernel; the C library says 0
constexpr int kPathFlags = O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC;
constexpr int kKnownFlags = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC |
                            O_ASYNC | O_DIRECT | kLargeFile | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC |
                            O_PATH | O_TMPFILE;
constexpr uint64_t kKnownResolve =
    RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_CACHED;
// What concerns the opening alone is not handed to a file system, whose host file may be named in another way.
constexpr int kVfsFlags = O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | kTmpFileBit;

bool Creates(int flags) {
  return flags & (O_CREAT | kTmpFileBit);
}

// ACC_MODE(): the permissions that an open asks for. Access mode 3 (ioctl only) asks for both.
int RequiredAccess(int flags) {
  constexpr int kByMode[] = {kMayRead, kMayWrite, kMayRead | kMayWrite, kMayRead | kMayWrite};
  return kByMode[flags & O_ACCMODE] | ((flags & O_TRUNC) ? kMayWrite : 0);
}

bool OpensForWriting(int flags) {
  const int access = flags & O_ACCMODE;
  return access == O_WRONLY || access == O_RDWR;
}

// build_open_how(): what open(2) makes of flags that it does not know or that O_PATH makes meaningless.
int Normalised(int flags) {
  flags &= kKnownFlags;
  if (flags & O_PATH) flags &= kPathFlags;
  if (flags & kSyncBit) flags |= O_DSYNC;
  return flags;
}

// build_open_flags(): what does not go together.
Result<void> CheckFlags(int flags) {
  if ((flags & (O_DIRECTORY | O_CREAT)) == (O_DIRECTORY | O_CREAT)) return Fail(EINVAL);
  if (flags & kTmpFileBit) {
    if (!(flags & O_DIRECTORY) || !(RequiredAccess(flags & O_ACCMODE) & kMayWrite)) return Fail(EINVAL);
  }
  if ((flags & O_PATH) && (flags & ~kPathFlags)) return Fail(EINVAL);
  return {};
}

// fs.protected_regular and fs.protected_fifos: O_CREAT in a sticky directory that others may write to does not open
// somebody else's file (proc_sys_fs(5)). Like Linux's may_create_in_sticky(), for all other types too.
Result<void> CheckMayCreateOver(const Context& context, const Protection& protection, Inode& directory, Inode& file) {
  const bool has_level = file.IsRegular() || file.type() == S_IFIFO;
  const int level = file.IsRegular() ? protection.regular : protection.fifos;
  if (has_level && level == 0) return {};
  const Attributes parent = USL_TRY(directory.GetPermissions());
  if (!(parent.mode & S_ISVTX)) return {};
  const Attributes attributes = USL_TRY(file.GetPermissions());
  if (attributes.uid == parent.uid || attributes.uid == context.credentials.fsuid) return {};
  if ((parent.mode & S_IWOTH) || (has_level && (parent.mode & S_IWGRP) && level >= 2)) return Fail(EACCES);
  return {};
}

// Reading is native, so that a mount without access times has to be told to the host.
int AccessTimeFlag(const Mount& mount) {
  return mount.flags() & MS_NOATIME ? O_NOATIME : 0;
}

// may_open() of Linux, with the read-only check of the mount that follows it.
Result<void> CheckMayOpen(const Context& context, const Path& path, int flags) {
  Inode& inode = *path.inode();
  int access = RequiredAccess(flags);
  switch (inode.type()) {
    case S_IFLNK: return Fail(ELOOP);
    case S_IFDIR:
      if (access & kMayWrite) return Fail(EISDIR);
      break;
    case S_IFBLK:
    case S_IFCHR:
      if (path.mount && (path.mount->flags() & MS_NODEV)) return Fail(EACCES);
      break;
    case S_IFREG:
      if (flags & O_TRUNC) USL_TRY_VOID(CheckWritable(path.mount.get()));
      break;
    default: break;
  }
  USL_TRY_VOID(CheckInodePermission(context.credentials, inode, access));
  if (flags & O_NOATIME) {
    const Attributes attributes = USL_TRY(inode.GetPermissions());
    if (!IsOwnerOrCapable(context.credentials, attributes)) return Fail(EPERM);
  }
  if (inode.IsRegular() && OpensForWriting(flags)) return CheckWritable(path.mount.get());
  return {};
}

}  // namespace

Result<OpenHow> Vfs::CheckOpenHow(const struct open_how& how) {
  if (how.flags & ~static_cast<uint64_t>(kKnownFlags)) return Fail(EINVAL);
  if (how.resolve & ~kKnownResolve) return Fail(EINVAL);
  if ((how.resolve & RESOLVE_BENEATH) && (how.resolve & RESOLVE_IN_ROOT)) return Fail(EINVAL);
  const int flags = static_cast<int>(how.flags);
  if (how.mode & ~uint64_t{Creates(flags) ? 07777u : 0u}) return Fail(EINVAL);
  USL_TRY_VOID(CheckFlags(flags));
  return OpenHow{flags, static_cast<mode_t>(how.mode), how.resolve};
}

Result<void> Vfs::CheckOpenFlags(int flags) {
  return CheckFlags(Normalised(flags));
}

Result<OpenedFile> Vfs::Open(const Context& context, const Location& location, const OpenHow& how) {
  const int flags = Normalised(how.flags);
  USL_TRY_VOID(CheckFlags(flags));
  if ((how.resolve & RESOLVE_CACHED) && (flags & (O_TRUNC | O_CREAT | kTmpFileBit))) return Fail(EAGAIN);
  PathWalker walker(*this, context, how.resolve);
  USL_TRY_VOID(walker.WalkToParent(location));
  if (flags & kTmpFileBit) return OpenUnnamed(context, walker, flags, how.mode & 07777);
  return OpenLast(context, walker, flags, how.mode & 07777);
}

Result<OpenedFile> Vfs::OpenLast(const Context& context, PathWalker& walker, int flags, mode_t mode) {
  const bool creates = flags & O_CREAT;
  const bool exclusive = creates && (flags & O_EXCL);
  if (creates) walker.RefuseTrailingSlash();
  if (creates && MayCreateUnseen(walker)) {
    // Most of what is opened so is new. What keeps it from being made is found out again below, in Linux's order.
    bool made = false;
    auto opened = CreateUnseen(context, walker.parent(), walker.last(), flags, mode, &made);
    if (opened || made) return opened;
  }
  USL_TRY_VOID(walker.WalkLast(!(flags & O_NOFOLLOW) && !exclusive, creates));
  Path path = walker.path();
  bool created = false;
  if (path.dentry->IsNegative()) {
    const Path& parent = walker.parent();
    if (!parent.dentry->IsLinked()) return Fail(ENOENT);
    USL_TRY_VOID(CheckWritable(parent.mount.get()));
    USL_TRY_VOID(CheckInodePermission(context.credentials, *parent.inode(), kMayWrite | kMayExec));
    Opening opening{ObjectFlags(parent, S_IFREG, flags & ~O_TRUNC), UniqueFd()};
    auto inode = CreateIn(context, parent.dentry, walker.last(), S_IFREG | mode, 0, {}, &opening);
    created = inode.has_value();
    if (inode && opening.fd) {
      path = Path{parent.mount, dentries_.Insert(parent.dentry, walker.last(), std::move(*inode))};
      return OpenedFile{std::move(opening.fd), std::move(path)};
    }
    if (inode) {
      path = Path{parent.mount, dentries_.Insert(parent.dentry, walker.last(), std::move(*inode))};
    } else {
      // The host made the name in between: it is opened as any that exists.
      if (inode.error().code() != EEXIST || exclusive) return Fail(inode.error());
      path = Path{parent.mount, USL_TRY(LookupIn(context, parent.dentry, walker.last()))};
      if (path.dentry->IsNegative()) return Fail(EEXIST);
    }
  }
  if (creates && !created) {
    if (exclusive) return Fail(EEXIST);
    if (path.inode()->IsDirectory()) return Fail(EISDIR);
    if (walker.parent().inode()) {
      USL_TRY_VOID(CheckMayCreateOver(context, protection_, *walker.parent().inode(), *path.inode()));
    }
  }
  return OpenFound(context, path, flags, created, walker.TakeReopen());
}

// Whether a name that nobody has looked up yet can be made without doing so.
bool Vfs::MayCreateUnseen(const PathWalker& walker) {
  if (walker.last_type() != PathWalker::Last::kNormal || walker.has_trailing_slash()) return false;
  const Path& parent = walker.parent();
  return parent.inode() && parent.inode()->CreateLooksUp() && walker.last().size() <= NAME_MAX &&
         !dentries_.FindRaw(*parent.dentry, walker.last());
}

Result<OpenedFile> Vfs::CreateUnseen(const Context& context, const Path& parent, std::string_view name, int flags,
                                     mode_t mode, bool* made) {
  USL_TRY_VOID(CheckWritable(parent.mount.get()));
  USL_TRY_VOID(CheckInodePermission(context.credentials, *parent.inode(), kMayWrite | kMayExec));
  Opening opening{ObjectFlags(parent, S_IFREG, flags & ~O_TRUNC), UniqueFd()};
  auto inode = CreateIn(context, parent.dentry, name, S_IFREG | mode, 0, {}, &opening);
  *made = opening.made;
  if (!inode) return Fail(inode.error());
  Path path{parent.mount, dentries_.Insert(parent.dentry, name, std::move(*inode))};
  if (!opening.fd) return OpenFound(context, path, flags, true, UniqueFd());
  return OpenedFile{std::move(opening.fd), std::move(path)};
}

Result<OpenedFile> Vfs::OpenUnnamed(const Context& context, PathWalker& walker, int flags, mode_t mode) {
  USL_TRY_VOID(walker.WalkLast(!(flags & O_NOFOLLOW), false));
  const Path directory = walker.path();
  if (!directory.inode()->IsDirectory()) return Fail(ENOTDIR);
  USL_TRY_VOID(CheckWritable(directory.mount.get()));
  USL_TRY_VOID(CheckInodePermission(context.credentials, *directory.inode(), kMayWrite | kMayExec));
  if (!directory.dentry->IsLinked()) return Fail(ENOENT);
  Creation creation = USL_TRY(PrepareCreation(context, *directory.inode(), S_IFREG | mode));
  Ref<Inode> inode = USL_TRY(directory.inode()->CreateUnnamed(creation.spec, !(flags & O_EXCL)));
  USL_TRY_VOID(creation.ApplyLists(*inode));
  inode->linkable_ = !(flags & O_EXCL);
  const Attributes attributes = USL_TRY(inode->GetAttributes());
  Path path{directory.mount, MakeRef<Dentry>(directory.dentry, format("#{}", attributes.ino), inode, false)};
  OpenedFile opened;
  // O_DIRECTORY belongs to the flag, not to the file that it made.
  opened.fd = USL_TRY(inode->Open(flags & ~(kVfsFlags | O_DIRECTORY), context));
  opened.path = std::move(path);
  return opened;
}

Result<OpenedFile> Vfs::OpenPath(const Context& context, const Path& path, int flags) {
  flags &= kKnownFlags & ~(O_CREAT | O_EXCL | kTmpFileBit);
  if (flags & O_PATH) flags &= kPathFlags;
  if (!path.inode()) return Fail(ENOENT);
  return OpenFound(context, path, flags, false, UniqueFd());
}

Result<OpenedFile> Vfs::OpenFound(const Context& context, const Path& path, int flags, bool created, UniqueFd reopen) {
  Ref<Inode> inode = path.dentry->inode();
  if ((flags & O_DIRECTORY) && !inode->IsDirectory()) return Fail(ENOTDIR);
  OpenedFile opened;
  if (path.mount != native_mount_) opened.path = path;
  if (created) {
    // Who creates a file may open it whatever its mode says.
    flags &= ~O_TRUNC;
  } else if (!(flags & O_PATH)) {
    USL_TRY_VOID(CheckMayOpen(context, path, flags));
    if (!inode->IsRegular()) flags &= ~O_TRUNC;
    if (inode->IsRegular() && (OpensForWriting(flags) || (flags & O_TRUNC))) {
      USL_TRY_VOID(CheckNotRunning(*inode));
      USL_TRY_VOID(DropPrivileges(context, *inode));
    }
  }
  if (inode->type() == S_IFIFO && !(flags & O_PATH) && path.mount != native_mount_) {
    FifoOpened end = USL_TRY(fifos_->Open(inode, flags));
    opened.fd = std::move(end.fd);
    opened.would_block = static_cast<bool>(end.ticket);
    opened.fifo = std::move(end.ticket);
    return opened;
  }
  opened.fd = USL_TRY(OpenObject(context, path, flags, std::move(reopen)));
  return opened;
}

// deny_write_access() of Linux. The host cannot tell: there the loader is what runs.
Result<void> Vfs::CheckNotRunning(Inode& inode) {
  if (!inode.may_be_running_) return {};
  if (runs_ && runs_(inode)) return Fail(ETXTBSY);
  inode.may_be_running_ = false;
  return {};
}

Result<UniqueFd> Vfs::OpenObject(const Context& context, const Path& path, int flags, UniqueFd reopen) {
  Inode& inode = *path.inode();
  const int object_flags = flags & ~kVfsFlags;
  if (path.mount == native_mount_) return inode.Open(object_flags, context);
  // A removed file has no host name to be opened by; permission was checked on the inode.
  if (reopen && inode.IsRegular()) return ReopenHostFile(reopen.get(), object_flags);
  const bool is_path = flags & O_PATH;
  if (inode.IsDirectory() || is_path) {
    if (path.mount->id() == path.mount->file_system().home_mount_) {
      auto fd = inode.Open(object_flags | AccessTimeFlag(*path.mount), context);
      if (fd || fd.error().code() != EOPNOTSUPP) return fd;
    }
    return inode.IsDirectory() ? handles_->OpenDirectory(path, flags) : handles_->OpenNode(path);
  }
  switch (inode.type()) {
    case S_IFSOCK: return Fail(ENXIO);
    case S_IFCHR:
    case S_IFBLK: {
      const Attributes attributes = USL_TRY(inode.GetAttributes());
      return devices_->Open(inode.type(), attributes.rdev, path, object_flags, context);
    }
    default: break;
  }
  return inode.Open(ObjectFlags(path, inode.type(), flags), context);
}

// What the file system is told to open a file with that is at, or directly in, `place`.
int Vfs::ObjectFlags(const Path& place, uint32_t type, int flags) {
  // The mark for Identify, which cannot know the mount: a bit that open(2) leaves in the flags of an open file, that
  // fcntl(2) does not change and that does nothing there.
  const unsigned restrictions = type == S_IFREG ? place.mount->flags() & kRestrictions : 0;
  bool is_marked = false;
  if (restrictions) {
    const auto seen_by = MountFor(place.mount->file_system(), place.mount->name_space(), *place.dentry);
    is_marked = restrictions & ~seen_by->flags();
  }
  return (flags & ~kVfsFlags) | AccessTimeFlag(*place.mount) | (is_marked ? O_NOFOLLOW : 0);
}

}  // namespace usl::vfs
