// Which inet addresses a guest may reach and listen on. Checked on the address that the kernel copied, before the
// kernel itself acts on it (docs/network.md tells users).
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/socket_address.h"

namespace usl::net {

enum class Transport : uint8_t { kTcp = 1, kUdp = 2, kIcmp = 4 };
inline constexpr uint8_t kAllTransports = 7;

// Of a socket of the host's: its type, and for datagrams its protocol. Multipath TCP counts as TCP, UDP-Lite as UDP.
Transport TransportOf(int fd, int type);

// Addresses and ports that a rule allows. An IPv4 rule matches IPv4-mapped IPv6 addresses too.
struct AddressRule {
  bool is_ipv6 = false;
  std::array<uint8_t, 16> address{};
  int prefix = 0;  // leading bits that must be equal; 0 with `any_family` = every address
  bool any_family = true;
  uint16_t first_port = 0, last_port = 65535;
  uint8_t transports = kAllTransports;  // bits of Transport; ICMP has no ports, so only rules without ports have it

  bool MatchesAddress(const InetEndpoint& endpoint) const;
  bool Matches(const InetEndpoint& endpoint, Transport transport) const;
};

// Parses WHERE[:PORT[-PORT][,...]][/tcp|/udp]. WHERE is ADDRESS[/BITS], [V6ADDRESS[/BITS]], "*" or "any", "loopback"
// (127.0.0.0/8, ::1), "private" (RFC 1918, RFC 4193, link-local), or "none" for no address at all. One rule for each
// network and range of ports. EINVAL.
Result<std::vector<AddressRule>> ParseAddressRules(std::string_view text);

class NetworkPolicy {
 public:
  // Everything that the host allows (network host), until one of these is called: then what no rule allows is refused.
  void AllowOutgoing(const std::vector<AddressRule>& rules) { Add(outgoing_, rules); }
  void AllowListening(const std::vector<AddressRule>& rules) { Add(listening_, rules); }
  // No address at all (network none): the guest makes no inet sockets, but it may be given one.
  void RefuseAll() { outgoing_.restricted = listening_.restricted = true; }

  // connect, sendto: EPERM, as a firewall of the host's makes it. Addresses of other families pass: the host judges
  // them.
  Result<void> CheckOutgoing(const SocketAddress& address, Transport transport) const {
    return Check(outgoing_, address, transport);
  }
  // bind, and listen on a socket without a name (any address, port 0). EPERM.
  Result<void> CheckListening(const SocketAddress& address, Transport transport) const {
    return Check(listening_, address, transport);
  }
  // Joining a multicast group: a rule for listening must have its address, whatever the port. EPERM.
  Result<void> CheckGroup(const SocketAddress& group) const;
  bool restricts_outgoing() const { return outgoing_.restricted; }
  bool restricts_listening() const { return listening_.restricted; }

 private:
  struct List {
    bool restricted = false;
    std::vector<AddressRule> rules;
  };
  static void Add(List& list, const std::vector<AddressRule>& rules);
  static Result<void> Check(const List& list, const SocketAddress& address, Transport transport);

  List outgoing_, listening_;
};

}  // namespace usl::net
