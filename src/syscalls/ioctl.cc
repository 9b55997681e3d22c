// The requests of ioctl(2) that the filter does not let pass: owners of signals, controlling terminals, file flags.
#include "syscalls/ioctl.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/nsfs.h>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <string_view>
#include <utility>

#include "fs/proc_pid.h"
#include "fs/synthetic.h"
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/owner.h"

namespace usl::syscalls {
namespace {

// The requests on interfaces, bridges and drivers.
constexpr uint32_t kFirstInterfaceRequest = 0x8910, kLastInterfaceRequest = 0x89ff;

bool IsSocket(const UniqueFd& fd) {
  struct stat status {};
  return fstat(fd.get(), &status) == 0 && S_ISSOCK(status.st_mode);
}

Result<Reply> SetSocketOwner(SyscallContext& context, const UniqueFd& fd) {
  if (!IsSocket(fd)) return Fail(ENOTTY);
  const int pid = USL_TRY(context.memory().ReadObject<int>(context.AddressArg(2)));
  return Done(SetOwner(context, fd, USL_TRY(DecodeOwner(pid))));
}

Result<Reply> GetSocketOwner(SyscallContext& context, const UniqueFd& fd) {
  if (!IsSocket(fd)) return Fail(ENOTTY);
  const int owner = fcntl(fd.get(), F_GETOWN);
  USL_TRY_VOID(context.CopyOut(2, owner));
  return 0;
}

Result<Reply> SetAsynchronous(SyscallContext& context, const UniqueFd& fd) {
  int on = USL_TRY(context.memory().ReadObject<int>(context.AddressArg(2)));
  if (on) USL_TRY_VOID(EnsureOwner(context, fd));
  if (ioctl(fd.get(), FIOASYNC, &on) < 0) return FailErrno();
  return 0;
}

// The other end of a pseudo-terminal, without a path (TIOCGPTPEER). O_NOCTTY, as the kernel process must not get it as
// its own controlling terminal.
Result<Reply> OpenTerminalPeer(SyscallContext& context, const UniqueFd& fd) {
  const int flags = context.IntArg(2);
  if (flags & ~(O_ACCMODE | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)) return Fail(EINVAL);
  UniqueFd peer(ioctl(fd.get(), TIOCGPTPEER, flags | O_NOCTTY | O_CLOEXEC));
  if (!peer) return FailErrno();
  return Reply::Donate(std::move(peer), (flags & O_CLOEXEC) != 0);
}

// ioctl_ns(2) on /proc/PID/ns/*: what owns them and what is around them is outside of what a guest may see.
Result<Reply> AskNamespace(SyscallContext& context, uint32_t request) {
  const auto opened = USL_TRY(context.IdentifyFd(context.IntArg(0)));
  const auto* inode = dynamic_cast<const fs::SyntheticInode*>(opened.identity.inode.get());
  if (!inode || !inode->path().starts_with(fs::kNamespaceObjectPath)) return Fail(ENOTTY);
  if (request == NS_GET_USERNS || request == NS_GET_PARENT) return Fail(EPERM);
  if (request != NS_GET_NSTYPE) return Fail(EINVAL);  // the owner of a user namespace, which these are not
  static constexpr std::pair<std::string_view, int> kTypes[] = {
      {"cgroup:", CLONE_NEWCGROUP}, {"ipc:", CLONE_NEWIPC}, {"mnt:", CLONE_NEWNS},    {"net:", CLONE_NEWNET},
      {"pid:", CLONE_NEWPID},       {"time:", 0x80},        {"user:", CLONE_NEWUSER}, {"uts:", CLONE_NEWUTS}};
  const std::string_view name = std::string_view(inode->path()).substr(fs::kNamespaceObjectPath.size());
  for (const auto& [prefix, type] : kTypes) {
    if (name.starts_with(prefix)) return type;
  }
  return Fail(ENOTTY);
}

}  // namespace

Result<Reply> sys_ioctl(SyscallContext& context) {
  const uint32_t request = context.UintArg(1);
  const UniqueFd fd = USL_TRY(context.DuplicateFd(context.IntArg(0)));
  USL_TRY_VOID(RefusePathOnly(context, fd));
  switch (request) {
    case FIOSETOWN:
    case SIOCSPGRP: return SetSocketOwner(context, fd);
    case FIOGETOWN:
    case SIOCGPGRP: return GetSocketOwner(context, fd);
    case FIOASYNC: return SetAsynchronous(context, fd);
    // It concerns the caller's session, so only the caller can do it. A descriptor that is exchanged meanwhile is
    // another terminal that the guest was given, to which it could have done the same; stealing one needs a host
    // capability.
    case TIOCSCTTY: return Reply::ContinueByRegisters();
    case TIOCGPTPEER: return OpenTerminalPeer(context, fd);
    case NS_GET_USERNS:
    case NS_GET_PARENT:
    case NS_GET_NSTYPE:
    case NS_GET_OWNER_UID: return AskNamespace(context, request);
    // File flags (chattr(1)) and project ids: as on a file system that has none. The host's would be set even through a
    // read-only descriptor.
    case FS_IOC_GETFLAGS:
    case FS_IOC_SETFLAGS:
    case FS_IOC_FSGETXATTR:
    case FS_IOC_FSSETXATTR:
    case FS_IOC_GETVERSION: return Fail(ENOTTY);
    default: break;
  }
  if (request >= kFirstInterfaceRequest && request <= kLastInterfaceRequest) {
    if (!IsSocket(fd)) return Fail(ENOTTY);
    return NetworkIoctl(context, fd, request);
  }
  return Fail(ENOTTY);
}

}  // namespace usl::syscalls
