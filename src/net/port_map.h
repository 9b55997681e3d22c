// Ports below 1024, which an ordinary user of the host may not bind. A guest's port is then another one on the host:
// the published one, else the number plus 8000 (80 is 8080, 443 is 8443, 22 is 8022), which a log line says. Inside,
// the guest keeps seeing its own number: bind, getsockname, getpeername, and connections to local addresses are
// translated.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "net/socket_address.h"

namespace usl::net {

class PortMap {
 public:
  // What the host binds for a guest's port.
  struct HostPort {
    uint16_t port = 0;
    std::optional<std::array<uint8_t, 4>> address;  // in place of "any"
  };
  // `--publish [ADDRESS:]HOST:GUEST[/tcp|/udp]`, or one port for both, with an IPv4 address: the guest's port is always
  // that host port, of TCP unless it says otherwise. EINVAL.
  Result<void> Publish(std::string_view text);
  // What is published for a guest's port. `type` is SOCK_STREAM or SOCK_DGRAM.
  std::optional<HostPort> Published(int type, uint16_t guest_port) const;
  // Makes the address that a guest binds the published one.
  static void Apply(const HostPort& host, SocketAddress& address);
  // The port to try when the host refuses a port below 1024.
  static uint16_t Substitute(uint16_t guest_port) { return static_cast<uint16_t>(guest_port + 8000); }

  // A guest's socket was bound to `host_port` for `guest_port`. False: that was known.
  bool Add(int type, uint16_t guest_port, uint16_t host_port);
  bool empty() const { return to_host_.empty(); }
  // Address that a guest connects to: the port of a local address is replaced. Returns whether it was.
  bool ToHost(int type, SocketAddress& address) const;
  // Address that the host reports, of this host's: the guest's number is put in.
  void ToGuest(int type, SocketAddress& address) const;

 private:
  static bool IsLocal(const InetEndpoint& endpoint);

  using Key = std::pair<int, uint16_t>;
  std::map<Key, HostPort> published_;
  std::map<Key, uint16_t> to_host_, to_guest_;
};

}  // namespace usl::net
