#include "net/socket_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace usl::net {

using platform::GuestAddress;
using platform::GuestMemory;

sa_family_t SocketAddress::family() const {
  sa_family_t family = AF_UNSPEC;
  if (length >= sizeof family) memcpy(&family, bytes.data(), sizeof family);
  return family;
}

Result<SocketAddress> ReadAddress(const GuestMemory& memory, GuestAddress from, int length) {
  if (length < 0 || static_cast<size_t>(length) > kMaxAddress) return Fail(EINVAL);
  SocketAddress address;
  address.length = static_cast<socklen_t>(length);
  if (length > 0) USL_TRY_VOID(memory.Read(from, address.bytes.data(), address.length));
  return address;
}

Result<void> WriteAddress(const GuestMemory& memory, GuestAddress to, GuestAddress length_at,
                          std::string_view address) {
  const int room = USL_TRY(memory.ReadObject<int>(length_at));
  if (room < 0) return Fail(EINVAL);
  const size_t stored = std::min(static_cast<size_t>(room), address.size());
  if (stored > 0) USL_TRY_VOID(memory.Write(to, address.data(), stored));
  return memory.WriteObject(length_at, static_cast<int>(address.size()));
}

std::string UnixName::Address() const {
  const sa_family_t family = AF_UNIX;
  std::string address(reinterpret_cast<const char*>(&family), sizeof family);
  return address + bytes;
}

Result<UnixName> ParseUnixName(const SocketAddress& address) {
  if (address.length <= kUnixHeader || address.length > sizeof(sockaddr_un)) return Fail(EINVAL);
  if (address.family() != AF_UNIX) return Fail(EINVAL);
  const std::string_view bytes = address.text().substr(kUnixHeader);
  if (bytes[0] == '\0') return UnixName{std::string(bytes)};
  // The path ends at the first NUL, or with the address: all 108 bytes may be used.
  UnixName name{std::string(bytes.substr(0, bytes.find('\0')))};
  name.bytes.push_back('\0');
  return name;
}

bool IsAutobind(const SocketAddress& address) {
  return address.length == kUnixHeader && address.family() == AF_UNIX;
}

bool InetEndpoint::IsLoopback() const {
  if (!is_ipv6) return address[0] == 127;
  return std::all_of(address.begin(), address.end() - 1, [](uint8_t byte) { return byte == 0; }) && address[15] == 1;
}

bool InetEndpoint::IsAny() const {
  return std::all_of(address.begin(), address.begin() + (is_ipv6 ? 16 : 4), [](uint8_t byte) { return byte == 0; });
}

std::optional<InetEndpoint> ParseInet(const SocketAddress& address) {
  InetEndpoint endpoint;
  if (address.family() == AF_INET && address.length >= sizeof(sockaddr_in)) {
    sockaddr_in inet;
    memcpy(&inet, address.bytes.data(), sizeof inet);
    memcpy(endpoint.address.data(), &inet.sin_addr, 4);
    endpoint.port = ntohs(inet.sin_port);
    return endpoint;
  }
  // The scope id may be missing (RFC 2133's shorter structure, 24 bytes).
  if (address.family() == AF_INET6 && address.length >= 24) {
    sockaddr_in6 inet;
    memcpy(&inet, address.bytes.data(), sizeof inet);
    endpoint.port = ntohs(inet.sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&inet.sin6_addr)) {
      memcpy(endpoint.address.data(), inet.sin6_addr.s6_addr + 12, 4);
    } else {
      endpoint.is_ipv6 = true;
      memcpy(endpoint.address.data(), inet.sin6_addr.s6_addr, 16);
    }
    return endpoint;
  }
  return std::nullopt;
}

void SetPort(SocketAddress& address, uint16_t port) {
  const uint16_t network_order = htons(port);
  // sin_port and sin6_port are at the same place.
  memcpy(address.bytes.data() + offsetof(sockaddr_in, sin_port), &network_order, sizeof network_order);
}

}  // namespace usl::net
