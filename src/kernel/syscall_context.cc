#include "kernel/syscall_context.h"

#include <fcntl.h>
#include <limits.h>

#include "kernel/kernel.h"
#include "platform/fd_access.h"

namespace usl::kernel {

vfs::Vfs& SyscallContext::vfs() const {
  return kernel_.vfs();
}

Result<std::string> SyscallContext::PathArg(int index) const {
  return memory().ReadString(AddressArg(index), PATH_MAX - 1);
}

vfs::Context SyscallContext::FsView() const {
  const FsContext& fs = *task_.fs();
  return vfs::Context{
      .credentials = task_.credentials(),
      .root = fs.root,
      .cwd = fs.cwd,
      .umask = fs.umask,
      .thread_group = process().pid(),
      .thread = task_.tid(),
      .pidfd = process().pidfd(),
  };
}

Result<vfs::Path> SyscallContext::DirectoryArg(int index) const {
  int fd = IntArg(index);
  if (fd == AT_FDCWD) return task_.fs()->cwd;
  IdentifiedFd identified = USL_TRY(IdentifyFd(fd));
  if (!identified.identity.path) return Fail(ENOTDIR);
  return identified.identity.path;
}

Result<UniqueFd> SyscallContext::DuplicateFd(int guest_fd) const {
  // A descriptor table may be the thread's own (clone without CLONE_FILES): pidfd_getfd looks at the leader's, so ask
  // for the thread itself where it is not the leader.
  return kernel_.DuplicateGuestFd(task_, guest_fd);
}

Result<SyscallContext::IdentifiedFd> SyscallContext::IdentifyFd(int guest_fd) const {
  UniqueFd fd = USL_TRY(DuplicateFd(guest_fd));
  vfs::FileIdentity identity = vfs().Identify(fd.get(), task_.fs()->mounts.get());
  return IdentifiedFd{std::move(fd), std::move(identity)};
}

}  // namespace usl::kernel
