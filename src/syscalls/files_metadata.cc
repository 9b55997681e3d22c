// Changing what a file is: mode, owner, times, size. By path and by descriptor alike they act on the identified inode:
// the host would let the descriptor forms through even on a read-only descriptor.
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <utime.h>

#include <array>
#include <optional>

#include "syscalls/arguments.h"
#include "syscalls/copy.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {
namespace {

constexpr mode_t kPermissionBits = 07777;

Result<Reply> ChangeMode(SyscallContext& context, const Target& target, mode_t mode) {
  // The caller owns its pipes and sockets, so it may; nothing reads their mode, so nothing is kept.
  if (target.IsNative()) return 0;
  return Done(context.vfs().ChangeMode(context.FsView(), target.file, mode & kPermissionBits));
}

Result<Reply> ChangeModeAt(SyscallContext& context, int dirfd_index, int path_index, int flags) {
  if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return Fail(EINVAL);
  const Target target =
      USL_TRY(TargetByPath(context, dirfd_index, path_index,
                           {.follow = !(flags & AT_SYMLINK_NOFOLLOW), .allow_empty = (flags & AT_EMPTY_PATH) != 0}));
  if (!target.IsNative() && target.file.inode->IsSymlink()) return Fail(EOPNOTSUPP);
  return ChangeMode(context, target, context.UintArg(path_index + 1));
}

Result<Reply> ChangeOwner(SyscallContext& context, const Target& target, uid_t uid, gid_t gid) {
  if (target.IsNative()) {
    // As chown(2) of an object that the caller owns: another owner needs CAP_CHOWN, another group membership or it.
    const cred::Credentials& credentials = context.credentials();
    const bool same_owner = uid == static_cast<uid_t>(-1) || uid == credentials.fsuid;
    const bool own_group = gid == static_cast<gid_t>(-1) || credentials.InGroup(gid);
    if (!(same_owner && own_group) && !credentials.Has(CAP_CHOWN)) return Fail(EPERM);
    return 0;
  }
  return Done(context.vfs().ChangeOwner(context.FsView(), target.file, uid, gid));
}

Result<Reply> ChangeOwnerAt(SyscallContext& context, int dirfd_index, int path_index, int flags) {
  if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return Fail(EINVAL);
  const Target target =
      USL_TRY(TargetByPath(context, dirfd_index, path_index,
                           {.follow = !(flags & AT_SYMLINK_NOFOLLOW), .allow_empty = (flags & AT_EMPTY_PATH) != 0}));
  return ChangeOwner(context, target, context.UintArg(path_index + 1), context.UintArg(path_index + 2));
}

// Access and modification time as the calls carry them; nothing = now.
using FileTimes = std::optional<std::array<timespec, 2>>;

Result<FileTimes> ReadTimespecs(const SyscallContext& context, GuestAddress from) {
  if (from.is_null()) return FileTimes{};
  // Nanoseconds are checked behind the walk, as vfs_utimes() does.
  return FileTimes{USL_TRY((context.memory().ReadObject<std::array<timespec, 2>>(from)))};
}

Result<FileTimes> ReadTimevals(const SyscallContext& context, GuestAddress from) {
  if (from.is_null()) return FileTimes{};
  const auto values = USL_TRY((context.memory().ReadObject<std::array<timeval, 2>>(from)));
  std::array<timespec, 2> times{};
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i].tv_usec < 0 || values[i].tv_usec >= 1'000'000) return Fail(EINVAL);
    times[i] = {values[i].tv_sec, values[i].tv_usec * 1000};
  }
  return FileTimes{times};
}

Result<FileTimes> ReadUtimbuf(const SyscallContext& context, GuestAddress from) {
  if (from.is_null()) return FileTimes{};
  const auto buffer = USL_TRY(context.memory().ReadObject<utimbuf>(from));
  return FileTimes{{{{buffer.actime, 0}, {buffer.modtime, 0}}}};
}

bool AreBothOmitted(const FileTimes& times) {
  return times && (*times)[0].tv_nsec == UTIME_OMIT && (*times)[1].tv_nsec == UTIME_OMIT;
}

// Of an object without a place in the guest's tree: a memfd of its own, or a file that usl's caller passed in. The host
// would change the times through a descriptor for reading, too.
Result<Reply> ChangeNativeTimes(int fd, const FileTimes& times) {
  struct stat status;
  if (fstat(fd, &status) < 0) return FailErrno();
  if (!S_ISREG(status.st_mode)) return 0;
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return FailErrno();
  if ((flags & O_PATH) || (flags & O_ACCMODE) == O_RDONLY) return Fail(EPERM);
  if (futimens(fd, times ? times->data() : nullptr) < 0) return FailErrno();
  return 0;
}

Result<Reply> ChangeTimes(SyscallContext& context, const Target& target, const FileTimes& times) {
  if (target.IsNative()) return ChangeNativeTimes(target.fd.get(), times);
  return Done(context.vfs().ChangeTimes(context.FsView(), target.file, times ? times->data() : nullptr));
}

// utimensat(2) and its older forms; a null path means the descriptor itself.
Result<Reply> ChangeTimesAt(SyscallContext& context, int dirfd_index, int path_index, const FileTimes& times,
                            int flags) {
  if (AreBothOmitted(times)) return 0;
  if (dirfd_index != kNoDirfd && context.AddressArg(path_index).is_null() && context.IntArg(dirfd_index) != AT_FDCWD) {
    if (flags != 0) return Fail(EINVAL);
    const Target target = USL_TRY(TargetByFd(context, context.IntArg(dirfd_index), false));
    return ChangeTimes(context, target, times);
  }
  if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return Fail(EINVAL);
  const Target target =
      USL_TRY(TargetByPath(context, dirfd_index, path_index,
                           {.follow = !(flags & AT_SYMLINK_NOFOLLOW), .allow_empty = (flags & AT_EMPTY_PATH) != 0}));
  return ChangeTimes(context, target, times);
}

// inode_newsize_ok() of Linux: a file is not made longer than the caller's RLIMIT_FSIZE. The host applies that limit to
// the kernel process, which makes the call here.
Result<void> CheckSizeLimit(SyscallContext& context, const Target& target, uint64_t length) {
  rlimit limit{};
  if (prlimit(context.process().pid(), RLIMIT_FSIZE, nullptr, &limit) < 0) return FailErrno();
  if (limit.rlim_cur == RLIM_INFINITY || length <= limit.rlim_cur) return {};
  const vfs::Attributes attributes = USL_TRY(target.file.inode->GetAttributes());
  if (length <= attributes.size) return {};
  constexpr int kMayWrite = 2;
  USL_TRY_VOID(context.vfs().CheckPermission(context.credentials(), *target.file.inode, kMayWrite));
  if (tgkill(context.process().pid(), context.task().tid(), SIGXFSZ) < 0) return FailErrno();
  return Fail(EFBIG);
}

}  // namespace

Result<Reply> sys_chmod(SyscallContext& context) {
  return ChangeModeAt(context, kNoDirfd, 0, 0);
}
Result<Reply> sys_fchmodat(SyscallContext& context) {
  return ChangeModeAt(context, 0, 1, 0);
}
Result<Reply> sys_fchmodat2(SyscallContext& context) {
  return ChangeModeAt(context, 0, 1, context.IntArg(3));
}

Result<Reply> sys_fchmod(SyscallContext& context) {
  const Target target = USL_TRY(TargetByFd(context, context.IntArg(0), false));
  return ChangeMode(context, target, context.UintArg(1));
}

Result<Reply> sys_chown(SyscallContext& context) {
  return ChangeOwnerAt(context, kNoDirfd, 0, 0);
}
Result<Reply> sys_lchown(SyscallContext& context) {
  return ChangeOwnerAt(context, kNoDirfd, 0, AT_SYMLINK_NOFOLLOW);
}
Result<Reply> sys_fchownat(SyscallContext& context) {
  return ChangeOwnerAt(context, 0, 1, context.IntArg(4));
}

Result<Reply> sys_fchown(SyscallContext& context) {
  const Target target = USL_TRY(TargetByFd(context, context.IntArg(0), false));
  return ChangeOwner(context, target, context.UintArg(1), context.UintArg(2));
}

Result<Reply> sys_utimensat(SyscallContext& context) {
  const FileTimes times = USL_TRY(ReadTimespecs(context, context.AddressArg(2)));
  return ChangeTimesAt(context, 0, 1, times, context.IntArg(3));
}

Result<Reply> sys_utime(SyscallContext& context) {
  return ChangeTimesAt(context, kNoDirfd, 0, USL_TRY(ReadUtimbuf(context, context.AddressArg(1))), 0);
}

Result<Reply> sys_utimes(SyscallContext& context) {
  return ChangeTimesAt(context, kNoDirfd, 0, USL_TRY(ReadTimevals(context, context.AddressArg(1))), 0);
}

Result<Reply> sys_futimesat(SyscallContext& context) {
  return ChangeTimesAt(context, 0, 1, USL_TRY(ReadTimevals(context, context.AddressArg(2))), 0);
}

Result<Reply> sys_truncate(SyscallContext& context) {
  const auto length = static_cast<int64_t>(context.Arg(1));
  if (length < 0) return Fail(EINVAL);
  const Target target = USL_TRY(TargetByPath(context, kNoDirfd, 0, {}));
  if (target.file.inode->IsDirectory()) return Fail(EISDIR);
  if (!target.file.inode->IsRegular()) return Fail(EINVAL);
  USL_TRY_VOID(CheckSizeLimit(context, target, static_cast<uint64_t>(length)));
  return Done(context.vfs().Truncate(context.FsView(), target.file, static_cast<uint64_t>(length)));
}

Result<Reply> sys_umask(SyscallContext& context) {
  kernel::FsContext& fs = *context.task().fs();
  const mode_t old = fs.umask;
  fs.umask = context.UintArg(0) & ACCESSPERMS;
  return static_cast<int64_t>(old);
}

}  // namespace usl::syscalls
