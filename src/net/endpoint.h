// The calls that name sockets: bind, listen, connect, accept, getsockname, getpeername. The kernel acts on its own
// duplicate with an address that was copied once.
#pragma once

#include "kernel/syscall_context.h"
#include "net/net_service.h"
#include "net/socket_address.h"

namespace usl::net {

// Each serves the call in `context`, whose registers are those of the system call of its name.
Result<kernel::Reply> Bind(kernel::SyscallContext& context);
Result<kernel::Reply> Listen(kernel::SyscallContext& context);
Result<kernel::Reply> Connect(kernel::SyscallContext& context);
// accept and accept4 with an address; `flags` are SOCK_*.
Result<kernel::Reply> Accept(kernel::SyscallContext& context, int flags);
Result<kernel::Reply> GetSocketName(kernel::SyscallContext& context);
Result<kernel::Reply> GetPeerName(kernel::SyscallContext& context);

// Where an AF_UNIX name leads.
struct UnixTarget {
  SocketAddress host;
  bool takes_credentials = false;
  UniqueFd
      node;  // of a host's own socket in a directory that was bound on purpose: named by `host`, so kept until used
};
// The walk's errors, EACCES without write permission for the node, ECONNREFUSED where nobody is bound.
Result<UnixTarget> ResolveUnixName(NetService& service, const vfs::Context& context, const UnixName& name);

// An AF_UNIX name as the guest may see it, for one that the host reported; "family only" where it has none.
std::string GuestUnixAddress(const UnixNames& names, const void* native, socklen_t length);

// Linux names a socket that takes credentials when it connects or sends.
Result<void> NameBeforeUse(UnixNames& names, int fd);

// An inet address as the guest gave it, made what the host is to act on: policy, published ports. "Any
// address" becomes the one that it stands for where the policy looks at addresses. EPERM.
Result<void> PrepareOutgoing(NetService& service, int fd, const SocketFacts& facts, SocketAddress& address);

}  // namespace usl::net
