#include "net/policy.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <string>

namespace usl::net {
namespace {

template <typename T>
bool ParseNumber(std::string_view text, T max, T* value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return !text.empty() && error == std::errc() && end == text.data() + text.size() && *value <= max;
}

// PORT[-PORT], not 0: that is no port.
bool ParsePorts(std::string_view text, AddressRule* rule) {
  const size_t dash = text.find('-');
  unsigned first = 0, last = 0;
  if (!ParseNumber(text.substr(0, dash), 65535u, &first)) return false;
  last = first;
  if (dash != text.npos && !ParseNumber(text.substr(dash + 1), 65535u, &last)) return false;
  rule->first_port = static_cast<uint16_t>(first);
  rule->last_port = static_cast<uint16_t>(last);
  return first > 0 && first <= last;
}

bool ParseNetwork(std::string_view text, AddressRule* rule) {
  const size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  rule->any_family = false;
  if (inet_pton(AF_INET, address.c_str(), rule->address.data()) == 1) {
    rule->prefix = 32;
  } else if (inet_pton(AF_INET6, address.c_str(), rule->address.data()) == 1) {
    // Mapped addresses are compared as IPv4: a rule for them would match nothing.
    if (IN6_IS_ADDR_V4MAPPED(reinterpret_cast<const in6_addr*>(rule->address.data()))) return false;
    rule->is_ipv6 = true;
    rule->prefix = 128;
  } else {
    return false;
  }
  if (slash == text.npos) return true;
  unsigned prefix = 0;
  if (!ParseNumber(text.substr(slash + 1), static_cast<unsigned>(rule->prefix), &prefix)) return false;
  rule->prefix = static_cast<int>(prefix);
  return true;
}

// Words for networks, each with what it stands for.
struct NamedNetworks {
  std::string_view name;
  std::vector<std::string_view> networks;
};

std::optional<std::vector<AddressRule>> ParseWhere(std::string_view text) {
  static const NamedNetworks kNamed[] = {
      {"loopback", {"127.0.0.0/8", "::1"}},
      {"private", {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"}},
      {"none", {}},
  };
  if (text == "*" || text == "any") return std::vector<AddressRule>(1);
  std::vector<AddressRule> rules;
  for (const NamedNetworks& named : kNamed) {
    if (named.name != text) continue;
    for (const std::string_view network : named.networks) ParseNetwork(network, &rules.emplace_back());
    return rules;
  }
  if (!ParseNetwork(text, &rules.emplace_back())) return std::nullopt;
  return rules;
}

// A rule's address, and its ports where there are some: what follows a colon.
struct RuleParts {
  std::string_view where;
  std::optional<std::string_view> ports;
};

std::optional<RuleParts> SplitRule(std::string_view text) {
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == text.npos) return std::nullopt;
    RuleParts parts{text.substr(1, close - 1), std::nullopt};
    const std::string_view rest = text.substr(close + 1);
    if (parts.where.find(':') == text.npos || (!rest.empty() && rest[0] != ':')) return std::nullopt;
    if (!rest.empty()) parts.ports = rest.substr(1);
    return parts;
  }
  // More than one colon without brackets is an IPv6 address.
  if (std::ranges::count(text, ':') != 1) return RuleParts{text, std::nullopt};
  return RuleParts{text.substr(0, text.find(':')), text.substr(text.find(':') + 1)};
}

bool HasAllPorts(const AddressRule& rule) {
  return rule.first_port == 0 && rule.last_port == 65535;
}

}  // namespace

Transport TransportOf(int fd, int type) {
  if (type == SOCK_STREAM) return Transport::kTcp;
  int protocol = 0;
  socklen_t size = sizeof protocol;
  // What cannot be told is taken for what fewest rules allow.
  if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) < 0) return Transport::kIcmp;
  return protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE ? Transport::kUdp : Transport::kIcmp;
}

bool AddressRule::MatchesAddress(const InetEndpoint& endpoint) const {
  if (any_family) return true;
  if (endpoint.is_ipv6 != is_ipv6) return false;
  for (int bit = 0; bit < prefix; ++bit) {
    const uint8_t mask = static_cast<uint8_t>(0x80 >> (bit % 8));
    if ((endpoint.address[bit / 8] ^ address[bit / 8]) & mask) return false;
  }
  return true;
}

bool AddressRule::Matches(const InetEndpoint& endpoint, Transport transport) const {
  if (!(transports & static_cast<uint8_t>(transport))) return false;
  if (transport == Transport::kIcmp) return HasAllPorts(*this) && MatchesAddress(endpoint);
  return endpoint.port >= first_port && endpoint.port <= last_port && MatchesAddress(endpoint);
}

Result<std::vector<AddressRule>> ParseAddressRules(std::string_view text) {
  uint8_t transports = kAllTransports;
  if (text.ends_with("/tcp")) transports = static_cast<uint8_t>(Transport::kTcp);
  if (text.ends_with("/udp")) transports = static_cast<uint8_t>(Transport::kUdp);
  if (transports != kAllTransports) text.remove_suffix(4);
  const auto parts = SplitRule(text);
  if (!parts) return Fail(EINVAL);
  auto networks = ParseWhere(parts->where);
  if (!networks) return Fail(EINVAL);
  for (AddressRule& rule : *networks) rule.transports = transports;
  if (!parts->ports) return std::move(*networks);
  if (parts->where == "none") return Fail(EINVAL);
  std::vector<AddressRule> rules;
  std::string_view ports = *parts->ports;
  while (true) {
    const size_t comma = ports.find(',');
    for (AddressRule rule : *networks) {
      if (!ParsePorts(ports.substr(0, comma), &rule)) return Fail(EINVAL);
      rules.push_back(rule);
    }
    if (comma == ports.npos) return rules;
    ports.remove_prefix(comma + 1);
  }
}

void NetworkPolicy::Add(List& list, const std::vector<AddressRule>& rules) {
  list.restricted = true;
  list.rules.insert(list.rules.end(), rules.begin(), rules.end());
}

Result<void> NetworkPolicy::CheckGroup(const SocketAddress& group) const {
  if (!listening_.restricted) return {};
  const auto endpoint = ParseInet(group);
  if (!endpoint) return Fail(EPERM);
  for (const AddressRule& rule : listening_.rules) {
    if (rule.MatchesAddress(*endpoint)) return {};
  }
  return Fail(EPERM);
}

Result<void> NetworkPolicy::Check(const List& list, const SocketAddress& address, Transport transport) {
  if (!list.restricted) return {};
  auto endpoint = ParseInet(address);
  if (!endpoint) return {};
  for (const AddressRule& rule : list.rules) {
    if (rule.Matches(*endpoint, transport)) return {};
  }
  return Fail(EPERM);
}

}  // namespace usl::net
