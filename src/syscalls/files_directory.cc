// Names in directories, and a task's place in the tree.
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "syscalls/arguments.h"
#include "syscalls/copy.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {
namespace {

constexpr int kMayExec = 1;
// More than any program asks for; what the kernel holds for one getdents call is bounded by it.
constexpr size_t kMaxDirentBuffer = 256 * 1024;

Result<Reply> MakeDirectoryAt(SyscallContext& context, int dirfd_index, int path_index) {
  const PathArgument path = USL_TRY(ReadPath(context, dirfd_index, path_index));
  const mode_t mode = context.UintArg(path_index + 1) & (ACCESSPERMS | S_ISVTX);
  return Done(context.vfs().MakeDirectory(context.FsView(), path.location(), mode));
}

Result<Reply> MakeNodeAt(SyscallContext& context, int dirfd_index, int path_index) {
  mode_t mode = context.UintArg(path_index + 1) & 0xffff;
  switch (mode & S_IFMT) {
    case 0: mode |= S_IFREG; break;
    case S_IFREG:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK: break;
    case S_IFDIR: return Fail(EPERM);
    default: return Fail(EINVAL);
  }
  const PathArgument path = USL_TRY(ReadPath(context, dirfd_index, path_index));
  const bool is_device = S_ISCHR(mode) || S_ISBLK(mode);
  const dev_t device = is_device ? DecodeDevice(context.UintArg(path_index + 2)) : 0;
  return Done(context.vfs().MakeNode(context.FsView(), path.location(), mode, device));
}

Result<Reply> UnlinkAt(SyscallContext& context, int dirfd_index, int path_index) {
  const PathArgument path = USL_TRY(ReadPath(context, dirfd_index, path_index));
  return Done(context.vfs().Unlink(context.FsView(), path.location()));
}

Result<Reply> RemoveDirectoryAt(SyscallContext& context, int dirfd_index, int path_index) {
  const PathArgument path = USL_TRY(ReadPath(context, dirfd_index, path_index));
  return Done(context.vfs().RemoveDirectory(context.FsView(), path.location()));
}

Result<Reply> RenameAt(SyscallContext& context, int old_dirfd, int old_path, int new_dirfd, int new_path,
                       unsigned flags) {
  if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) return Fail(EINVAL);
  if ((flags & RENAME_EXCHANGE) && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT))) return Fail(EINVAL);
  const PathArgument from = USL_TRY(ReadPath(context, old_dirfd, old_path));
  const auto to_argument = ReadPath(context, new_dirfd, new_path);
  if (!to_argument) {
    // The old path is walked before the new one is looked at, so its errors come first.
    USL_TRY_VOID(context.vfs().Walk(context.FsView(), from.location(), vfs::Vfs::kParent));
    return Fail(to_argument.error());
  }
  const PathArgument& to = *to_argument;
  return Done(context.vfs().Rename(context.FsView(), from.location(), to.location(), flags));
}

Result<Reply> LinkAt(SyscallContext& context, int old_dirfd, int old_path, int new_dirfd, int new_path, int flags) {
  if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) return Fail(EINVAL);
  std::string old_text = USL_TRY(context.PathArg(old_path));
  const bool by_descriptor = (flags & AT_EMPTY_PATH) && !old_text.starts_with('/') && old_dirfd != kNoDirfd &&
                             context.IntArg(old_dirfd) != AT_FDCWD;
  if (by_descriptor && !context.credentials().Has(CAP_DAC_READ_SEARCH)) {
    // Linking by descriptor could give a name to a file that was only handed over: it needs a capability, even where a
    // path follows (path_init() of Linux).
    USL_TRY_VOID(context.DuplicateFd(context.IntArg(old_dirfd)));
    return Fail(ENOENT);
  }
  if (old_text.empty() && (flags & AT_EMPTY_PATH)) {
    const Target target = USL_TRY(TargetByDirfd(context, context.IntArg(old_dirfd)));
    const PathArgument to = USL_TRY(ReadPath(context, new_dirfd, new_path));
    if (target.IsNative()) return Fail(EXDEV);
    return Done(context.vfs().LinkInode(context.FsView(), target.file, to.location()));
  }
  const PathArgument from = USL_TRY(PathFrom(context, old_dirfd, std::move(old_text)));
  const auto to_argument = ReadPath(context, new_dirfd, new_path);
  if (!to_argument) {
    const unsigned walk = flags & AT_SYMLINK_FOLLOW ? 0u : unsigned{vfs::Vfs::kNoFollow};
    USL_TRY_VOID(context.vfs().Walk(context.FsView(), from.location(), walk));
    return Fail(to_argument.error());
  }
  const PathArgument& to = *to_argument;
  return Done(context.vfs().Link(context.FsView(), from.location(), to.location(), flags & AT_SYMLINK_FOLLOW));
}

Result<Reply> MakeSymlinkAt(SyscallContext& context, int target_index, int dirfd_index, int path_index) {
  const std::string target = USL_TRY(context.PathArg(target_index));
  if (target.empty()) return Fail(ENOENT);
  const PathArgument path = USL_TRY(ReadPath(context, dirfd_index, path_index));
  return Done(context.vfs().MakeSymlink(context.FsView(), path.location(), target));
}

Result<Reply> ChangeDirectory(SyscallContext& context, const vfs::Path& path) {
  if (!path || !path.inode()->IsDirectory()) return Fail(ENOTDIR);
  USL_TRY_VOID(context.vfs().CheckPermission(context.credentials(), *path.inode(), kMayExec));
  context.task().fs()->cwd = path;
  return 0;
}

Result<Reply> ReadEntries(SyscallContext& context, DirentPacker::Layout layout) {
  const Target target = USL_TRY(TargetByFd(context, context.IntArg(0), false));
  if (target.IsNative() || !target.file.inode->IsDirectory()) return Fail(ENOTDIR);
  DirentPacker packer(layout, std::min<size_t>(context.UintArg(2), kMaxDirentBuffer));
  // The cursor is the position of the guest's own description; an unusable buffer must leave it where it was.
  const off_t cursor = lseek(target.fd.get(), 0, SEEK_CUR);
  if (cursor >= 0) packer.position = static_cast<uint64_t>(cursor);
  USL_TRY_VOID(context.vfs().ReadDirectory(target.file, target.fd.get(), packer));
  if (packer.IsTooSmall()) return Fail(EINVAL);
  const auto written = context.memory().Write(context.AddressArg(1), packer.bytes().data(), packer.bytes().size());
  if (!written) {
    if (cursor >= 0) lseek(target.fd.get(), cursor, SEEK_SET);
    return Fail(written.error());
  }
  return static_cast<int64_t>(packer.bytes().size());
}

}  // namespace

Result<Reply> sys_mkdir(SyscallContext& context) {
  return MakeDirectoryAt(context, kNoDirfd, 0);
}
Result<Reply> sys_mkdirat(SyscallContext& context) {
  return MakeDirectoryAt(context, 0, 1);
}
Result<Reply> sys_mknod(SyscallContext& context) {
  return MakeNodeAt(context, kNoDirfd, 0);
}
Result<Reply> sys_mknodat(SyscallContext& context) {
  return MakeNodeAt(context, 0, 1);
}
Result<Reply> sys_rmdir(SyscallContext& context) {
  return RemoveDirectoryAt(context, kNoDirfd, 0);
}
Result<Reply> sys_unlink(SyscallContext& context) {
  return UnlinkAt(context, kNoDirfd, 0);
}

Result<Reply> sys_unlinkat(SyscallContext& context) {
  const int flags = context.IntArg(2);
  if (flags & ~AT_REMOVEDIR) return Fail(EINVAL);
  return flags & AT_REMOVEDIR ? RemoveDirectoryAt(context, 0, 1) : UnlinkAt(context, 0, 1);
}

Result<Reply> sys_rename(SyscallContext& context) {
  return RenameAt(context, kNoDirfd, 0, kNoDirfd, 1, 0);
}
Result<Reply> sys_renameat(SyscallContext& context) {
  return RenameAt(context, 0, 1, 2, 3, 0);
}
Result<Reply> sys_renameat2(SyscallContext& context) {
  return RenameAt(context, 0, 1, 2, 3, context.UintArg(4));
}

Result<Reply> sys_link(SyscallContext& context) {
  return LinkAt(context, kNoDirfd, 0, kNoDirfd, 1, 0);
}
Result<Reply> sys_linkat(SyscallContext& context) {
  return LinkAt(context, 0, 1, 2, 3, context.IntArg(4));
}

Result<Reply> sys_symlink(SyscallContext& context) {
  return MakeSymlinkAt(context, 0, kNoDirfd, 1);
}
Result<Reply> sys_symlinkat(SyscallContext& context) {
  return MakeSymlinkAt(context, 0, 1, 2);
}

Result<Reply> sys_chdir(SyscallContext& context) {
  const PathArgument argument = USL_TRY(ReadPath(context, kNoDirfd, 0));
  return ChangeDirectory(context,
                         USL_TRY(context.vfs().Walk(context.FsView(), argument.location(), vfs::Vfs::kDirectory)));
}

Result<Reply> sys_fchdir(SyscallContext& context) {
  const Target target = USL_TRY(TargetByFd(context, context.IntArg(0), true));
  return ChangeDirectory(context, target.file.path);
}

Result<Reply> sys_chroot(SyscallContext& context) {
  const PathArgument argument = USL_TRY(ReadPath(context, kNoDirfd, 0));
  const vfs::Path path = USL_TRY(context.vfs().Walk(context.FsView(), argument.location(), vfs::Vfs::kDirectory));
  USL_TRY_VOID(context.vfs().CheckPermission(context.credentials(), *path.inode(), kMayExec));
  USL_TRY_VOID(RequireCapability(context, CAP_SYS_CHROOT));
  context.task().fs()->root = path;
  return 0;
}

Result<Reply> sys_getcwd(SyscallContext& context) {
  const kernel::FsContext& fs = *context.task().fs();
  const std::string text = USL_TRY(context.vfs().WorkingDirectoryText(fs.cwd, fs.root));
  const size_t size = text.size() + 1;
  if (size > PATH_MAX) return Fail(ENAMETOOLONG);
  if (size > context.Arg(1)) return Fail(ERANGE);
  USL_TRY_VOID(context.memory().Write(context.AddressArg(0), text.c_str(), size));
  return static_cast<int64_t>(size);
}

Result<Reply> sys_getdents(SyscallContext& context) {
  return ReadEntries(context, DirentPacker::Layout::kOld);
}
Result<Reply> sys_getdents64(SyscallContext& context) {
  return ReadEntries(context, DirentPacker::Layout::k64);
}

}  // namespace usl::syscalls
