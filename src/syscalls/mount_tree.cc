// Mounts as descriptors: open_tree(2), move_mount(2), mount_setattr(2). Order of checks as in Linux's fs/namespace.c.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstring>

#include "kernel/kernel.h"
#include "kernel/mount_use.h"
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/mount_flags.h"
#include "vfs/handle_table.h"

namespace usl::syscalls {
namespace {

constexpr unsigned kRecursive = 0x8000;    // AT_RECURSIVE
constexpr unsigned kMoveBeneath = 0x200;   // MOVE_MOUNT_BENEATH, Linux 6.5
constexpr unsigned kMoveSetGroup = 0x100;  // MOVE_MOUNT_SET_GROUP, Linux 5.15
constexpr unsigned kPathFlags = AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW;

Result<vfs::Path> PlaceArg(const SyscallContext& context, int dirfd_index, int path_index, bool follow, bool empty) {
  const Target target =
      USL_TRY(TargetByPath(context, dirfd_index, path_index, {.follow = follow, .allow_empty = empty}));
  // An object without a place is on no mount of a namespace.
  if (!target.file.path.dentry) return Fail(EINVAL);
  return target.file.path;
}

bool IsOwnOrAnonymous(const SyscallContext& context, const vfs::Mount& mount) {
  const vfs::MountNamespace* name_space = mount.name_space();
  return name_space && (name_space == context.task().fs()->mounts.get() || name_space->IsAnonymous());
}

// The argument of mount_setattr(2) may be longer in programs newer than this: what we do not know must be zero.
Result<mount_attr> ReadMountAttributes(const SyscallContext& context, GuestAddress from, uint64_t size) {
  if (size > static_cast<uint64_t>(sysconf(_SC_PAGESIZE))) return Fail(E2BIG);
  if (size < sizeof(mount_attr)) return Fail(EINVAL);
  USL_TRY_VOID(RequireCapability(context, CAP_SYS_ADMIN));
  std::vector<std::byte> bytes(size);
  USL_TRY_VOID(context.memory().Read(from, bytes.data(), bytes.size()));
  for (size_t i = sizeof(mount_attr); i < bytes.size(); ++i) {
    if (bytes[i] != std::byte{0}) return Fail(E2BIG);
  }
  mount_attr attributes{};
  std::memcpy(&attributes, bytes.data(), sizeof attributes);
  return attributes;
}

bool ChangesNothing(const mount_attr& change) {
  return !change.attr_set && !change.attr_clr && !change.propagation;
}

// do_mount_setattr(): all of it or nothing.
Result<void> ChangeMounts(const SyscallContext& context, const vfs::Path& path, bool recursive,
                          const mount_attr& attributes) {
  const MountChange change = USL_TRY(CheckMountChange(attributes));
  if (!vfs::IsMountRoot(path) || !IsOwnOrAnonymous(context, *path.mount)) return Fail(EINVAL);
  const vfs::MountTree tree = recursive ? vfs::TreeOf(*path.mount) : vfs::MountTree{path.mount};
  for (const auto& mount : tree) {
    const bool becomes_read_only = (change.Apply(mount->flags()) & MS_RDONLY) && !mount->IsReadOnly();
    if (becomes_read_only && kernel::IsMountWritten(context.kernel(), *mount)) return Fail(EBUSY);
  }
  for (const auto& mount : tree) {
    mount->set_flags(change.Apply(mount->flags()));
    if (change.propagation) mount->ChangePropagation(change.propagation);
  }
  path.mount->name_space()->CountEvent();
  return {};
}

Result<Reply> OpenTree(SyscallContext& context, unsigned flags, const mount_attr* attributes) {
  constexpr unsigned kKnown = kPathFlags | kRecursive | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  if (flags & ~kKnown) return Fail(EINVAL);
  if ((flags & kRecursive) && !(flags & OPEN_TREE_CLONE)) return Fail(EINVAL);
  if (flags & OPEN_TREE_CLONE) USL_TRY_VOID(RequireCapability(context, CAP_SYS_ADMIN));
  const vfs::Path path = USL_TRY(PlaceArg(context, 0, 1, !(flags & AT_SYMLINK_NOFOLLOW), (flags & AT_EMPTY_PATH) != 0));
  vfs::HandleTable& handles = context.vfs().handles();
  const bool close_on_exec = flags & OPEN_TREE_CLOEXEC;
  if (!(flags & OPEN_TREE_CLONE)) {
    if (attributes) USL_TRY_VOID(ChangeMounts(context, path, false, *attributes));
    return Reply::Donate(USL_TRY(handles.OpenPathOnly(path)), close_on_exec);
  }
  if (!IsOwnOrAnonymous(context, *path.mount)) return Fail(EINVAL);
  const bool recursive = flags & kRecursive;
  auto tree = USL_TRY(vfs::MountNamespace::CloneTree(path, recursive));
  const vfs::Path top{tree->root(), tree->root()->root()};
  if (attributes) USL_TRY_VOID(ChangeMounts(context, top, recursive, *attributes));
  return Reply::Donate(USL_TRY(handles.OpenTree(top, std::move(tree))), close_on_exec);
}

}  // namespace

Result<Reply> sys_open_tree(SyscallContext& context) {
  return OpenTree(context, context.UintArg(2), nullptr);
}

Result<Reply> sys_open_tree_attr(SyscallContext& context) {
  const bool none = context.AddressArg(3).is_null();
  if (none && context.Arg(4) != 0) return Fail(EINVAL);
  if (none) return OpenTree(context, context.UintArg(2), nullptr);
  const mount_attr attributes = USL_TRY(ReadMountAttributes(context, context.AddressArg(3), context.Arg(4)));
  return OpenTree(context, context.UintArg(2), ChangesNothing(attributes) ? nullptr : &attributes);
}

Result<Reply> sys_move_mount(SyscallContext& context) {
  USL_TRY_VOID(RequireCapability(context, CAP_SYS_ADMIN));
  constexpr unsigned kKnown = 0x77 | kMoveSetGroup | kMoveBeneath;
  const unsigned flags = context.UintArg(4);
  if (flags & ~kKnown) return Fail(EINVAL);
  if ((flags & kMoveBeneath) && (flags & kMoveSetGroup)) return Fail(EINVAL);
  const vfs::Path to =
      USL_TRY(PlaceArg(context, 2, 3, (flags & MOVE_MOUNT_T_SYMLINKS) != 0, (flags & MOVE_MOUNT_T_EMPTY_PATH) != 0));
  const vfs::Path from =
      USL_TRY(PlaceArg(context, 0, 1, (flags & MOVE_MOUNT_F_SYMLINKS) != 0, (flags & MOVE_MOUNT_F_EMPTY_PATH) != 0));
  if (!IsOwnOrAnonymous(context, *from.mount) || !IsOwnOrAnonymous(context, *to.mount)) return Fail(EINVAL);
  if (flags & kMoveSetGroup) return Done(vfs::MountNamespace::CopyPropagation(from, to));
  const bool beneath = flags & kMoveBeneath;
  vfs::MountNamespace& target = *to.mount->name_space();
  vfs::MountNamespace* source = from.mount->name_space();
  if (!source->IsAnonymous()) return Done(target.Move(from, to, beneath));
  // Of a tree that nobody sees only all can be moved, and not into itself.
  if (!vfs::IsMountRoot(from) || from.mount != source->root() || source == &target) return Fail(EINVAL);
  if (to.dentry->inode()->IsDirectory() != from.dentry->inode()->IsDirectory()) return Fail(EINVAL);
  USL_TRY(target.AttachTree(*source, to, beneath));
  return 0;
}

Result<Reply> sys_mount_setattr(SyscallContext& context) {
  const unsigned flags = context.UintArg(2);
  if (flags & ~(kPathFlags | kRecursive)) return Fail(EINVAL);
  const mount_attr attributes = USL_TRY(ReadMountAttributes(context, context.AddressArg(3), context.Arg(4)));
  if (ChangesNothing(attributes)) return 0;
  USL_TRY(CheckMountChange(attributes));
  const vfs::Path path = USL_TRY(PlaceArg(context, 0, 1, !(flags & AT_SYMLINK_NOFOLLOW), (flags & AT_EMPTY_PATH) != 0));
  return Done(ChangeMounts(context, path, (flags & kRecursive) != 0, attributes));
}

}  // namespace usl::syscalls
