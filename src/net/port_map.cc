#include "net/port_map.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "base/unique_fd.h"

namespace usl::net {

void PortMap::Publish(int type, uint16_t guest_port, uint16_t host_port) {
  published_[{type, guest_port}] = host_port;
}

std::optional<uint16_t> PortMap::Published(int type, uint16_t guest_port) const {
  auto found = published_.find({type, guest_port});
  if (found == published_.end()) return std::nullopt;
  return found->second;
}

void PortMap::Add(int type, uint16_t guest_port, uint16_t host_port) {
  to_host_[{type, guest_port}] = host_port;
  to_guest_[{type, host_port}] = guest_port;
}

// An address of this host is one that a socket can be bound to.
bool PortMap::IsLocal(const InetEndpoint& endpoint) {
  if (endpoint.IsLoopback() || endpoint.IsAny()) return true;
  UniqueFd probe(socket(endpoint.is_ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!probe) return false;
  if (endpoint.is_ipv6) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    memcpy(&address.sin6_addr, endpoint.address.data(), 16);
    return bind(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  memcpy(&address.sin_addr, endpoint.address.data(), 4);
  return bind(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

bool PortMap::ToHost(int type, SocketAddress& address) const {
  if (to_host_.empty()) return false;
  auto endpoint = ParseInet(address);
  if (!endpoint) return false;
  auto found = to_host_.find({type, endpoint->port});
  if (found == to_host_.end() || !IsLocal(*endpoint)) return false;
  SetPort(address, found->second);
  return true;
}

void PortMap::ToGuest(int type, SocketAddress& address) const {
  if (to_guest_.empty()) return;
  auto endpoint = ParseInet(address);
  if (!endpoint) return;
  auto found = to_guest_.find({type, endpoint->port});
  if (found == to_guest_.end() || !IsLocal(*endpoint)) return;
  SetPort(address, found->second);
}

}  // namespace usl::net
