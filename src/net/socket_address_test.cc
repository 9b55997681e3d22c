#include "net/socket_address.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/mman.h>

#include <cstring>

#include "net/port_map.h"

namespace usl::net {
namespace {

using platform::GuestAddress;
using platform::GuestMemory;

SocketAddress FromBytes(std::string_view bytes) {
  SocketAddress address;
  memcpy(address.bytes.data(), bytes.data(), bytes.size());
  address.length = static_cast<socklen_t>(bytes.size());
  return address;
}

SocketAddress Unix(std::string_view path) {
  const sa_family_t family = AF_UNIX;
  return FromBytes(std::string(reinterpret_cast<const char*>(&family), sizeof family) + std::string(path));
}

SocketAddress Inet(const char* text, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, text, &address.sin_addr);
  return FromBytes({reinterpret_cast<const char*>(&address), sizeof address});
}

SocketAddress Inet6(const char* text, uint16_t port) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  inet_pton(AF_INET6, text, &address.sin6_addr);
  return FromBytes({reinterpret_cast<const char*>(&address), sizeof address});
}

// This process is its own guest.
GuestMemory Self() {
  return GuestMemory(getpid());
}
template <typename T>
GuestAddress At(T* pointer) {
  return GuestAddress(reinterpret_cast<uint64_t>(pointer));
}

TEST(SocketAddressTest, ReadsOnceAndChecksLengths) {
  char bytes[130] = {AF_UNIX, 0, '/', 'x'};
  auto address = ReadAddress(Self(), At(bytes), 4);
  ASSERT_TRUE(address);
  EXPECT_EQ(address->family(), AF_UNIX);
  EXPECT_EQ(address->length, 4u);
  EXPECT_EQ(ReadAddress(Self(), At(bytes), -1).error(), Error(EINVAL));
  EXPECT_EQ(ReadAddress(Self(), At(bytes), 129).error(), Error(EINVAL));
  EXPECT_TRUE(ReadAddress(Self(), At(bytes), 128));
  EXPECT_EQ(ReadAddress(Self(), GuestAddress(16), 4).error(), Error(EFAULT));
  EXPECT_TRUE(ReadAddress(Self(), GuestAddress(16), 0));
  EXPECT_EQ(ReadAddress(Self(), At(bytes), 1)->family(), AF_UNSPEC);
}

TEST(SocketAddressTest, WritesWhatFits) {
  char room[8] = "-------";
  int length = 3;
  ASSERT_TRUE(WriteAddress(Self(), At(room), At(&length), "abcdef"));
  EXPECT_EQ(length, 6);
  EXPECT_STREQ(room, "abc----");
  length = -1;
  EXPECT_EQ(WriteAddress(Self(), At(room), At(&length), "abc").error(), Error(EINVAL));
  length = 8;
  EXPECT_EQ(WriteAddress(Self(), GuestAddress(16), At(&length), "abc").error(), Error(EFAULT));
  EXPECT_EQ(WriteAddress(Self(), At(room), GuestAddress(16), "abc").error(), Error(EFAULT));
}

TEST(UnixNameTest, PathsEndAtTheirNulOrWithTheAddress) {
  EXPECT_EQ(ParseUnixName(Unix("/a/b"))->path(), "/a/b");
  EXPECT_EQ(ParseUnixName(Unix(std::string_view("/a\0b", 4)))->path(), "/a");
  const std::string full(108, 'x');
  auto name = ParseUnixName(Unix(full));
  ASSERT_TRUE(name);
  EXPECT_EQ(name->path(), full);
  EXPECT_EQ(name->Address().size(), 2 + 109u);
  EXPECT_FALSE(name->IsAbstract());
}

TEST(UnixNameTest, AbstractNamesAreBytes) {
  auto name = ParseUnixName(Unix(std::string_view("\0a\0b", 4)));
  ASSERT_TRUE(name);
  EXPECT_TRUE(name->IsAbstract());
  EXPECT_EQ(name->bytes, std::string("\0a\0b", 4));
}

TEST(UnixNameTest, BadOnes) {
  EXPECT_EQ(ParseUnixName(Unix("")).error(), Error(EINVAL));
  EXPECT_TRUE(IsAutobind(Unix("")));
  EXPECT_EQ(ParseUnixName(Unix(std::string(109, 'x'))).error(), Error(EINVAL));
  EXPECT_EQ(ParseUnixName(Inet("127.0.0.1", 1)).error(), Error(EINVAL));
  EXPECT_EQ(ParseUnixName(SocketAddress{}).error(), Error(EINVAL));
}

TEST(InetEndpointTest, Parses) {
  auto endpoint = ParseInet(Inet("127.3.2.1", 80));
  ASSERT_TRUE(endpoint);
  EXPECT_EQ(endpoint->port, 80);
  EXPECT_TRUE(endpoint->IsLoopback());
  endpoint = ParseInet(Inet6("::ffff:10.0.0.1", 443));
  ASSERT_TRUE(endpoint);
  EXPECT_FALSE(endpoint->is_ipv6);
  EXPECT_EQ(endpoint->address[0], 10);
  EXPECT_TRUE(ParseInet(Inet6("::1", 1))->IsLoopback());
  EXPECT_TRUE(ParseInet(Inet6("::", 1))->IsAny());
  SocketAddress cut = Inet("127.0.0.1", 80);
  cut.length = 8;
  EXPECT_FALSE(ParseInet(cut));
}

TEST(PortMapTest, PublishesAndTranslates) {
  PortMap map;
  ASSERT_TRUE(map.Publish("127.0.0.1:8080:80"));
  ASSERT_TRUE(map.Publish("5353:53/udp"));
  for (const char* text : {"", ":", "1:", ":1", "0:1", "65536:1", "x:1:2", "1:2:3:4", "80/sctp"}) {
    EXPECT_FALSE(map.Publish(text)) << text;
  }
  auto host = map.Published(SOCK_STREAM, 80);
  ASSERT_TRUE(host);
  SocketAddress any = Inet("0.0.0.0", 80);
  PortMap::Apply(*host, any);
  EXPECT_EQ(any.text(), Inet("127.0.0.1", 8080).text());
  SocketAddress any6 = Inet6("::", 80);
  PortMap::Apply(*host, any6);
  EXPECT_EQ(any6.text(), Inet6("::ffff:127.0.0.1", 8080).text());
  EXPECT_FALSE(map.Published(SOCK_STREAM, 53));
  map.Add(SOCK_STREAM, 80, 8080);
  SocketAddress target = Inet("127.0.0.1", 80);
  EXPECT_TRUE(map.ToHost(SOCK_STREAM, target));
  EXPECT_EQ(ParseInet(target)->port, 8080);
  map.ToGuest(SOCK_STREAM, target);
  EXPECT_EQ(ParseInet(target)->port, 80);
  SocketAddress foreign = Inet("203.0.113.9", 80);
  EXPECT_FALSE(map.ToHost(SOCK_STREAM, foreign));
  EXPECT_FALSE(map.ToHost(SOCK_DGRAM, target));
}

}  // namespace
}  // namespace usl::net
