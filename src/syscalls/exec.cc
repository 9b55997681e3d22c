// execve(2) and execveat(2). What matters is in kernel/exec_service.h.
#include <fcntl.h>
#include <sys/stat.h>

#include "base/format.h"
#include "kernel/exec_service.h"
#include "kernel/kernel.h"
#include "platform/fd_access.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {
namespace {

using kernel::Reply;
using kernel::SyscallContext;

// The file behind one of the caller's descriptors, for execveat(fd, "", AT_EMPTY_PATH).
Result<void> FillFromFd(SyscallContext& context, int guest_fd, kernel::ExecService::Request& request) {
  auto identified = USL_TRY(context.IdentifyFd(guest_fd));
  request.path = identified.identity.path;
  if (!request.path) {
    struct stat status;
    if (fstat(identified.fd.get(), &status) < 0) return FailErrno();
    if (!S_ISREG(status.st_mode)) return Fail(EACCES);
    // What may only be written is not run: that would read it.
    const int mode = fcntl(identified.fd.get(), F_GETFL);
    if (mode < 0) return FailErrno();
    if (!(mode & O_PATH) && (mode & O_ACCMODE) == O_WRONLY) return Fail(EACCES);
    // A memfd: reopened, so that the guest's own description keeps its position and mode.
    request.native = UniqueFd(open(format("/proc/self/fd/{}", identified.fd.get()).c_str(), O_RDONLY | O_CLOEXEC));
    if (!request.native) return FailErrno();
  }
  request.name = format("/dev/fd/{}", guest_fd);
  return {};
}

}  // namespace

Result<Reply> sys_execve(SyscallContext& context) {
  kernel::ExecService& exec = context.kernel().exec();
  if (exec.IsHypercall(context.notification())) return exec.Hypercall(context);
  kernel::ExecService::Request request;
  request.name = USL_TRY(context.PathArg(0));
  vfs::Context view = context.FsView();
  request.path = USL_TRY(context.vfs().Walk(view, {.at = view.cwd, .path = request.name}, 0));
  request.argv = context.AddressArg(1);
  request.envp = context.AddressArg(2);
  return exec.Execute(context, std::move(request));
}

Result<Reply> sys_execveat(SyscallContext& context) {
  int flags = context.IntArg(4);
  constexpr int kCheckOnly = 0x10000;  // AT_EXECVE_CHECK, Linux 6.14
  if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | kCheckOnly)) return Fail(EINVAL);
  if (flags & kCheckOnly) return Fail(EINVAL);
  kernel::ExecService::Request request;
  request.argv = context.AddressArg(2);
  request.envp = context.AddressArg(3);
  std::string path = USL_TRY(context.PathArg(1));
  int directory = context.IntArg(0);
  if (path.empty() && !(flags & AT_EMPTY_PATH)) return Fail(ENOENT);
  if (path.empty() && directory != AT_FDCWD) {
    USL_TRY_VOID(FillFromFd(context, directory, request));
  } else {
    vfs::Path at = path.starts_with('/') ? context.task().fs()->cwd : USL_TRY(context.DirectoryArg(0));
    unsigned walk = flags & AT_SYMLINK_NOFOLLOW ? vfs::Vfs::kNoFollow : 0u;
    request.path = USL_TRY(context.vfs().Walk(
        context.FsView(), {.at = at, .path = path, .allow_empty = (flags & AT_EMPTY_PATH) != 0}, walk));
    if (request.path.inode() && request.path.inode()->IsSymlink()) return Fail(ELOOP);
    request.name = directory == AT_FDCWD || path.starts_with('/') ? path : format("/dev/fd/{}/{}", directory, path);
  }
  request.through_fd = directory != AT_FDCWD && !path.starts_with('/');
  request.close_on_exec = request.through_fd && platform::ClosesOnExec(context.notification().tid, directory);
  return context.kernel().exec().Execute(context, std::move(request));
}

}  // namespace usl::syscalls
