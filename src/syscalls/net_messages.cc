// Messages with addresses and control data (send(2), sendmmsg(2), recv(2), recvmmsg(2)) and options of sockets.
#include "net/receive.h"
#include "net/send.h"
#include "net/socket_options.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {

using kernel::Reply;
using kernel::SyscallContext;

Result<Reply> sys_sendto(SyscallContext& context) {
  return net::SendTo(context);
}

Result<Reply> sys_sendmsg(SyscallContext& context) {
  return net::SendMessage(context);
}

Result<Reply> sys_sendmmsg(SyscallContext& context) {
  return net::SendMessages(context);
}

Result<Reply> sys_recvfrom(SyscallContext& context) {
  return net::ReceiveFrom(context);
}

Result<Reply> sys_recvmsg(SyscallContext& context) {
  return net::ReceiveMessage(context);
}

Result<Reply> sys_recvmmsg(SyscallContext& context) {
  return net::ReceiveMessages(context);
}

Result<Reply> sys_setsockopt(SyscallContext& context) {
  return net::SetOption(context);
}

Result<Reply> sys_getsockopt(SyscallContext& context) {
  return net::GetOption(context);
}

}  // namespace usl::syscalls
