// Making and changing file systems step by step: fsopen(2), fsconfig(2), fsmount(2), fspick(2). Order of checks as in
// Linux's fs/fsopen.c.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mount.h>

#include "kernel/kernel.h"
#include "kernel/mount_contexts.h"
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/mount_flags.h"
#include "vfs/handle_table.h"

namespace usl::syscalls {
namespace {

constexpr size_t kMaxTypeName = 4095;
constexpr size_t kMaxParameter = 255;
constexpr unsigned kCreateExclusive = 8;  // FSCONFIG_CMD_CREATE_EXCL, Linux 6.6

kernel::MountContexts& Contexts(const SyscallContext& context) {
  return context.kernel().Extension<kernel::MountContexts>();
}

// EBADF, and EINVAL for other descriptors.
Result<std::shared_ptr<kernel::MountContext>> ContextArg(const SyscallContext& context) {
  const UniqueFd fd = USL_TRY(context.DuplicateFd(context.IntArg(0)));
  auto found = Contexts(context).Find(fd.get());
  if (!found) return Fail(EINVAL);
  return found;
}

// Which of key, value and number a command takes.
Result<void> CheckArguments(const SyscallContext& context) {
  const bool key = !context.AddressArg(2).is_null(), value = !context.AddressArg(3).is_null();
  const int number = context.IntArg(4);
  constexpr int kMaxBinary = 1024 * 1024;
  bool fits = false;
  switch (context.UintArg(1)) {
    case FSCONFIG_SET_FLAG: fits = key && !value && number == 0; break;
    case FSCONFIG_SET_STRING: fits = key && value && number == 0; break;
    case FSCONFIG_SET_BINARY: fits = key && value && number > 0 && number <= kMaxBinary; break;
    case FSCONFIG_SET_PATH:
    case FSCONFIG_SET_PATH_EMPTY: fits = key && value && (number == AT_FDCWD || number >= 0); break;
    case FSCONFIG_SET_FD: fits = key && !value && number >= 0; break;
    case FSCONFIG_CMD_CREATE:
    case kCreateExclusive:
    case FSCONFIG_CMD_RECONFIGURE: fits = !key && !value && number == 0; break;
    default: return Fail(EOPNOTSUPP);
  }
  if (!fits) return Fail(EINVAL);
  return {};
}

}  // namespace

Result<Reply> sys_fsopen(SyscallContext& context) {
  USL_TRY_VOID(RequireCapability(context, CAP_SYS_ADMIN));
  const unsigned flags = context.UintArg(1);
  if (flags & ~FSOPEN_CLOEXEC) return Fail(EINVAL);
  const std::string type = USL_TRY(ReadText(context, context.AddressArg(0), kMaxTypeName, EINVAL));
  if (!context.kernel().mount_types().Has(type)) return Fail(ENODEV);
  return Reply::Donate(USL_TRY(Contexts(context).Open(type, nullptr)), (flags & FSOPEN_CLOEXEC) != 0);
}

Result<Reply> sys_fspick(SyscallContext& context) {
  USL_TRY_VOID(RequireCapability(context, CAP_SYS_ADMIN));
  const unsigned flags = context.UintArg(2);
  constexpr unsigned kKnown = FSPICK_CLOEXEC | FSPICK_SYMLINK_NOFOLLOW | FSPICK_NO_AUTOMOUNT | FSPICK_EMPTY_PATH;
  if (flags & ~kKnown) return Fail(EINVAL);
  const Target target = USL_TRY(TargetByPath(
      context, 0, 1, {.follow = !(flags & FSPICK_SYMLINK_NOFOLLOW), .allow_empty = (flags & FSPICK_EMPTY_PATH) != 0}));
  if (!vfs::IsMountRoot(target.file.path)) return Fail(EINVAL);
  const auto& file_system = target.file.path.mount->file_system_ref();
  return Reply::Donate(USL_TRY(Contexts(context).Open(file_system->type_name(), file_system)),
                       (flags & FSPICK_CLOEXEC) != 0);
}

Result<Reply> sys_fsconfig(SyscallContext& context) {
  if (context.IntArg(0) < 0) return Fail(EINVAL);
  USL_TRY_VOID(CheckArguments(context));
  const auto mount_context = USL_TRY(ContextArg(context));
  const unsigned command = context.UintArg(1);
  std::string key, value;
  if (!context.AddressArg(2).is_null()) key = USL_TRY(ReadText(context, context.AddressArg(2), kMaxParameter, EINVAL));
  switch (command) {
    case FSCONFIG_SET_FLAG: return Done(mount_context->SetParameter(context.kernel(), key, nullptr));
    case FSCONFIG_SET_STRING:
      value = USL_TRY(ReadText(context, context.AddressArg(3), kMaxParameter, EINVAL));
      return Done(mount_context->SetParameter(context.kernel(), key, &value));
    case FSCONFIG_CMD_CREATE:
    case kCreateExclusive:
      USL_TRY_VOID(RequireCapability(context, CAP_SYS_ADMIN));
      return Done(mount_context->Create(context.kernel(), context.FsView(), command == kCreateExclusive));
    case FSCONFIG_CMD_RECONFIGURE:
      USL_TRY_VOID(RequireCapability(context, CAP_SYS_ADMIN));
      return Done(mount_context->Reconfigure(context.kernel()));
    default:
      // No type here has a parameter of these kinds.
      return Fail(EINVAL);
  }
}

Result<Reply> sys_fsmount(SyscallContext& context) {
  USL_TRY_VOID(RequireCapability(context, CAP_SYS_ADMIN));
  const unsigned flags = context.UintArg(1);
  if (flags & ~FSMOUNT_CLOEXEC) return Fail(EINVAL);
  constexpr unsigned kNoIdMap = MOUNT_ATTR_IDMAP;
  if (context.UintArg(2) & kNoIdMap) return Fail(EINVAL);
  const unsigned mount_flags = USL_TRY(FlagsOfAttributes(context.UintArg(2)));
  const auto mount_context = USL_TRY(ContextArg(context));
  Ref<vfs::FileSystem> file_system = USL_TRY(mount_context->TakeForMount());
  vfs::Vfs& vfs = context.vfs();
  vfs.Register(file_system);
  Ref<vfs::Dentry> root = vfs.RootDentry(file_system);
  auto tree = vfs::MountNamespace::MakeTree(std::move(file_system), std::move(root), mount_flags);
  const vfs::Path top{tree->root(), tree->root()->root()};
  return Reply::Donate(USL_TRY(vfs.handles().OpenTree(top, std::move(tree))), (flags & FSMOUNT_CLOEXEC) != 0);
}

}  // namespace usl::syscalls
