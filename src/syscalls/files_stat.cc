// stat and its relatives: what a file is, whether it may be used, what a link says, what its file system is like.
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>

#include "cred/identity.h"
#include "kernel/fast_path.h"
#include "kernel/kernel.h"
#include "syscalls/arguments.h"
#include "syscalls/copy.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {
namespace {

// Pipes, sockets and the like belong, for the guest, to whoever asks: the host's owner means nothing to it.
Result<struct stat> StatNative(const SyscallContext& context, const UniqueFd& fd) {
  struct stat status {};
  if (fstat(fd.get(), &status) < 0) return FailErrno();
  status.st_uid = context.credentials().fsuid;
  status.st_gid = context.credentials().fsgid;
  return status;
}

StatxPlace PlaceOf(const Target& target) {
  StatxPlace place;
  place.device = target.file.inode->file_system().device();
  place.mount_id = target.file.path.mount->id();
  place.unique_mount_id = target.file.path.mount->unique_id();
  place.is_mount_root = target.file.path.dentry == target.file.path.mount->root();
  return place;
}

// Lets the fast path know what was found by a path.
void PublishFile(const SyscallContext& context, const Target& target, bool follow, const vfs::Attributes& attributes) {
  kernel::FastPath* fast = context.kernel().fast_path();
  if (!fast || target.text.empty()) return;
  fast->PublishFile(context, target.text, follow, target.file.path, attributes,
                    MakeStatx(attributes, PlaceOf(target), STATX_ALL));
}

Result<vfs::Attributes> AttributesOf(const Target& target) {
  return target.fd ? target.file.inode->GetAttributesOf(target.fd.get()) : target.file.inode->GetAttributes();
}

Result<struct stat> StatTarget(const SyscallContext& context, const Target& target, bool follow) {
  if (target.IsNative()) return StatNative(context, target.fd);
  const bool known = target.fd && target.file.status;
  const vfs::Attributes attributes =
      USL_TRY(known ? target.file.inode->GetAttributesFrom(*target.file.status) : AttributesOf(target));
  PublishFile(context, target, follow, attributes);
  return MakeStat(attributes, target.file.inode->file_system().device());
}

Result<Reply> StatByPath(SyscallContext& context, int dirfd_index, int path_index, int result_index,
                         TargetOptions options) {
  const Target target = USL_TRY(TargetByPath(context, dirfd_index, path_index, options));
  const struct stat status = USL_TRY(StatTarget(context, target, options.follow));
  USL_TRY_VOID(context.CopyOut(result_index, status));
  return 0;
}

Result<struct statx> StatxTarget(const SyscallContext& context, const Target& target, bool follow, unsigned mask) {
  if (target.IsNative()) {
    struct statx status {};
    if (statx(target.fd.get(), "", AT_EMPTY_PATH, mask, &status) < 0) return FailErrno();
    status.stx_uid = context.credentials().fsuid;
    status.stx_gid = context.credentials().fsgid;
    return status;
  }
  const vfs::Attributes attributes = USL_TRY(AttributesOf(target));
  PublishFile(context, target, follow, attributes);
  return MakeStatx(attributes, PlaceOf(target), mask);
}

Result<struct statfs> StatFsTarget(const SyscallContext& context, const Target& target) {
  if (target.IsNative()) {
    struct statfs status {};
    if (fstatfs(target.fd.get(), &status) < 0) return FailErrno();
    return status;
  }
  return context.vfs().StatFs(target.file.path);
}

Result<Reply> CheckAccess(SyscallContext& context, int dirfd_index, int path_index, int mode, int flags) {
  if (mode & ~(R_OK | W_OK | X_OK)) return Fail(EINVAL);
  if (flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return Fail(EINVAL);
  const bool effective = flags & AT_EACCESS;
  std::string text = USL_TRY(context.PathArg(path_index));

  // The whole walk is made with the real ids, not only the last step (access(2)).
  const vfs::Context own = context.FsView();
  const cred::Credentials real = cred::AccessCredentials(own.credentials);
  const vfs::Context view{
      effective ? own.credentials : real, own.root, own.cwd, own.umask, own.thread_group, own.thread, own.pidfd};
  if (text.empty() && (flags & AT_EMPTY_PATH)) {
    const Target target =
        USL_TRY(TargetByDirfd(context, dirfd_index == kNoDirfd ? AT_FDCWD : context.IntArg(dirfd_index)));
    if (target.IsNative()) return 0;
    USL_TRY_VOID(context.vfs().Access(view, target.file.path, mode, effective));
    return 0;
  }
  const PathArgument argument = USL_TRY(PathFrom(context, dirfd_index, std::move(text)));
  const unsigned walk = flags & AT_SYMLINK_NOFOLLOW ? unsigned{vfs::Vfs::kNoFollow} : 0u;
  const auto path = context.vfs().Walk(view, argument.location(), walk);
  if (!path) {
    if (path.error() == Error(ENOENT)) PublishMissing(context, dirfd_index, argument.text, walk == 0);
    return Fail(path.error());
  }
  USL_TRY_VOID(context.vfs().Access(view, *path, mode, effective));
  return 0;
}

Result<Reply> ReadLinkAt(SyscallContext& context, int dirfd_index, int path_index, int size_index) {
  const int size = context.IntArg(size_index);
  if (size <= 0) return Fail(EINVAL);
  const int buffer_index = path_index + 1;
  std::string text = USL_TRY(context.PathArg(path_index));
  vfs::Path path;
  const bool by_descriptor = text.empty() && dirfd_index != kNoDirfd;
  if (by_descriptor) {
    path = USL_TRY(TargetByDirfd(context, context.IntArg(dirfd_index))).file.path;
  } else {
    const Target target = USL_TRY(TargetByText(context, dirfd_index, std::move(text), false));
    path = target.file.path;
    // Who resolves a path asks for the links in it, and finds files and directories as a rule.
    const kernel::FastPath* fast = context.kernel().fast_path();
    if (fast && fast->ServesFrom(context.process())) {
      if (auto attributes = path.inode()->GetAttributes()) PublishFile(context, target, false, *attributes);
    }
  }
  if (!path || !path.inode()->IsSymlink()) return Fail(by_descriptor ? ENOENT : EINVAL);
  const std::string link = USL_TRY(context.vfs().ReadLink(context.FsView(), path));
  const size_t length = std::min(link.size(), static_cast<size_t>(size));
  USL_TRY_VOID(context.memory().Write(context.AddressArg(buffer_index), link.data(), length));
  return static_cast<int64_t>(length);
}

}  // namespace

Result<Reply> sys_stat(SyscallContext& context) {
  return StatByPath(context, kNoDirfd, 0, 1, {});
}

Result<Reply> sys_lstat(SyscallContext& context) {
  return StatByPath(context, kNoDirfd, 0, 1, {.follow = false});
}

Result<Reply> sys_fstat(SyscallContext& context) {
  const Target target = USL_TRY(TargetByFd(context, context.IntArg(0), true));
  const struct stat status = USL_TRY(StatTarget(context, target, true));
  USL_TRY_VOID(context.CopyOut(1, status));
  return 0;
}

Result<Reply> sys_newfstatat(SyscallContext& context) {
  const int flags = context.IntArg(3);
  if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE)) return Fail(EINVAL);
  const bool empty = flags & AT_EMPTY_PATH;
  return StatByPath(context, 0, 1, 2,
                    {.follow = !(flags & AT_SYMLINK_NOFOLLOW), .allow_empty = empty, .null_is_empty = empty});
}

Result<Reply> sys_statx(SyscallContext& context) {
  const int flags = context.IntArg(2);
  const unsigned mask = context.UintArg(3);
  if (mask & STATX__RESERVED) return Fail(EINVAL);
  if ((flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE) return Fail(EINVAL);
  if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE)) return Fail(EINVAL);
  const bool empty = flags & AT_EMPTY_PATH;
  const Target target = USL_TRY(TargetByPath(
      context, 0, 1, {.follow = !(flags & AT_SYMLINK_NOFOLLOW), .allow_empty = empty, .null_is_empty = empty}));
  const struct statx status = USL_TRY(StatxTarget(context, target, !(flags & AT_SYMLINK_NOFOLLOW), mask));
  USL_TRY_VOID(context.CopyOut(4, status));
  return 0;
}

Result<Reply> sys_access(SyscallContext& context) {
  return CheckAccess(context, kNoDirfd, 0, context.IntArg(1), 0);
}

Result<Reply> sys_faccessat(SyscallContext& context) {
  return CheckAccess(context, 0, 1, context.IntArg(2), 0);
}

Result<Reply> sys_faccessat2(SyscallContext& context) {
  return CheckAccess(context, 0, 1, context.IntArg(2), context.IntArg(3));
}

Result<Reply> sys_statfs(SyscallContext& context) {
  const Target target = USL_TRY(TargetByPath(context, kNoDirfd, 0, {}));
  const struct statfs status = USL_TRY(StatFsTarget(context, target));
  USL_TRY_VOID(context.CopyOut(1, status));
  return 0;
}

Result<Reply> sys_fstatfs(SyscallContext& context) {
  const Target target = USL_TRY(TargetByFd(context, context.IntArg(0), true));
  const struct statfs status = USL_TRY(StatFsTarget(context, target));
  USL_TRY_VOID(context.CopyOut(1, status));
  return 0;
}

Result<Reply> sys_readlink(SyscallContext& context) {
  return ReadLinkAt(context, kNoDirfd, 0, 2);
}

Result<Reply> sys_readlinkat(SyscallContext& context) {
  return ReadLinkAt(context, 0, 1, 3);
}

}  // namespace usl::syscalls
