// Which inet addresses a guest may reach and listen on (issue: network policy per instance). Checked on the address
// that the kernel copied, before the kernel itself acts on it.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/socket_address.h"

namespace usl::net {

// Addresses and ports that a rule allows. An IPv4 rule matches IPv4-mapped IPv6 addresses too.
struct AddressRule {
  bool is_ipv6 = false;
  std::array<uint8_t, 16> address{};
  int prefix = 0;  // leading bits that must be equal; 0 with `any_family` = every address
  bool any_family = true;
  uint16_t first_port = 0, last_port = 65535;

  bool Matches(const InetEndpoint& endpoint) const;
};

// Parses "ADDRESS[/BITS][:PORT[-PORT]]", "*:PORT", "[V6ADDRESS/BITS]:PORT". EINVAL.
Result<AddressRule> ParseAddressRule(std::string_view text);

class NetworkPolicy {
 public:
  // Everything that the host allows (network host), until a rule is added: then what no rule allows is refused.
  void AllowOutgoing(const AddressRule& rule) { Add(outgoing_, rule); }
  void AllowListening(const AddressRule& rule) { Add(listening_, rule); }
  // No address at all (network none): the guest makes no inet sockets, but it may be given one.
  void RefuseAll() { outgoing_.restricted = listening_.restricted = true; }

  // connect, sendto: EACCES, as a host firewall answers. Addresses of other families pass: the host judges them.
  Result<void> CheckOutgoing(const SocketAddress& address) const { return Check(outgoing_, address); }
  // bind, and listen on a socket without a name (any address, port 0).
  Result<void> CheckListening(const SocketAddress& address) const { return Check(listening_, address); }
  bool restricts_listening() const { return listening_.restricted; }

 private:
  struct List {
    bool restricted = false;
    std::vector<AddressRule> rules;
  };
  static void Add(List& list, const AddressRule& rule);
  static Result<void> Check(const List& list, const SocketAddress& address);

  List outgoing_, listening_;
};

}  // namespace usl::net
