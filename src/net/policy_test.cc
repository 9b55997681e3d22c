#include "net/policy.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>

#include "base/unique_fd.h"

namespace usl::net {
namespace {

SocketAddress Inet(const char* text, uint16_t port) {
  sockaddr_in v4{.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {}, .sin_zero = {}};
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  SocketAddress address;
  if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
    address.length = sizeof v4;
    memcpy(address.bytes.data(), &v4, sizeof v4);
  } else {
    EXPECT_EQ(inet_pton(AF_INET6, text, &v6.sin6_addr), 1) << text;
    address.length = sizeof v6;
    memcpy(address.bytes.data(), &v6, sizeof v6);
  }
  return address;
}

NetworkPolicy Outgoing(std::initializer_list<const char*> rules) {
  NetworkPolicy policy;
  for (const char* rule : rules) {
    const auto parsed = ParseAddressRules(rule);
    EXPECT_TRUE(parsed) << rule;
    if (parsed) policy.AllowOutgoing(*parsed);
  }
  return policy;
}

bool Allows(const NetworkPolicy& policy, const char* address, uint16_t port, Transport transport = Transport::kTcp) {
  const auto checked = policy.CheckOutgoing(Inet(address, port), transport);
  EXPECT_TRUE(checked || checked.error() == Error(EPERM));
  return checked.has_value();
}

TEST(NetworkPolicyTest, AllowsEverythingUntilThereAreRules) {
  EXPECT_TRUE(Allows(NetworkPolicy(), "192.0.2.1", 80));
  const NetworkPolicy policy = Outgoing({"192.0.2.0/24:80-443"});
  EXPECT_TRUE(policy.CheckListening(Inet("0.0.0.0", 1), Transport::kTcp));
  EXPECT_TRUE(policy.CheckGroup(Inet("224.0.0.1", 0)));
}

TEST(NetworkPolicyTest, RulesAllowWhatTheyName) {
  const NetworkPolicy policy = Outgoing({"192.0.2.0/24:80-443", "[2001:db8::/32]:53", "*:22", "2001:db8:1::1"});
  EXPECT_TRUE(Allows(policy, "192.0.2.1", 80));
  EXPECT_TRUE(Allows(policy, "192.0.2.255", 443));
  EXPECT_TRUE(Allows(policy, "::ffff:192.0.2.1", 443));
  EXPECT_FALSE(Allows(policy, "192.0.2.1", 79));
  EXPECT_FALSE(Allows(policy, "192.0.2.1", 444));
  EXPECT_FALSE(Allows(policy, "192.0.3.1", 80));
  EXPECT_FALSE(Allows(policy, "::ffff:192.0.3.1", 80));
  EXPECT_TRUE(Allows(policy, "2001:db8:7::1", 53));
  EXPECT_FALSE(Allows(policy, "2001:db9::1", 53));
  EXPECT_TRUE(Allows(policy, "2001:db8:1::1", 9));
  EXPECT_TRUE(Allows(policy, "203.0.113.9", 22));
  EXPECT_TRUE(Allows(policy, "2001:db9::1", 22));
}

TEST(NetworkPolicyTest, NamesOfNetworks) {
  const NetworkPolicy policy = Outgoing({"loopback", "private:1000-2000,3000/udp"});
  EXPECT_TRUE(Allows(policy, "127.255.0.1", 1));
  EXPECT_TRUE(Allows(policy, "::1", 65535));
  EXPECT_FALSE(Allows(policy, "::2", 1));
  EXPECT_FALSE(Allows(policy, "0.0.0.0", 1));
  EXPECT_TRUE(Allows(policy, "172.31.0.1", 1000, Transport::kUdp));
  EXPECT_TRUE(Allows(policy, "fd00::1", 3000, Transport::kUdp));
  EXPECT_FALSE(Allows(policy, "172.32.0.1", 1000, Transport::kUdp));
  EXPECT_FALSE(Allows(policy, "10.0.0.1", 1000, Transport::kTcp));
  EXPECT_FALSE(Allows(policy, "10.0.0.1", 2001, Transport::kUdp));
  const NetworkPolicy none = Outgoing({"none"});
  EXPECT_FALSE(Allows(none, "127.0.0.1", 1));
  EXPECT_TRUE(Allows(Outgoing({"none", "any"}), "192.0.2.1", 1));
}

TEST(NetworkPolicyTest, OnlyRulesWithoutPortsAllowIcmp) {
  const NetworkPolicy policy = Outgoing({"192.0.2.1", "192.0.2.2:1-65535", "192.0.2.3/tcp"});
  EXPECT_TRUE(Allows(policy, "192.0.2.1", 0, Transport::kIcmp));
  EXPECT_TRUE(Allows(policy, "192.0.2.1", 7, Transport::kIcmp));
  EXPECT_FALSE(Allows(policy, "192.0.2.2", 80, Transport::kIcmp));
  EXPECT_FALSE(Allows(policy, "192.0.2.3", 80, Transport::kIcmp));
  EXPECT_TRUE(Allows(policy, "192.0.2.3", 80));
}

TEST(NetworkPolicyTest, Listening) {
  NetworkPolicy policy;
  policy.AllowListening(*ParseAddressRules("127.0.0.1:8000-8010"));
  policy.AllowListening(*ParseAddressRules("239.1.0.0/16:5000"));
  EXPECT_TRUE(policy.CheckListening(Inet("127.0.0.1", 8000), Transport::kTcp));
  EXPECT_FALSE(policy.CheckListening(Inet("0.0.0.0", 8000), Transport::kTcp));
  EXPECT_FALSE(policy.CheckListening(Inet("127.0.0.1", 0), Transport::kTcp));
  EXPECT_TRUE(policy.CheckGroup(Inet("239.1.2.3", 0)));
  EXPECT_EQ(policy.CheckGroup(Inet("239.2.0.1", 0)).error(), Error(EPERM));
  EXPECT_EQ(policy.CheckGroup(SocketAddress{}).error(), Error(EPERM));
}

TEST(NetworkPolicyTest, OtherFamiliesAreTheHostsToRefuse) {
  SocketAddress cut = Inet("192.0.2.1", 80);
  cut.length = 8;
  EXPECT_TRUE(Outgoing({"none"}).CheckOutgoing(cut, Transport::kTcp));
}

TEST(NetworkPolicyTest, BadRules) {
  for (const char* text : {"",
                           "x",
                           ":80",
                           "1.2.3.4/33",
                           "1.2.3.4:",
                           "1.2.3.4:70000",
                           "1.2.3.4:9-8",
                           "1.2.3.4:0",
                           "[::1",
                           "[::1]x",
                           "[::1]:",
                           "[]",
                           "1.2.3.4/-1",
                           "1.2.3.4/",
                           "1.2.3.4:1,",
                           "1.2.3.4:1-",
                           "[1.2.3.4]",
                           "example.org",
                           "none:80",
                           "::1/129",
                           "::ffff:1.2.3.4",
                           "1.2.3.4:80/sctp",
                           "1.2.3.4 ",
                           "*:+1",
                           "1.2.3",
                           "[::1]/64:80",
                           "dns:1:2",
                           "1.2.3.4/ 8",
                           "1.2.3.4:80:90",
                           "loopback/8",
                           "/tcp",
                           "any:1 "}) {
    EXPECT_FALSE(ParseAddressRules(text)) << text;
  }
}

TEST(TransportTest, IsTheSocketsOwn) {
  const UniqueFd tcp(socket(AF_INET, SOCK_STREAM, 0)), udp(socket(AF_INET6, SOCK_DGRAM, 0));
  ASSERT_TRUE(tcp && udp);
  EXPECT_EQ(TransportOf(tcp.get(), SOCK_STREAM), Transport::kTcp);
  EXPECT_EQ(TransportOf(udp.get(), SOCK_DGRAM), Transport::kUdp);
  EXPECT_EQ(TransportOf(-1, SOCK_DGRAM), Transport::kIcmp);
}

}  // namespace
}  // namespace usl::net
