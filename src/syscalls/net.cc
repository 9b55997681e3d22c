// Making and naming sockets (socket(2), bind(2), listen(2), connect(2), accept(2), getsockname(2), getpeername(2)).
#include <sys/socket.h>

#include "net/endpoint.h"
#include "net/net_service.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {

using kernel::Reply;
using kernel::SyscallContext;

Result<Reply> sys_socket(SyscallContext& context) {
  // The filter sends the other families nowhere near here.
  if (context.IntArg(0) != AF_NETLINK) return Fail(EAFNOSUPPORT);
  const int type = context.IntArg(1);
  UniqueFd fd =
      USL_TRY(net::NetService::Of(context.kernel()).netlink().Create(type, context.IntArg(2), context.process().pid()));
  return Reply::Donate(std::move(fd), (type & SOCK_CLOEXEC) != 0);
}

Result<Reply> sys_bind(SyscallContext& context) {
  return net::Bind(context);
}

Result<Reply> sys_listen(SyscallContext& context) {
  return net::Listen(context);
}

Result<Reply> sys_connect(SyscallContext& context) {
  return net::Connect(context);
}

Result<Reply> sys_accept(SyscallContext& context) {
  return net::Accept(context, 0);
}

Result<Reply> sys_accept4(SyscallContext& context) {
  return net::Accept(context, context.IntArg(3));
}

Result<Reply> sys_getsockname(SyscallContext& context) {
  return net::GetSocketName(context);
}

Result<Reply> sys_getpeername(SyscallContext& context) {
  return net::GetPeerName(context);
}

}  // namespace usl::syscalls
