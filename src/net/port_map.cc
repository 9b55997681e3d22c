#include "net/port_map.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstring>
#include <string>

#include "base/unique_fd.h"

namespace usl::net {
namespace {

bool ParsePort(std::string_view text, uint16_t* port) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *port);
  return !text.empty() && error == std::errc() && end == text.data() + text.size() && *port > 0;
}

}  // namespace

Result<void> PortMap::Publish(std::string_view text) {
  int type = SOCK_STREAM;
  if (text.ends_with("/udp")) type = SOCK_DGRAM;
  if (text.ends_with("/udp") || text.ends_with("/tcp")) text.remove_suffix(4);
  const size_t last = text.rfind(':');
  const std::string_view guest = last == text.npos ? text : text.substr(last + 1);
  std::string_view host = last == text.npos ? text : text.substr(0, last);
  HostPort rule;
  if (const size_t colon = host.rfind(':'); colon != host.npos) {
    rule.address.emplace();
    if (inet_pton(AF_INET, std::string(host.substr(0, colon)).c_str(), rule.address->data()) != 1) return Fail(EINVAL);
    host = host.substr(colon + 1);
  }
  uint16_t guest_port = 0;
  if (!ParsePort(guest, &guest_port) || !ParsePort(host, &rule.port)) return Fail(EINVAL);
  published_[{type, guest_port}] = rule;
  return {};
}

std::optional<PortMap::HostPort> PortMap::Published(int type, uint16_t guest_port) const {
  auto found = published_.find({type, guest_port});
  if (found == published_.end()) return std::nullopt;
  return found->second;
}

void PortMap::Apply(const HostPort& host, SocketAddress& address) {
  auto endpoint = ParseInet(address);
  if (!endpoint) return;
  SetPort(address, host.port);
  if (!host.address || !endpoint->IsAny()) return;
  if (address.family() == AF_INET) {
    memcpy(address.bytes.data() + offsetof(sockaddr_in, sin_addr), host.address->data(), host.address->size());
    return;
  }
  // An IPv6 socket takes an IPv4 address as a mapped one.
  in6_addr mapped{};
  mapped.s6_addr[10] = mapped.s6_addr[11] = 0xff;
  memcpy(mapped.s6_addr + 12, host.address->data(), host.address->size());
  memcpy(address.bytes.data() + offsetof(sockaddr_in6, sin6_addr), &mapped, sizeof mapped);
}

bool PortMap::Add(int type, uint16_t guest_port, uint16_t host_port) {
  uint16_t& known = to_host_[{type, guest_port}];
  const bool is_new = known != host_port;
  known = host_port;
  to_guest_[{type, host_port}] = guest_port;
  return is_new;
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
