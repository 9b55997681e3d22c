// The guest's netlink sockets. Natively each is the end of an AF_UNIX socketpair, whose other end the kernel reads and
// answers; so read, poll, dup, fork and close are the host's. What would show that (names, options) is served.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/result.h"
#include "base/unique_fd.h"
#include "kernel/kernel.h"
#include "net/socket_address.h"

namespace usl::net {

class NetlinkSockets;
struct SocketFacts;

class NetlinkSocket {
 public:
  int protocol() const { return protocol_; }

  // struct sockaddr_nl as getsockname, or with `peer` getpeername, shows it.
  std::string Name(bool peer) const;
  // bind(2): EINVAL, EADDRINUSE. `pid` is the caller's, which port 0 asks for.
  Result<void> Bind(const SocketAddress& address, pid_t pid);
  // connect(2): only to the kernel. EINVAL, EPERM, ECONNREFUSED.
  Result<void> Connect(const SocketAddress& address, pid_t pid);
  // One datagram, with an address or without (length 0). The answers are there when it returns.
  Result<void> Send(std::string_view datagram, const SocketAddress& to, pid_t pid);
  // Options of level SOL_NETLINK. ENOPROTOOPT.
  Result<void> SetOption(int option, int value);
  Result<int> GetOption(int option) const;
  // The address that messages to the guest come from.
  static std::string SenderName();

 private:
  friend class NetlinkSockets;
  NetlinkSocket(NetlinkSockets& owner, int protocol, pid_t creator)
      : owner_(owner), protocol_(protocol), creator_(creator) {}
  void Answer(std::string_view datagram);
  void Deliver(std::string datagram);

  NetlinkSockets& owner_;
  int protocol_;
  pid_t creator_;
  uint32_t port_ = 0;    // 0 = not bound yet
  uint32_t groups_ = 0;  // accepted; nothing is ever sent to them
  std::unordered_map<int, int> options_;
  UniqueFd kernel_end_;
  uint64_t cookie_ = 0;  // of the guest's end
  std::deque<std::string> unsent_;
  size_t unsent_bytes_ = 0;
};

class NetlinkSockets {
 public:
  explicit NetlinkSockets(kernel::Kernel& kernel) : kernel_(kernel) {}

  // socket(AF_NETLINK): the guest's end. `type` with its flags. ESOCKTNOSUPPORT, EPROTONOSUPPORT.
  Result<UniqueFd> Create(int type, int protocol, pid_t creator);
  // The netlink socket behind a duplicate of a guest's, or null.
  NetlinkSocket* Find(const SocketFacts& facts) const;

 private:
  friend class NetlinkSocket;
  uint32_t FreePort(int protocol, pid_t pid);
  bool IsPortUsed(int protocol, uint32_t port) const;
  void Watch(uint64_t cookie);
  void OnEvent(uint64_t cookie, uint32_t events);

  kernel::Kernel& kernel_;
  std::unordered_map<uint64_t, std::unique_ptr<NetlinkSocket>> sockets_;
  uint32_t next_port_ = 0xfffff000;
};

}  // namespace usl::net
