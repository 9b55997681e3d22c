// Decoding of the arguments that many calls share: paths with their directory descriptors, and what a metadata call
// acts on. Everything is copied out of guest memory once.
#pragma once

#include <string>

#include "base/result.h"
#include "kernel/syscall_context.h"
#include "vfs/vfs.h"

namespace usl::syscalls {

using kernel::Reply;
using kernel::SyscallContext;
using platform::GuestAddress;

// In place of the index of a dirfd argument: the call has none, the path starts at the working directory.
inline constexpr int kNoDirfd = -1;

// A path argument and the place it starts from. Owns the text, so a Location of it lives as long as this object.
struct PathArgument {
  std::string text;
  vfs::Path at;
  bool allow_empty = false;

  vfs::Location location() const { return {at, text, allow_empty}; }
};

// Reads the path at argument `path_index`, relative to the directory of argument `dirfd_index`. An absolute path
// ignores the descriptor, even a bad one (openat(2)). EFAULT, ENAMETOOLONG, EBADF.
Result<PathArgument> ReadPath(const SyscallContext& context, int dirfd_index, int path_index);
// The same with a path that is read already.
Result<PathArgument> PathFrom(const SyscallContext& context, int dirfd_index, std::string text);

// What a metadata call acts on, found by path or by descriptor.
struct Target {
  vfs::FileIdentity file;
  UniqueFd fd;  // a duplicate of the guest's descriptor; empty when the target was found by path
  // By path, from the working directory or the root: the path, for the fast path; else empty.
  std::string text;

  // An object of the host that has no place in the guest's tree: pipe, socket, memfd, epoll...
  bool IsNative() const { return !file.inode; }
};

struct TargetOptions {
  bool follow = true;          // a symbolic link in the last component
  bool allow_empty = false;    // AT_EMPTY_PATH: an empty path means the descriptor itself
  bool null_is_empty = false;  // statx(2), since Linux 6.11: with AT_EMPTY_PATH a null pointer counts as ""
};

// By path: the walk's errors, ENOENT for an empty path unless it is allowed.
Result<Target> TargetByPath(const SyscallContext& context, int dirfd_index, int path_index, TargetOptions options);
// By a path that is read already, which must not be empty.
Result<Target> TargetByText(const SyscallContext& context, int dirfd_index, std::string text, bool follow);
// Tells the fast path (kernel/fast_path.h) that a walk of `text` found nothing there.
void PublishMissing(const SyscallContext& context, int dirfd_index, std::string_view text, bool follow);
// By the descriptor number `guest_fd`. EBADF; also for an O_PATH descriptor, unless `allow_o_path`.
Result<Target> TargetByFd(const SyscallContext& context, int guest_fd, bool allow_o_path);
// EBADF for an O_PATH descriptor, of which `fd` is a duplicate: most calls do not take them (open(2)).
Result<void> RefusePathOnly(const SyscallContext& context, const UniqueFd& fd, std::optional<int> known_flags = {});
// By the descriptor number, with AT_FDCWD for the working directory: what an empty path with AT_EMPTY_PATH means.
Result<Target> TargetByDirfd(const SyscallContext& context, int dirfd);

// The reply of a call that returns 0 when `result` is no error.
Result<Reply> Done(const Result<void>& result);

// EPERM unless the caller has the CAP_* `capability`.
Result<void> RequireCapability(const SyscallContext& context, int capability);

// A string of at most `max` bytes for arguments that are no path (names of hosts, types of file systems). EFAULT, and
// `too_long` when it does not end within them.
Result<std::string> ReadText(const SyscallContext& context, GuestAddress from, size_t max, int too_long);

}  // namespace usl::syscalls
