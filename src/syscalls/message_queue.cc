// POSIX message queues: names are virtual, the queue behind a donated descriptor is the host's.
#include <fcntl.h>
#include <mqueue.h>

#include <optional>

#include "kernel/kernel.h"
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {

Result<Reply> sys_mq_open(SyscallContext& context) {
  const std::string name = USL_TRY(context.PathArg(0));
  const int flags = context.IntArg(1);
  std::optional<mq_attr> attributes;
  if ((flags & O_CREAT) && !context.AddressArg(3).is_null()) {
    attributes = USL_TRY(context.memory().ReadObject<mq_attr>(context.AddressArg(3)));
  }
  const mode_t mode = context.UintArg(2) & ~context.task().fs()->umask;
  UniqueFd fd = USL_TRY(context.kernel().message_queues().Open(name, flags, mode, attributes, context.credentials()));
  // mq_open(2) always sets close-on-exec.
  return Reply::Donate(std::move(fd), true);
}

Result<Reply> sys_mq_unlink(SyscallContext& context) {
  const std::string name = USL_TRY(context.PathArg(0));
  return Done(context.kernel().message_queues().Unlink(name, context.credentials()));
}

}  // namespace usl::syscalls
