// With --allow-out 127.0.0.2 --allow-in 127.0.0.2 (the driver's "listed"): the host's servers on 127.0.0.1 are out of
// reach, however that address is spelled and whenever it is put in place, and nothing listens elsewhere.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>

#include "attack.h"

namespace escape {
namespace {

constexpr int kMultipathTcp = 262;

// Big enough for both families, with room to put one in place of the other.
union Address {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

Address Make(const char* text, long port) {
  Address address{};
  if (inet_pton(AF_INET, text, &address.v4.sin_addr) == 1) {
    address.v4.sin_family = AF_INET;
  } else {
    inet_pton(AF_INET6, text, &address.v6.sin6_addr);
    address.v6.sin6_family = AF_INET6;
  }
  address.v4.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

// Those that lead to 127.0.0.1.
constexpr const char* kSpellings[] = {"127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1", "::ffff:0.0.0.0"};

// Sockets of a descriptor number that closes itself.
struct Socket {
  int fd;
  Socket(int family, int type, int protocol = 0) : fd(socket(family, type, protocol)) {}
  ~Socket() {
    if (fd >= 0) close(fd);
  }
  Socket(const Socket&) = delete;
};

socklen_t SizeOf(const Address& address) {
  return address.any.sa_family == AF_INET6 ? sizeof address.v6 : sizeof address.v4;
}

Outcome Tcp() {
  const long port = FactNumber("tcp_port");
  for (const char* text : kSpellings) {
    const Address address = Make(text, port);
    const int family = address.any.sa_family;
    const socklen_t size = SizeOf(address);
    for (int protocol : {0, kMultipathTcp}) {
      const Socket plain(family, SOCK_STREAM, protocol);
      if (connect(plain.fd, &address.any, size) == 0) return Escaped(std::string("connect to ") + text);
      const Socket fast(family, SOCK_STREAM, protocol);
      if (sendto(fast.fd, "x", 1, MSG_FASTOPEN, &address.any, size) == 1)
        return Escaped(std::string("MSG_FASTOPEN to ") + text);
      const Socket deferred(family, SOCK_STREAM, protocol);
      const int on = 1;
      setsockopt(deferred.fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on);
      if (connect(deferred.fd, &address.any, size) == 0 && send(deferred.fd, "x", 1, MSG_NOSIGNAL) == 1)
        return Escaped(std::string("TCP_FASTOPEN_CONNECT to ") + text);
    }
  }
  // "Any address" means the socket's own.
  const Socket bound(AF_INET, SOCK_STREAM);
  const Address own = Make("127.0.0.1", 0), any = Make("0.0.0.0", port);
  bind(bound.fd, &own.any, sizeof own.v4);
  if (connect(bound.fd, &any.any, sizeof any.v4) == 0) return Escaped("connect to any address");
  return HeldErrno("connect");
}
ESCAPE_ATTACK(Tcp, "policy.tcp", kEscapes, "listed");

ssize_t SendMessage(int fd, const Address* address, socklen_t size) {
  iovec part{const_cast<char*>("x"), 1};
  msghdr message{};
  message.msg_name = const_cast<Address*>(address);
  message.msg_namelen = size;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  return sendmsg(fd, &message, 0);
}

ssize_t SendMessages(int fd, const Address* address, socklen_t size) {
  const Address allowed = Make("127.0.0.2", 9);
  iovec part{const_cast<char*>("x"), 1};
  mmsghdr messages[2] = {};
  for (int i = 0; i < 2; ++i) {
    messages[i].msg_hdr.msg_name = const_cast<Address*>(i == 0 ? &allowed : address);
    messages[i].msg_hdr.msg_namelen = i == 0 ? sizeof allowed.v4 : size;
    messages[i].msg_hdr.msg_iov = &part;
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  return sendmmsg(fd, messages, 2, 0) == 2 ? 1 : -1;
}

Outcome Datagrams() {
  const long port = FactNumber("udp_port");
  for (const char* text : kSpellings) {
    for (int protocol : {0, +IPPROTO_UDPLITE}) {
      Address address = Make(text, port);
      const socklen_t size = SizeOf(address);
      // An IPv6 socket takes IPv4 addresses as well.
      for (int family : {+AF_INET, +AF_INET6}) {
        const Socket udp(family, SOCK_DGRAM, protocol);
        if (sendto(udp.fd, "x", 1, 0, &address.any, size) == 1) return Escaped(std::string("sendto ") + text);
        if (SendMessage(udp.fd, &address, size) == 1) return Escaped(std::string("sendmsg to ") + text);
        if (SendMessages(udp.fd, &address, size) == 1) return Escaped(std::string("sendmmsg to ") + text);
        if (connect(udp.fd, &address.any, size) == 0 && send(udp.fd, "x", 1, 0) == 1)
          return Escaped(std::string("connect to ") + text);
      }
      const Socket udp(AF_INET, SOCK_DGRAM, protocol);
      address.any.sa_family = AF_UNSPEC;
      if (sendto(udp.fd, "x", 1, 0, &address.any, size) == 1) return Escaped(std::string("AF_UNSPEC to ") + text);
    }
  }
  return HeldErrno("sendto");
}
ESCAPE_ATTACK(Datagrams, "policy.datagrams", kEscapes, "listed");

Outcome Listen() {
  const Socket unbound(AF_INET, SOCK_STREAM);
  if (listen(unbound.fd, 1) == 0) return Escaped("an unbound listener");
  for (const char* text : {"127.0.0.1", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1", "::ffff:0.0.0.0"}) {
    const Address chosen = Make(text, 0), fixed = Make(text, 48123);
    const Socket first(chosen.any.sa_family, SOCK_STREAM), second(chosen.any.sa_family, SOCK_STREAM);
    const Socket datagrams(chosen.any.sa_family, SOCK_DGRAM);
    if (bind(first.fd, &chosen.any, SizeOf(chosen)) == 0 && listen(first.fd, 1) == 0)
      return Escaped(std::string("listener on a port of the host's choice of ") + text);
    if (bind(second.fd, &fixed.any, SizeOf(fixed)) == 0 && listen(second.fd, 1) == 0)
      return Escaped(std::string("listener on ") + text);
    if (bind(datagrams.fd, &fixed.any, SizeOf(fixed)) == 0) return Escaped(std::string("datagrams on ") + text);
  }
  Address unspecified = Make("0.0.0.0", 48123);
  unspecified.any.sa_family = AF_UNSPEC;
  const Socket udp(AF_INET, SOCK_DGRAM);
  if (bind(udp.fd, &unspecified.any, sizeof unspecified.v4) == 0) return Escaped("bind with AF_UNSPEC");
  return HeldErrno("listen");
}
ESCAPE_ATTACK(Listen, "policy.listen", kEscapes, "listed");

// The address changes between the allowed and the forbidden one.
struct Swapped {
  volatile uint32_t* word;
  Address address;
  explicit Swapped(long port) : address(Make("127.0.0.2", port)) { word = &address.v4.sin_addr.s_addr; }
  void Flip(unsigned round) {
    *word = htonl(round % 2 ? 0x7f000001 : 0x7f000002);
    Spin(round % 300);
  }
};

Outcome SwappedConnect() {
  Swapped to(FactNumber("tcp_port"));
  return Race(
      "connect", [&](unsigned round) { to.Flip(round); },
      [&] {
        const Socket tcp(AF_INET, SOCK_STREAM);
        return connect(tcp.fd, &to.address.any, sizeof to.address.v4) == 0;
      });
}
ESCAPE_ATTACK(SwappedConnect, "policy.swapped_connect", kEscapes, "listed");

// Whether a datagram arrived is for the host side to tell. Nobody listens at the allowed address, which is a sign of
// its own: a connected socket learns of it.
Outcome SwappedMessages() {
  Swapped to(FactNumber("udp_port"));
  return Race(
      "sendmsg", [&](unsigned round) { to.Flip(round); },
      [&] {
        const Socket udp(AF_INET, SOCK_DGRAM);
        SendMessage(udp.fd, &to.address, sizeof to.address.v4);
        sendto(udp.fd, "x", 1, 0, &to.address.any, sizeof to.address.v4);
        SendMessages(udp.fd, &to.address, sizeof to.address.v4);
        return false;
      },
      2000);
}
ESCAPE_ATTACK(SwappedMessages, "policy.swapped_messages", kEscapes, "listed");

// A second thread makes an IPv6 socket one of IPv4 (IPV6_ADDRFORM) while it sends to an address that only IPv4 takes
// for one. Where it arrives the host side tells.
Outcome ChangedFamily() {
  const Address allowed = Make("::ffff:127.0.0.2", 9);
  Address forbidden = Make("127.0.0.1", FactNumber("udp_port"));
  forbidden.any.sa_family = AF_UNSPEC;
  std::atomic<int> current = -1;
  return Race(
      "changed family",
      [&](unsigned round) {
        const int family = AF_INET;
        Spin(round % 300);
        setsockopt(current.load(), IPPROTO_IPV6, IPV6_ADDRFORM, &family, sizeof family);
      },
      [&] {
        const Socket udp(AF_INET6, SOCK_DGRAM);
        if (connect(udp.fd, &allowed.any, sizeof allowed.v6) < 0) return false;
        current = udp.fd;
        for (int i = 0; i < 4; ++i) {
          sendto(udp.fd, "x", 1, 0, &forbidden.any, sizeof forbidden.v4);
          SendMessage(udp.fd, &forbidden, sizeof forbidden.v4);
        }
        current = -1;
        return false;
      },
      2000);
}
ESCAPE_ATTACK(ChangedFamily, "policy.changed_family", kDepends, "listed");

Outcome SwappedBind() {
  Swapped at(48124);
  return Race(
      "bind", [&](unsigned round) { at.Flip(round); },
      [&] {
        const Socket tcp(AF_INET, SOCK_STREAM);
        const int on = 1;
        setsockopt(tcp.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(tcp.fd, &at.address.any, sizeof at.address.v4) < 0 || listen(tcp.fd, 1) < 0) return false;
        Address is{};
        socklen_t size = sizeof is;
        getsockname(tcp.fd, &is.any, &size);
        return is.v4.sin_addr.s_addr == htonl(INADDR_LOOPBACK);
      });
}
ESCAPE_ATTACK(SwappedBind, "policy.swapped_bind", kEscapes, "listed");

// A second thread exchanges the socket behind the number: what is checked must be what is acted on.
Outcome SwappedSocket() {
  const Address forbidden = Make("0.0.0.0", FactNumber("tcp_port"));
  const int number = socket(AF_INET, SOCK_STREAM, 0);
  return Race(
      "exchanged socket",
      [&](unsigned round) {
        const Socket next(AF_INET, round % 2 ? SOCK_STREAM : SOCK_DGRAM);
        if (round % 2) {
          const Address own = Make(round % 4 == 1 ? "127.0.0.1" : "127.0.0.2", 0);
          bind(next.fd, &own.any, sizeof own.v4);
        }
        dup2(next.fd, number);
      },
      [&] {
        if (connect(number, &forbidden.any, sizeof forbidden.v4) < 0) return false;
        Address peer{};
        socklen_t size = sizeof peer;
        return getpeername(number, &peer.any, &size) == 0 && peer.v4.sin_addr.s_addr == htonl(INADDR_LOOPBACK) &&
               peer.v4.sin_port == forbidden.v4.sin_port;
      });
}
ESCAPE_ATTACK(SwappedSocket, "policy.swapped_socket", kDepends, "listed");

Outcome Groups() {
  const Socket udp(AF_INET, SOCK_DGRAM), udp6(AF_INET6, SOCK_DGRAM);
  ip_mreq request{};
  request.imr_multiaddr.s_addr = inet_addr("239.255.77.77");
  request.imr_interface.s_addr = htonl(INADDR_LOOPBACK);
  if (setsockopt(udp.fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request) == 0) return Escaped("a group");
  group_req generic{};
  generic.gr_interface = 1;
  const Address group = Make("239.255.77.78", 0);
  memcpy(&generic.gr_group, &group, sizeof group);
  if (setsockopt(udp.fd, IPPROTO_IP, MCAST_JOIN_GROUP, &generic, sizeof generic) == 0) return Escaped("a group");
  if (setsockopt(udp6.fd, IPPROTO_IPV6, MCAST_JOIN_GROUP, &generic, sizeof generic) == 0) return Escaped("a group");
  return HeldErrno("setsockopt");
}
ESCAPE_ATTACK(Groups, "policy.groups", kDepends, "listed");

// A socket that the caller gave as standard input obeys the rules too.
Outcome Given() {
  const Address address = Make("127.0.0.1", FactNumber("tcp_port"));
  if (connect(0, &address.any, sizeof address.v4) == 0) return Escaped("connect");
  if (listen(0, 1) == 0) return Escaped("listen");
  return HeldErrno("connect");
}
ESCAPE_ATTACK(Given, "policy.given", kEscapes, "listed stdin=inet");

}  // namespace
}  // namespace escape
