// Sockets: the host's AF_UNIX names, the network where there is none, other families, descriptors from the host.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "attack.h"

namespace escape {
namespace {

struct UnixAddress {
  sockaddr_un value{};
  socklen_t size;
  UnixAddress(const std::string& name, bool abstract) {
    value.sun_family = AF_UNIX;
    memcpy(value.sun_path + abstract, name.data(), std::min(name.size(), sizeof value.sun_path - 1));
    size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + abstract + name.size() + (abstract ? 0 : 1));
    // The host side binds its abstract name with a length that holds one byte more than the name.
    if (abstract) size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + 1);
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&value); }
};

// Connected: does it greet with the secret, and what descriptor comes with it?
Outcome Receive(int fd) {
  char text[256] = "";
  iovec part{text, sizeof text - 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  pollfd wait{fd, POLLIN, 0};
  poll(&wait, 1, 2000);
  if (recvmsg(fd, &message, MSG_DONTWAIT) < 0) return Escaped("connected");
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header && header->cmsg_type == SCM_RIGHTS) {
    int directory;
    memcpy(&directory, CMSG_DATA(header), sizeof directory);
    if (JudgeFd(openat(directory, "secret", O_RDONLY), "openat").escaped)
      return Escaped("SCM_RIGHTS gave the host's directory");
  }
  return Escaped(HasMarker(text) ? "the host's server told the secret" : "connected");
}

Outcome Connect(const UnixAddress& address, int type = SOCK_STREAM) {
  int fd = socket(AF_UNIX, type, 0);
  if (fd < 0) return HeldErrno("socket");
  if (connect(fd, address.get(), address.size) < 0) return HeldErrno("connect");
  if (type != SOCK_STREAM) return Escaped("connect of a datagram socket");
  return Receive(fd);
}

Outcome UnixPath() {
  EnterWorkDirectory();
  const std::string path = Fact("unix_path");
  symlink(path.c_str(), "link");
  chdir("/");
  const std::string link = Fact("work");
  return FirstEscape({[&] { return Connect(UnixAddress(path, false)); },
                      [&] { return Connect(UnixAddress("../../../.." + path, false)); },
                      [&] { return Connect(UnixAddress("/proc/self/root" + path, false)); },
                      [&] { return Connect(UnixAddress("/proc/self/cwd/.." + path, false)); },
                      [&] { return Connect(UnixAddress(Fact("unix_datagram"), false), SOCK_DGRAM); }});
}
ESCAPE_ATTACK(UnixPath, "sockets.unix_path", kEscapes, "view");

Outcome UnixSymlink() {
  EnterWorkDirectory();
  symlink(Fact("unix_path").c_str(), "link");
  return Connect(UnixAddress("link", false));
}
ESCAPE_ATTACK(UnixSymlink, "sockets.unix_symlink", kEscapes, "");

Outcome UnixAbstract() {
  return Connect(UnixAddress(Fact("unix_abstract"), true));
}
ESCAPE_ATTACK(UnixAbstract, "sockets.unix_abstract", kEscapes, "view");

// Abstract names that every desktop has: the message bus, X11.
Outcome WellKnown() {
  for (const char* path :
       {"/run/dbus/system_bus_socket", "/run/systemd/private", "/run/systemd/journal/stdout", "/run/udev/control",
        "/var/run/docker.sock", "/run/containerd/containerd.sock", "/tmp/.X11-unix/X0", "/run/nscd/socket"}) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    const UnixAddress address(path, false), abstract(path, true);
    if (connect(fd, address.get(), address.size) == 0 || connect(fd, abstract.get(), abstract.size) == 0)
      return Escaped(path);
    close(fd);
  }
  return HeldErrno("connect");
}
ESCAPE_ATTACK(WellKnown, "sockets.well_known", kNone, "view");

// Datagrams with an address; the host side counts what came.
Outcome Datagrams() {
  const UnixAddress address(Fact("unix_datagram"), false);
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  char text[] = "escaped";
  iovec part{text, sizeof text};
  mmsghdr messages[2]{};
  for (auto& message : messages) {
    message.msg_hdr.msg_name = const_cast<sockaddr*>(address.get());
    message.msg_hdr.msg_namelen = address.size;
    message.msg_hdr.msg_iov = &part;
    message.msg_hdr.msg_iovlen = 1;
  }
  std::string sent;
  if (sendto(fd, text, sizeof text, 0, address.get(), address.size) > 0) sent += " sendto";
  if (sendmsg(fd, &messages[0].msg_hdr, 0) > 0) sent += " sendmsg";
  if (sendmmsg(fd, messages, 2, 0) > 0) sent += " sendmmsg";
  // With no length of an address, but MSG_* bits above the lower half.
  if (syscall(SYS_sendto, fd, text, sizeof text, 1UL << 32, address.get(), address.size) > 0)
    sent += " sendto with bit 32";
  return sent.empty() ? HeldErrno("sending") : Escaped("by" + sent);
}
ESCAPE_ATTACK(Datagrams, "sockets.datagrams", kEscapes, "view");

Outcome BindOutside() {
  for (const std::string& path : {HostDirectory() + "/bound", "../../../.." + HostDirectory() + "/bound"}) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    const UnixAddress address(path, false);
    if (bind(fd, address.get(), address.size) == 0) return Escaped("bind " + path);
  }
  return HeldErrno("bind");
}
ESCAPE_ATTACK(BindOutside, "sockets.bind_outside", kEscapes, "view");

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// With --network none there is no inet at all, loopback included.
Outcome NoNetwork() {
  for (int family : {AF_INET, AF_INET6}) {
    for (int type : {+SOCK_STREAM, +SOCK_DGRAM, +SOCK_RAW, SOCK_STREAM | SOCK_NONBLOCK, SOCK_DGRAM | SOCK_CLOEXEC,
                     +SOCK_SEQPACKET}) {
      for (int protocol : {0, +IPPROTO_TCP, +IPPROTO_UDP, +IPPROTO_ICMP, 262 /* MPTCP */, 132 /* SCTP */}) {
        if (socket(family, type, protocol) >= 0) return Escaped("socket");
        if (syscall(SYS_socket, family | 1L << 32, type, protocol) >= 0) return Escaped("socket with bit 32");
      }
    }
  }
  return HeldErrno("socket");
}
ESCAPE_ATTACK(NoNetwork, "sockets.no_network", kEscapes, "nonet");

Outcome NoConnections() {
  const sockaddr_in tcp = Loopback(static_cast<int>(FactNumber("tcp_port")));
  for (int fd : {socket(AF_INET, SOCK_STREAM, 0), socket(AF_INET, SOCK_STREAM, 262), socket(AF_UNIX, SOCK_STREAM, 0)}) {
    if (fd < 0) continue;
    if (connect(fd, reinterpret_cast<const sockaddr*>(&tcp), sizeof tcp) == 0) return Receive(fd);
    if (sendto(fd, "x", 1, MSG_FASTOPEN, reinterpret_cast<const sockaddr*>(&tcp), sizeof tcp) == 1)
      return Escaped("MSG_FASTOPEN");
    if (listen(fd, 1) == 0) return Escaped("listen of an unbound socket");
  }
  return HeldErrno("connect");
}
ESCAPE_ATTACK(NoConnections, "sockets.no_connections", kEscapes, "nonet");

Outcome FastOpen() {
  const sockaddr_in tcp = Loopback(static_cast<int>(FactNumber("tcp_port")));
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) return HeldErrno("socket");
  if (sendto(fd, "x", 1, MSG_FASTOPEN, reinterpret_cast<const sockaddr*>(&tcp), sizeof tcp) == 1) return Receive(fd);
  return HeldErrno("sendto");
}
ESCAPE_ATTACK(FastOpen, "sockets.fast_open", kEscapes, "nonet");

Outcome UnboundListener() {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd >= 0 && listen(fd, 1) == 0) return Escaped("a port is open on all addresses");
  return HeldErrno("listen");
}
ESCAPE_ATTACK(UnboundListener, "sockets.unbound_listener", kEscapes, "nonet");

Outcome Udp() {
  const sockaddr_in udp = Loopback(static_cast<int>(FactNumber("udp_port")));
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (sendto(fd, "x", 1, 0, reinterpret_cast<const sockaddr*>(&udp), sizeof udp) == 1) return Escaped("sendto");
  return HeldErrno("sendto");
}
ESCAPE_ATTACK(Udp, "sockets.udp", kEscapes, "nonet");

// A host's inet socket as standard input is one that the caller gave. Another connection by it is not.
Outcome InheritedSocket() {
  const sockaddr_in tcp = Loopback(static_cast<int>(FactNumber("tcp_port")));
  if (connect(0, reinterpret_cast<const sockaddr*>(&tcp), sizeof tcp) == 0) return Escaped("connect");
  if (sendto(0, "x", 1, MSG_FASTOPEN, reinterpret_cast<const sockaddr*>(&tcp), sizeof tcp) == 1)
    return Escaped("MSG_FASTOPEN");
  if (listen(0, 1) == 0) return Escaped("listen");
  return HeldErrno("listen");
}
ESCAPE_ATTACK(InheritedSocket, "sockets.inherited", kEscapes, "nonet stdin=inet");

// Families that reach the host's kernel, its hypervisor or its wires.
Outcome Families() {
  for (int family = 0; family < 64; ++family) {
    if (family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK) continue;
    for (int type : {+SOCK_STREAM, +SOCK_DGRAM, +SOCK_RAW, +SOCK_RDM, +SOCK_SEQPACKET, 10}) {
      if (socket(family, type, 0) >= 0) return Escaped("family " + std::to_string(family));
    }
    int pair[2];
    if (socketpair(family, SOCK_STREAM, 0, pair) == 0) return Escaped("socketpair of family " + std::to_string(family));
  }
  for (int family : {AF_INET, AF_INET6}) {
    for (int protocol : {1, 2, 6, 17, 58, 255}) {
      if (socket(family, SOCK_RAW, protocol) >= 0) return Escaped("raw socket");
    }
    for (int protocol : {33 /* DCCP */, 132 /* SCTP */, 115 /* L2TP */, 263 /* SMC */}) {
      if (socket(family, SOCK_STREAM, protocol) >= 0 || socket(family, SOCK_DGRAM, protocol) >= 0) {
        return Escaped("protocol " + std::to_string(protocol));
      }
    }
  }
  return HeldErrno("socket");
}
ESCAPE_ATTACK(Families, "sockets.families", kDepends, "");

// Netlink sockets of protocols other than routes. If one is made it may not be the host's: the events of the host's
// devices, its sockets, its audit. Asked for the list of AF_UNIX sockets it must not answer with the host's.
Outcome Netlink() {
  struct {
    struct {
      uint32_t length;
      uint16_t type, flags;
      uint32_t sequence, port;
    } header;
    struct {
      uint8_t family, protocol;
      uint16_t pad;
      uint32_t states, inode, show, cookie[2];
    } request;
  } message{{40, 20 /* SOCK_DIAG_BY_FAMILY */, 0x301, 1, 0}, {AF_UNIX, 0, 0, ~0u, 0, 1 /* names */, {~0u, ~0u}}};
  int fd = socket(AF_NETLINK, SOCK_RAW, 4 /* NETLINK_SOCK_DIAG */);
  if (fd < 0) return HeldErrno("socket");
  send(fd, &message, sizeof message, 0);
  pollfd wait{fd, POLLIN, 0};
  std::string all;
  char buffer[65536];
  while (poll(&wait, 1, 300) > 0) {
    ssize_t size = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (size <= 0) break;
    all.append(buffer, static_cast<size_t>(size));
    if (size == 20) break;
  }
  return all.find(Fact("unix_path")) != std::string::npos ? Escaped("SOCK_DIAG lists the host's sockets")
                                                          : Held("no names");
}
ESCAPE_ATTACK(Netlink, "sockets.netlink_diag", kDepends, "");

}  // namespace
}  // namespace escape
