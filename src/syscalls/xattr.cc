// Extended attributes (xattr(7)), by path and by descriptor, and the *at forms of Linux 6.13.
#include <fcntl.h>
#include <limits.h>
#include <linux/xattr.h>

#include <cstring>
#include <span>

#include "kernel/fast_path.h"
#include "kernel/kernel.h"
#include "syscalls/arguments.h"
#include "syscalls/copy.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {
namespace {

// struct xattr_args of setxattrat(2) and getxattrat(2).
struct XattrArguments {
  uint64_t value;
  uint32_t size;
  uint32_t flags;
};
static_assert(sizeof(XattrArguments) == 16);

Result<std::string> ReadName(const SyscallContext& context, int index) {
  std::string name = USL_TRY(ReadText(context, context.AddressArg(index), XATTR_NAME_MAX, ERANGE));
  if (name.empty()) return Fail(ERANGE);
  return name;
}

Result<Target> XattrTarget(const SyscallContext& context, bool follow) {
  return TargetByPath(context, kNoDirfd, 0, {.follow = follow});
}

Result<Target> XattrTargetFd(const SyscallContext& context) {
  return TargetByFd(context, context.IntArg(0), false);
}

Result<Target> XattrTargetAt(const SyscallContext& context) {
  const int flags = context.IntArg(2);
  if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return Fail(EINVAL);
  const bool empty = flags & AT_EMPTY_PATH;
  return TargetByPath(context, 0, 1,
                      {.follow = !(flags & AT_SYMLINK_NOFOLLOW), .allow_empty = empty, .null_is_empty = empty});
}

struct Value {
  GuestAddress address;
  uint64_t size = 0;
};

Result<Reply> Set(const SyscallContext& context, const Result<Target>& target, int name_index, Value from, int flags) {
  if (flags & ~(XATTR_CREATE | XATTR_REPLACE)) return Fail(EINVAL);
  const std::string name = USL_TRY(ReadName(context, name_index));
  if (from.size > XATTR_SIZE_MAX) return Fail(E2BIG);
  std::vector<std::byte> value(from.size);
  if (!value.empty()) USL_TRY_VOID(context.memory().Read(from.address, value.data(), value.size()));
  if (!target) return Fail(target.error());
  if (target->IsNative()) return Fail(EOPNOTSUPP);
  USL_TRY_VOID(context.vfs().SetXattr(context.FsView(), target->file, name, value, flags));
  return 0;
}

// Gives `bytes` to the caller; a size of 0 asks for the length only.
Result<Reply> GiveBytes(const SyscallContext& context, std::span<const std::byte> bytes, Value to) {
  if (to.size == 0) return static_cast<int64_t>(bytes.size());
  if (bytes.size() > to.size) return Fail(ERANGE);
  USL_TRY_VOID(context.memory().Write(to.address, bytes.data(), bytes.size()));
  return static_cast<int64_t>(bytes.size());
}

Result<Reply> Get(const SyscallContext& context, const Result<Target>& target, int name_index, Value to,
                  bool follow = true) {
  const std::string name = USL_TRY(ReadName(context, name_index));
  if (!target) return Fail(target.error());
  if (target->IsNative()) return Fail(EOPNOTSUPP);
  const auto value = context.vfs().GetXattr(context.FsView(), target->file, name);
  if (!value) {
    kernel::FastPath* fast = context.kernel().fast_path();
    if (fast && value.error() == Error(ENODATA) && !target->text.empty()) {
      fast->PublishNoXattrs(context, target->text, follow, *target->file.inode);
    }
    return Fail(value.error());
  }
  return GiveBytes(context, *value, to);
}

Result<Reply> List(const SyscallContext& context, const Result<Target>& target, Value to) {
  if (!target) return Fail(target.error());
  if (target->IsNative()) return 0;
  const std::string names = JoinNames(USL_TRY(context.vfs().ListXattr(context.FsView(), target->file)));
  if (names.size() > XATTR_LIST_MAX) return Fail(E2BIG);
  return GiveBytes(context, std::as_bytes(std::span(names)), to);
}

Result<Reply> Remove(const SyscallContext& context, const Result<Target>& target, int name_index) {
  const std::string name = USL_TRY(ReadName(context, name_index));
  if (!target) return Fail(target.error());
  if (target->IsNative()) return Fail(EOPNOTSUPP);
  USL_TRY_VOID(context.vfs().RemoveXattr(context.FsView(), target->file, name));
  return 0;
}

Value ValueArg(const SyscallContext& context, int index) {
  return {context.AddressArg(index), context.Arg(index + 1)};
}

// The structure of the *at forms, which may grow in later versions: unknown members must be zero.
Result<XattrArguments> ReadArguments(const SyscallContext& context, int index) {
  const uint64_t size = context.Arg(index + 1);
  if (size < sizeof(XattrArguments)) return Fail(EINVAL);
  if (size > static_cast<uint64_t>(PIPE_BUF)) return Fail(E2BIG);
  std::vector<std::byte> bytes(size);
  USL_TRY_VOID(context.memory().Read(context.AddressArg(index), bytes.data(), bytes.size()));
  for (size_t i = sizeof(XattrArguments); i < bytes.size(); ++i) {
    if (bytes[i] != std::byte{0}) return Fail(E2BIG);
  }
  XattrArguments arguments;
  std::memcpy(&arguments, bytes.data(), sizeof arguments);
  return arguments;
}

}  // namespace

Result<Reply> sys_setxattr(SyscallContext& context) {
  return Set(context, XattrTarget(context, true), 1, ValueArg(context, 2), context.IntArg(4));
}
Result<Reply> sys_lsetxattr(SyscallContext& context) {
  return Set(context, XattrTarget(context, false), 1, ValueArg(context, 2), context.IntArg(4));
}
Result<Reply> sys_fsetxattr(SyscallContext& context) {
  return Set(context, XattrTargetFd(context), 1, ValueArg(context, 2), context.IntArg(4));
}
Result<Reply> sys_setxattrat(SyscallContext& context) {
  const XattrArguments arguments = USL_TRY(ReadArguments(context, 4));
  return Set(context, XattrTargetAt(context), 3, {GuestAddress(arguments.value), arguments.size},
             static_cast<int>(arguments.flags));
}

Result<Reply> sys_getxattr(SyscallContext& context) {
  return Get(context, XattrTarget(context, true), 1, ValueArg(context, 2));
}
Result<Reply> sys_lgetxattr(SyscallContext& context) {
  return Get(context, XattrTarget(context, false), 1, ValueArg(context, 2), false);
}
Result<Reply> sys_fgetxattr(SyscallContext& context) {
  return Get(context, XattrTargetFd(context), 1, ValueArg(context, 2));
}
Result<Reply> sys_getxattrat(SyscallContext& context) {
  const XattrArguments arguments = USL_TRY(ReadArguments(context, 4));
  if (arguments.flags != 0) return Fail(EINVAL);
  return Get(context, XattrTargetAt(context), 3, {GuestAddress(arguments.value), arguments.size});
}

Result<Reply> sys_listxattr(SyscallContext& context) {
  return List(context, XattrTarget(context, true), ValueArg(context, 1));
}
Result<Reply> sys_llistxattr(SyscallContext& context) {
  return List(context, XattrTarget(context, false), ValueArg(context, 1));
}
Result<Reply> sys_flistxattr(SyscallContext& context) {
  return List(context, XattrTargetFd(context), ValueArg(context, 1));
}
Result<Reply> sys_listxattrat(SyscallContext& context) {
  return List(context, XattrTargetAt(context), ValueArg(context, 3));
}

Result<Reply> sys_removexattr(SyscallContext& context) {
  return Remove(context, XattrTarget(context, true), 1);
}
Result<Reply> sys_lremovexattr(SyscallContext& context) {
  return Remove(context, XattrTarget(context, false), 1);
}
Result<Reply> sys_fremovexattr(SyscallContext& context) {
  return Remove(context, XattrTargetFd(context), 1);
}
Result<Reply> sys_removexattrat(SyscallContext& context) {
  return Remove(context, XattrTargetAt(context), 3);
}

}  // namespace usl::syscalls
