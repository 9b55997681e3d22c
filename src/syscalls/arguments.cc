#include "syscalls/arguments.h"

#include <fcntl.h>

#include "kernel/fast_path.h"
#include "kernel/kernel.h"
#include "vfs/handle_table.h"

namespace usl::syscalls {

Result<PathArgument> PathFrom(const SyscallContext& context, int dirfd_index, std::string text) {
  // Linux says so before it looks at the descriptor.
  if (text.empty()) return Fail(ENOENT);
  PathArgument argument;
  argument.text = std::move(text);
  const bool absolute = argument.text.starts_with('/');
  if (dirfd_index == kNoDirfd || absolute) {
    argument.at = context.task().fs()->cwd;
  } else {
    argument.at = USL_TRY(context.DirectoryArg(dirfd_index));
  }
  return argument;
}

Result<PathArgument> ReadPath(const SyscallContext& context, int dirfd_index, int path_index) {
  return PathFrom(context, dirfd_index, USL_TRY(context.PathArg(path_index)));
}

Result<void> RefusePathOnly(const SyscallContext& context, const UniqueFd& fd, std::optional<int> known_flags) {
  const int flags = known_flags ? *known_flags : fcntl(fd.get(), F_GETFL);
  if (flags < 0) return known_flags ? Fail(EBADF) : FailErrno();
  if (flags & O_PATH) return Fail(EBADF);
  // The marks of a stand-in (HandleTable::OpenPathOnly): nearly no other descriptor has to be asked about.
  const bool may_stand_in = (flags & O_ACCMODE) == O_ACCMODE || (flags & O_DSYNC);
  if (may_stand_in && context.vfs().handles().IsPathOnly(fd.get())) return Fail(EBADF);
  return {};
}

Result<Target> TargetByFd(const SyscallContext& context, int guest_fd, bool allow_o_path) {
  auto identified = USL_TRY(context.IdentifyFd(guest_fd));
  if (!allow_o_path) USL_TRY_VOID(RefusePathOnly(context, identified.fd, identified.identity.flags));
  return Target{std::move(identified.identity), std::move(identified.fd)};
}

Result<Target> TargetByDirfd(const SyscallContext& context, int dirfd) {
  if (dirfd != AT_FDCWD) return TargetByFd(context, dirfd, true);
  Target target;
  target.file.path = context.task().fs()->cwd;
  target.file.inode = target.file.path.dentry->inode();
  return target;
}

namespace {

// What begins at a descriptor is nothing that the fast path could know again.
bool IsFromCwdOrRoot(const SyscallContext& context, int dirfd_index, std::string_view text) {
  return dirfd_index == kNoDirfd || text.starts_with('/') || context.IntArg(dirfd_index) == AT_FDCWD;
}

}  // namespace

void PublishMissing(const SyscallContext& context, int dirfd_index, std::string_view text, bool follow) {
  kernel::FastPath* fast = context.kernel().fast_path();
  if (fast && IsFromCwdOrRoot(context, dirfd_index, text)) fast->PublishMissing(context, text, follow);
}

Result<Target> TargetByPath(const SyscallContext& context, int dirfd_index, int path_index, TargetOptions options) {
  std::string text;
  const bool missing = options.allow_empty && options.null_is_empty && context.AddressArg(path_index).is_null();
  if (!missing) text = USL_TRY(context.PathArg(path_index));
  if (text.empty() && options.allow_empty) {
    return TargetByDirfd(context, dirfd_index == kNoDirfd ? AT_FDCWD : context.IntArg(dirfd_index));
  }
  return TargetByText(context, dirfd_index, std::move(text), options.follow);
}

Result<Target> TargetByText(const SyscallContext& context, int dirfd_index, std::string text, bool follow) {
  PathArgument argument = USL_TRY(PathFrom(context, dirfd_index, std::move(text)));
  Target target;
  const unsigned flags = follow ? 0u : unsigned{vfs::Vfs::kNoFollow};
  auto path = context.vfs().Walk(context.FsView(), argument.location(), flags);
  if (!path) {
    if (path.error() == Error(ENOENT)) PublishMissing(context, dirfd_index, argument.text, follow);
    return Fail(path.error());
  }
  target.file.path = *std::move(path);
  target.file.inode = target.file.path.dentry->inode();
  if (IsFromCwdOrRoot(context, dirfd_index, argument.text)) target.text = std::move(argument.text);
  return target;
}

Result<Reply> Done(const Result<void>& result) {
  if (!result) return Fail(result.error());
  return 0;
}

Result<void> RequireCapability(const SyscallContext& context, int capability) {
  if (!context.credentials().Has(capability)) return Fail(EPERM);
  return {};
}

Result<std::string> ReadText(const SyscallContext& context, GuestAddress from, size_t max, int too_long) {
  auto text = context.memory().ReadString(from, max);
  if (!text && text.error() == Error(ENAMETOOLONG)) return Fail(too_long);
  return text;
}

}  // namespace usl::syscalls
