// Watching files. The inotify descriptor is the host's, so events are read natively; only the watch names a path, which
// the kernel resolves in the guest's tree and adds on its own duplicate of the descriptor.
#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/format.h"
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "vfs/handle_table.h"

namespace usl::syscalls {
namespace {

constexpr int kMayRead = 4;
constexpr uint32_t kKnownBits = IN_ALL_EVENTS | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED | IN_ONLYDIR | IN_DONT_FOLLOW |
                                IN_EXCL_UNLINK | IN_MASK_CREATE | IN_MASK_ADD | IN_ISDIR | IN_ONESHOT;

}  // namespace

Result<Reply> sys_inotify_add_watch(SyscallContext& context) {
  const uint32_t mask = context.UintArg(2);
  if (!(mask & kKnownBits)) return Fail(EINVAL);
  const UniqueFd inotify = USL_TRY(context.DuplicateFd(context.IntArg(0)));
  if ((mask & IN_MASK_ADD) && (mask & IN_MASK_CREATE)) return Fail(EINVAL);
  const PathArgument argument = USL_TRY(ReadPath(context, kNoDirfd, 1));
  unsigned flags = 0;
  if (mask & IN_DONT_FOLLOW) flags |= vfs::Vfs::kNoFollow;
  if (mask & IN_ONLYDIR) flags |= vfs::Vfs::kDirectory;
  const vfs::Context view = context.FsView();
  const vfs::Path path = USL_TRY(context.vfs().Walk(view, argument.location(), flags));
  USL_TRY_VOID(context.vfs().CheckPermission(context.credentials(), *path.inode(), kMayRead));

  USL_TRY_VOID(path.inode()->PrepareWatch(mask));
  // The host's own object, or for what has none what stands for it.
  auto file = path.inode()->Open(O_PATH | O_NOFOLLOW | O_CLOEXEC, view);
  if (!file && file.error() == Error(EOPNOTSUPP)) file = context.vfs().handles().OpenPathOnly(path);
  if (!file) return Fail(file.error());
  const std::string host_path = format("/proc/self/fd/{}", file->get());
  // The walk decided already which file is meant; the path that stands for it is itself a link.
  const int watch = inotify_add_watch(inotify.get(), host_path.c_str(), mask & ~uint32_t{IN_DONT_FOLLOW | IN_ONLYDIR});
  if (watch < 0) return FailErrno();
  return watch;
}

}  // namespace usl::syscalls
