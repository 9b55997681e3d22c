// Ports below 1024, which an ordinary user of the host may not bind. A guest's port is then another one on the host:
// the published one, else the number plus 8000 (80 is 8080, 443 is 8443, 22 is 8022), which a log line says. Inside,
// the guest keeps seeing its own number: bind, getsockname, getpeername, and connections to local addresses are
// translated.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "net/socket_address.h"

namespace usl::net {

class PortMap {
 public:
  // `--publish HOST:GUEST`: the guest's port is always that host port. `type` is SOCK_STREAM or SOCK_DGRAM.
  void Publish(int type, uint16_t guest_port, uint16_t host_port);
  // The host port published for a guest's port.
  std::optional<uint16_t> Published(int type, uint16_t guest_port) const;
  // The port to try when the host refuses a port below 1024.
  static uint16_t Substitute(uint16_t guest_port) { return static_cast<uint16_t>(guest_port + 8000); }

  // A guest's socket was bound to `host_port` for `guest_port`.
  void Add(int type, uint16_t guest_port, uint16_t host_port);
  bool empty() const { return to_host_.empty(); }
  // Address that a guest connects to: the port of a local address is replaced. Returns whether it was.
  bool ToHost(int type, SocketAddress& address) const;
  // Address that the host reports, of this host's: the guest's number is put in.
  void ToGuest(int type, SocketAddress& address) const;

 private:
  static bool IsLocal(const InetEndpoint& endpoint);

  using Key = std::pair<int, uint16_t>;
  std::map<Key, uint16_t> published_;
  std::map<Key, uint16_t> to_host_, to_guest_;
};

}  // namespace usl::net
