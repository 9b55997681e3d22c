#include "net/policy.h"

#include <arpa/inet.h>

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

bool ParsePorts(std::string_view text, AddressRule* rule) {
  const size_t dash = text.find('-');
  unsigned first = 0, last = 0;
  if (!ParseNumber(text.substr(0, dash), 65535u, &first)) return false;
  last = first;
  if (dash != text.npos && !ParseNumber(text.substr(dash + 1), 65535u, &last)) return false;
  rule->first_port = static_cast<uint16_t>(first);
  rule->last_port = static_cast<uint16_t>(last);
  return first <= last;
}

bool ParseNetwork(std::string_view text, AddressRule* rule) {
  if (text == "*" || text.empty()) return true;
  const size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  rule->any_family = false;
  if (inet_pton(AF_INET, address.c_str(), rule->address.data()) == 1) {
    rule->prefix = 32;
  } else if (inet_pton(AF_INET6, address.c_str(), rule->address.data()) == 1) {
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

}  // namespace

bool AddressRule::Matches(const InetEndpoint& endpoint) const {
  if (endpoint.port < first_port || endpoint.port > last_port) return false;
  if (any_family) return true;
  if (endpoint.is_ipv6 != is_ipv6) return false;
  for (int bit = 0; bit < prefix; ++bit) {
    const uint8_t mask = static_cast<uint8_t>(0x80 >> (bit % 8));
    if ((endpoint.address[bit / 8] ^ address[bit / 8]) & mask) return false;
  }
  return true;
}

Result<AddressRule> ParseAddressRule(std::string_view text) {
  AddressRule rule;
  std::string_view network = text, ports;
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == text.npos) return Fail(EINVAL);
    network = text.substr(1, close - 1);
    ports = text.substr(close + 1);
    if (!ports.empty() && !ports.starts_with(':')) return Fail(EINVAL);
    if (!ports.empty()) ports.remove_prefix(1);
  } else if (std::ranges::count(text, ':') == 1) {
    network = text.substr(0, text.find(':'));
    ports = text.substr(text.find(':') + 1);
    if (ports.empty()) return Fail(EINVAL);
  }
  if (text.empty() || !ParseNetwork(network, &rule)) return Fail(EINVAL);
  if (!ports.empty() && !ParsePorts(ports, &rule)) return Fail(EINVAL);
  return rule;
}

void NetworkPolicy::Add(List& list, const AddressRule& rule) {
  list.restricted = true;
  list.rules.push_back(rule);
}

Result<void> NetworkPolicy::Check(const List& list, const SocketAddress& address) {
  if (!list.restricted) return {};
  auto endpoint = ParseInet(address);
  if (!endpoint) return {};
  for (const AddressRule& rule : list.rules) {
    if (rule.Matches(*endpoint)) return {};
  }
  return Fail(EACCES);
}

}  // namespace usl::net
