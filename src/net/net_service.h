// What the network part of the kernel keeps for the life of an instance: Kernel::Extension<NetService>(). Guarded by
// the kernel lock.
#pragma once

#include <memory>

#include "kernel/kernel.h"
#include "net/identity.h"
#include "net/netlink_sockets.h"
#include "net/policy.h"
#include "net/port_map.h"
#include "net/unix_names.h"

namespace usl::net {

class NetService {
 public:
  explicit NetService(kernel::Kernel& kernel);
  static NetService& Of(kernel::Kernel& kernel) { return kernel.Extension<NetService>(); }

  kernel::Kernel& kernel() const { return kernel_; }
  // The guest's name of a socket that the host knows by this path, as /proc/net/unix shows names; empty for none.
  std::string GuestNameOf(std::string_view host_name) const;
  // EIO and the like: the private directory for names could not be made.
  Result<UnixNames*> names();
  IdentityTokens& tokens() { return tokens_; }
  ProcessIdentities& processes() { return processes_; }
  NetlinkSockets& netlink() { return netlink_; }
  NetworkPolicy& policy() { return policy_; }
  PortMap& ports() { return ports_; }

 private:
  kernel::Kernel& kernel_;
  std::unique_ptr<UnixNames> names_;
  IdentityTokens tokens_;
  ProcessIdentities processes_;
  NetlinkSockets netlink_;
  NetworkPolicy policy_;
  PortMap ports_;
};

// Facts about a duplicate that decide how a call is served.
struct SocketFacts {
  int domain = 0;
  int type = 0;
  uint64_t cookie = 0;  // unique among all sockets of the host, ever
};
// ENOTSOCK, EBADF for an O_PATH descriptor.
Result<SocketFacts> FactsOf(int fd);
// One integer option of the host's socket.
Result<int> IntOption(int fd, int level, int option);

}  // namespace usl::net
