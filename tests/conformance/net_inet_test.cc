// TCP and UDP over the loopback, and what may be known of interfaces and routes.
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include <csignal>
#include <thread>

#include "conformance/net_helpers.h"
#include "conformance/syscall_matchers.h"

namespace usl::conformance {
namespace {

int ConnectInet(const Fd& fd, const sockaddr_in& address) {
  return connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

std::pair<Fd, sockaddr_in> NewListener() {
  Fd listener = NewSocket(AF_INET, SOCK_STREAM);
  const sockaddr_in address = BindToLoopback(listener);
  listen(listener.get(), 16);
  return {std::move(listener), address};
}

TEST(TcpTest, ConnectsAndNames) {
  auto [listener, address] = NewListener();
  ASSERT_NE(address.sin_port, 0);
  Fd client = NewSocket(AF_INET, SOCK_STREAM);
  ASSERT_THAT(ConnectInet(client, address), SyscallSucceeds());
  sockaddr_in peer{}, own{};
  socklen_t length = sizeof peer;
  Fd server(accept4(listener.get(), reinterpret_cast<sockaddr*>(&peer), &length, SOCK_CLOEXEC | SOCK_NONBLOCK));
  ASSERT_TRUE(server.ok());
  EXPECT_NE(fcntl(server.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(length, sizeof peer);
  ASSERT_THAT(getsockname(client.get(), reinterpret_cast<sockaddr*>(&own), &length), SyscallSucceeds());
  EXPECT_EQ(own.sin_port, peer.sin_port);
  ASSERT_THAT(getpeername(client.get(), reinterpret_cast<sockaddr*>(&own), &length), SyscallSucceeds());
  EXPECT_EQ(own.sin_port, address.sin_port);
  EXPECT_THAT(ConnectInet(client, address), SyscallFailsWithErrno(EISCONN));
  EXPECT_THAT(recv(server.get(), &own, 1, 0), SyscallFailsWithErrno(EAGAIN));
  EXPECT_THAT(Send(client, {.data = "hello"}), SyscallSucceedsWithValue(5));
  pollfd ready{.fd = server.get(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(poll(&ready, 1, 1000), 1);
  Message message = Receive(server);
  EXPECT_EQ(message.data, "hello");
  EXPECT_EQ(message.name, "");
  ASSERT_EQ(shutdown(client.get(), SHUT_WR), 0);
  ASSERT_EQ(poll(&ready, 1, 1000), 1);
  EXPECT_EQ(Receive(server).size, 0);
}

TEST(TcpTest, RefusedConnections) {
  auto [listener, address] = NewListener();
  listener.Close();
  Fd client = NewSocket(AF_INET, SOCK_STREAM);
  EXPECT_THAT(ConnectInet(client, address), SyscallFailsWithErrno(ECONNREFUSED));
  EXPECT_EQ(fcntl(client.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_THAT(connect(client.get(), reinterpret_cast<sockaddr*>(&address), 4), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(connect(client.get(), reinterpret_cast<sockaddr*>(&address), 1), SyscallFailsWithErrno(EINVAL));
  EXPECT_THAT(connect(client.get(), reinterpret_cast<sockaddr*>(kWildPointer), 16), SyscallFailsWithErrno(EFAULT));
  EXPECT_THAT(connect(-1, reinterpret_cast<sockaddr*>(&address), 16), SyscallFailsWithErrno(EBADF));
  Fd file(open("/dev/null", O_RDWR));
  EXPECT_THAT(ConnectInet(file, address), SyscallFailsWithErrno(ENOTSOCK));
}

TEST(TcpTest, NonblockingConnect) {
  auto [listener, address] = NewListener();
  Fd client = NewSocket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
  if (ConnectInet(client, address) < 0) {
    EXPECT_EQ(errno, EINPROGRESS);
  }
  pollfd ready{.fd = client.get(), .events = POLLOUT, .revents = 0};
  ASSERT_EQ(poll(&ready, 1, 1000), 1);
  int error = -1;
  socklen_t length = sizeof error;
  ASSERT_THAT(getsockopt(client.get(), SOL_SOCKET, SO_ERROR, &error, &length), SyscallSucceeds());
  EXPECT_EQ(error, 0);
  EXPECT_NE(fcntl(client.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST(TcpTest, AFullBacklogMakesConnectWait) {
  // SYNs to a listener with a full queue are dropped, so connect(2) waits.
  Fd listener = NewSocket(AF_INET, SOCK_STREAM);
  const sockaddr_in address = BindToLoopback(listener);
  ASSERT_EQ(listen(listener.get(), 0), 0);
  std::vector<Fd> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(NewSocket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK));
    ConnectInet(clients.back(), address);
  }
  Fd waiting = NewSocket(AF_INET, SOCK_STREAM);
  const timeval timeout{.tv_sec = 0, .tv_usec = 150'000};
  ASSERT_EQ(setsockopt(waiting.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout), 0);
  EXPECT_THAT(ConnectInet(waiting, address), SyscallFailsWithErrno(EINPROGRESS));
  EXPECT_EQ(ConnectInet(waiting, address), -1);
  EXPECT_TRUE(errno == EALREADY || errno == EINPROGRESS) << errno;
}

TEST(TcpTest, AcceptWaits) {
  auto [listener, address] = NewListener();
  std::thread later([address = address] {
    usleep(80'000);
    Fd client = NewSocket(AF_INET, SOCK_STREAM);
    EXPECT_EQ(ConnectInet(client, address), 0);
  });
  sockaddr_in peer{};
  socklen_t length = sizeof peer;
  Fd server(accept(listener.get(), reinterpret_cast<sockaddr*>(&peer), &length));
  EXPECT_TRUE(server.ok());
  later.join();
}

TEST(TcpTest, LargeMessagesAndBrokenConnections) {
  auto [listener, address] = NewListener();
  Fd client = NewSocket(AF_INET, SOCK_STREAM);
  ASSERT_THAT(ConnectInet(client, address), SyscallSucceeds());
  Fd server(accept(listener.get(), nullptr, nullptr));
  const std::string sent(6'000'000, 'z');
  size_t got = 0;
  std::thread reader([&] {
    std::string buffer(100'000, '\0');
    while (got < sent.size()) {
      const ssize_t part = recv(server.get(), buffer.data(), buffer.size(), 0);
      if (part <= 0) break;
      got += static_cast<size_t>(part);
    }
  });
  EXPECT_THAT(Send(client, {.data = sent}), SyscallSucceedsWithValue(sent.size()));
  reader.join();
  EXPECT_EQ(got, sent.size());
  const linger now{.l_onoff = 1, .l_linger = 0};
  setsockopt(server.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  server.Close();
  usleep(20'000);
  EXPECT_THAT(Send(client, {.data = "x"}, MSG_NOSIGNAL), SyscallFailsWithErrno(ECONNRESET));
  EXPECT_THAT(Send(client, {.data = "x"}, MSG_NOSIGNAL), SyscallFailsWithErrno(EPIPE));
}

TEST(UdpTest, Datagrams) {
  Fd one = NewSocket(AF_INET, SOCK_DGRAM), two = NewSocket(AF_INET, SOCK_DGRAM);
  sockaddr_in address = BindToLoopback(one);
  const sockaddr_in from = BindToLoopback(two);
  ASSERT_THAT(sendto(two.get(), "abc", 3, 0, reinterpret_cast<sockaddr*>(&address), sizeof address),
              SyscallSucceedsWithValue(3));
  char buffer[8];
  sockaddr_in name{};
  socklen_t length = sizeof name;
  ASSERT_THAT(recvfrom(one.get(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&name), &length),
              SyscallSucceedsWithValue(3));
  EXPECT_EQ(name.sin_port, from.sin_port);
  ASSERT_THAT(Send(one, {.data = "back", .name = reinterpret_cast<sockaddr*>(&name), .name_length = sizeof name}),
              SyscallSucceedsWithValue(4));
  Message message = Receive(two);
  EXPECT_EQ(message.data, "back");
  EXPECT_EQ(message.name.size(), sizeof(sockaddr_in));
  EXPECT_THAT(Send(one, {.data = "x"}), SyscallFailsWithErrno(EDESTADDRREQ));
  EXPECT_THAT(
      Send(one,
           {.data = std::string(70'000, 'x'), .name = reinterpret_cast<sockaddr*>(&name), .name_length = sizeof name}),
      SyscallFailsWithErrno(EMSGSIZE));
  ASSERT_THAT(ConnectInet(one, from), SyscallSucceeds());
  EXPECT_THAT(Send(one, {.data = "connected"}), SyscallSucceedsWithValue(9));
  EXPECT_EQ(Receive(two).data, "connected");
  sockaddr dissolve{};
  dissolve.sa_family = AF_UNSPEC;
  EXPECT_THAT(connect(one.get(), &dissolve, sizeof dissolve), SyscallSucceeds());
  EXPECT_THAT(Send(one, {.data = "x"}), SyscallFailsWithErrno(EDESTADDRREQ));
}

TEST(UdpTest, ControlDataAndBatches) {
  Fd one = NewSocket(AF_INET, SOCK_DGRAM), two = NewSocket(AF_INET, SOCK_DGRAM);
  sockaddr_in address = BindToLoopback(one);
  SetInt(one, IPPROTO_IP, IP_PKTINFO, 1);
  SetInt(one, IPPROTO_IP, IP_RECVTOS, 1);
  char control[CMSG_SPACE(sizeof(int))] = {};
  const cmsghdr header{.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_TOS};
  const int tos = 0x10;
  memcpy(control, &header, sizeof header);
  memcpy(control + sizeof header, &tos, sizeof tos);
  char text[] = "x";
  iovec part{text, 1};
  mmsghdr messages[3] = {};
  for (mmsghdr& message : messages) {
    message.msg_hdr.msg_name = &address;
    message.msg_hdr.msg_namelen = sizeof address;
    message.msg_hdr.msg_iov = &part;
    message.msg_hdr.msg_iovlen = 1;
    message.msg_hdr.msg_control = control;
    message.msg_hdr.msg_controllen = sizeof control;
  }
  ASSERT_THAT(sendmmsg(two.get(), messages, 3, 0), SyscallSucceedsWithValue(3));
  char received[256];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = received;
  message.msg_controllen = sizeof received;
  ASSERT_THAT(recvmsg(one.get(), &message, 0), SyscallSucceedsWithValue(1));
  bool has_info = false, has_tos = false;
  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item; item = CMSG_NXTHDR(&message, item)) {
    has_info |= item->cmsg_type == IP_PKTINFO;
    if (item->cmsg_type == IP_TOS) has_tos = *CMSG_DATA(item) == tos;
  }
  EXPECT_TRUE(has_info);
  EXPECT_TRUE(has_tos);
  EXPECT_THAT(recvmmsg(one.get(), messages, 3, MSG_DONTWAIT, nullptr), SyscallSucceedsWithValue(2));
  // The second address is bad: the first goes out.
  messages[0].msg_hdr.msg_control = messages[1].msg_hdr.msg_control = nullptr;
  messages[0].msg_hdr.msg_controllen = messages[1].msg_hdr.msg_controllen = 0;
  messages[0].msg_hdr.msg_namelen = messages[1].msg_hdr.msg_namelen = sizeof address;
  messages[1].msg_hdr.msg_name = kWildPointer;
  EXPECT_THAT(sendmmsg(two.get(), messages, 3, 0), SyscallSucceedsWithValue(1));
}

TEST(UdpTest, TimeoutOfReceive) {
  Fd socket = NewSocket(AF_INET, SOCK_DGRAM);
  BindToLoopback(socket);
  const timeval timeout{.tv_sec = 0, .tv_usec = 50'000};
  ASSERT_EQ(setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout), 0);
  EXPECT_THAT(Receive(socket).size, SyscallFailsWithErrno(EAGAIN));
}

TEST(InetTest, BindErrors) {
  auto [listener, address] = NewListener();
  Fd other = NewSocket(AF_INET, SOCK_STREAM);
  EXPECT_THAT(bind(other.get(), reinterpret_cast<sockaddr*>(&address), sizeof address),
              SyscallFailsWithErrno(EADDRINUSE));
  sockaddr_in foreign = LoopbackAddress();
  foreign.sin_addr.s_addr = inet_addr("203.0.113.77");
  EXPECT_THAT(bind(other.get(), reinterpret_cast<sockaddr*>(&foreign), sizeof foreign),
              SyscallFailsWithErrno(EADDRNOTAVAIL));
  foreign.sin_family = AF_APPLETALK;
  EXPECT_THAT(bind(other.get(), reinterpret_cast<sockaddr*>(&foreign), sizeof foreign),
              SyscallFailsWithErrno(EAFNOSUPPORT));
  EXPECT_THAT(bind(other.get(), reinterpret_cast<sockaddr*>(&foreign), 7), SyscallFailsWithErrno(EINVAL));
  const int low = ErrnoAs(kUser, [] {
    Fd fd = NewSocket(AF_INET, SOCK_STREAM);
    const sockaddr_in privileged = LoopbackAddress(777);
    return bind(fd.get(), reinterpret_cast<const sockaddr*>(&privileged), sizeof privileged);
  });
  EXPECT_EQ(low, EACCES);
}

TEST(InetTest, RootBindsLowPortsAndKeepsTheirNumber) {
  Fd listener = NewSocket(AF_INET, SOCK_STREAM);
  sockaddr_in address = LoopbackAddress(777);
  SetInt(listener, SOL_SOCKET, SO_REUSEADDR, 1);
  ASSERT_THAT(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), SyscallSucceeds());
  ASSERT_EQ(listen(listener.get(), 4), 0);
  sockaddr_in name{};
  socklen_t length = sizeof name;
  ASSERT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&name), &length), 0);
  EXPECT_EQ(ntohs(name.sin_port), 777);
  Fd client = NewSocket(AF_INET, SOCK_STREAM);
  ASSERT_THAT(ConnectInet(client, address), SyscallSucceeds());
  ASSERT_EQ(getpeername(client.get(), reinterpret_cast<sockaddr*>(&name), &length), 0);
  EXPECT_EQ(ntohs(name.sin_port), 777);
}

TEST(InetTest, SocketErrors) {
  EXPECT_EQ(socket(AF_INET, 77, 0), -1);
  EXPECT_THAT(socket(12345, SOCK_STREAM, 0), SyscallFailsWithErrno(EAFNOSUPPORT));
  EXPECT_THAT(socket(AF_NETLINK, SOCK_STREAM, NETLINK_ROUTE), SyscallFailsWithErrno(ESOCKTNOSUPPORT));
  int ends[2];
  EXPECT_THAT(socketpair(AF_INET, SOCK_STREAM, 0, ends), SyscallFailsWithErrno(EOPNOTSUPP));
}

TEST(InterfaceTest, TheLoopbackIsThere) {
  EXPECT_NE(if_nametoindex("lo"), 0u);
  ifaddrs* list = nullptr;
  ASSERT_EQ(getifaddrs(&list), 0);
  bool found = false;
  for (ifaddrs* entry = list; entry; entry = entry->ifa_next) {
    if (!entry->ifa_addr || entry->ifa_addr->sa_family != AF_INET) continue;
    const auto* inet = reinterpret_cast<const sockaddr_in*>(entry->ifa_addr);
    found |= strcmp(entry->ifa_name, "lo") == 0 && inet->sin_addr.s_addr == htonl(INADDR_LOOPBACK);
  }
  freeifaddrs(list);
  EXPECT_TRUE(found);
  Fd any = NewSocket(AF_INET, SOCK_DGRAM);
  ifreq request{};
  strcpy(request.ifr_name, "lo");
  ASSERT_THAT(ioctl(any.get(), SIOCGIFFLAGS, &request), SyscallSucceeds());
  EXPECT_TRUE(request.ifr_flags & IFF_LOOPBACK);
  strcpy(request.ifr_name, "none77");
  EXPECT_THAT(ioctl(any.get(), SIOCGIFFLAGS, &request), SyscallFailsWithErrno(ENODEV));
  char buffer[4096];
  ifconf configuration{};
  configuration.ifc_len = sizeof buffer;
  configuration.ifc_buf = buffer;
  ASSERT_THAT(ioctl(any.get(), SIOCGIFCONF, &configuration), SyscallSucceeds());
  EXPECT_GE(configuration.ifc_len, static_cast<int>(sizeof(ifreq)));
  EXPECT_THAT(ioctl(any.get(), SIOCGIFCONF, kWildPointer), SyscallFailsWithErrno(EFAULT));
}

class RouteTest : public ::testing::Test {
 protected:
  struct Request {
    nlmsghdr header{};
    rtgenmsg message{};
  };
  static Request Dump(uint16_t type, uint32_t sequence) {
    Request request;
    request.header.nlmsg_len = NLMSG_LENGTH(sizeof(rtgenmsg));
    request.header.nlmsg_type = type;
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.header.nlmsg_seq = sequence;
    return request;
  }
  // How many messages of `type` come until the end; -1 when something is wrong.
  static int CountAnswers(const Fd& fd, uint16_t type, uint32_t sequence) {
    alignas(nlmsghdr) char buffer[16384];
    int count = 0;
    while (true) {
      sockaddr_nl name{};
      socklen_t length = sizeof name;
      const ssize_t got = recvfrom(fd.get(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&name), &length);
      if (got <= 0 || length != sizeof name || name.nl_family != AF_NETLINK || name.nl_pid != 0) return -1;
      auto left = static_cast<unsigned>(got);
      for (auto* header = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(header, left);
           header = NLMSG_NEXT(header, left)) {
        if (header->nlmsg_seq != sequence) return -1;
        if (header->nlmsg_type == NLMSG_DONE) return count;
        if (header->nlmsg_type == NLMSG_ERROR) return -1;
        if (header->nlmsg_type == type) ++count;
      }
    }
  }
  Fd socket_ = NewSocket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
};

TEST_F(RouteTest, NamesAndOptions) {
  ASSERT_TRUE(socket_.ok());
  sockaddr_nl name{};
  name.nl_family = AF_NETLINK;
  ASSERT_THAT(bind(socket_.get(), reinterpret_cast<sockaddr*>(&name), sizeof name), SyscallSucceeds());
  socklen_t length = sizeof name;
  ASSERT_THAT(getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&name), &length), SyscallSucceeds());
  EXPECT_EQ(length, sizeof name);
  EXPECT_EQ(name.nl_family, AF_NETLINK);
  EXPECT_EQ(name.nl_pid, static_cast<uint32_t>(getpid()));
  Fd second = NewSocket(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE);
  name.nl_pid = 0;
  ASSERT_THAT(bind(second.get(), reinterpret_cast<sockaddr*>(&name), sizeof name), SyscallSucceeds());
  ASSERT_THAT(getsockname(second.get(), reinterpret_cast<sockaddr*>(&name), &length), SyscallSucceeds());
  EXPECT_NE(name.nl_pid, static_cast<uint32_t>(getpid()));
  EXPECT_THAT(SetInt(socket_, SOL_NETLINK, NETLINK_EXT_ACK, 1), SyscallSucceeds());
  EXPECT_THAT(SetInt(socket_, SOL_NETLINK, 12345, 1), SyscallFailsWithErrno(ENOPROTOOPT));
  int domain = 0;
  length = sizeof domain;
  ASSERT_THAT(getsockopt(socket_.get(), SOL_SOCKET, SO_DOMAIN, &domain, &length), SyscallSucceeds());
  EXPECT_EQ(domain, AF_NETLINK);
}

TEST_F(RouteTest, DumpsByEverySendingCall) {
  const Request links = Dump(RTM_GETLINK, 7), addresses = Dump(RTM_GETADDR, 8);
  ASSERT_THAT(send(socket_.get(), &links, links.header.nlmsg_len, 0), SyscallSucceeds());
  EXPECT_GE(CountAnswers(socket_, RTM_NEWLINK, 7), 1);
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  ASSERT_THAT(sendto(socket_.get(), &addresses, addresses.header.nlmsg_len, 0, reinterpret_cast<sockaddr*>(&kernel),
                     sizeof kernel),
              SyscallSucceeds());
  EXPECT_GE(CountAnswers(socket_, RTM_NEWADDR, 8), 1);
  const std::string bytes(reinterpret_cast<const char*>(&links), links.header.nlmsg_len);
  ASSERT_THAT(
      Send(socket_, {.data = bytes, .name = reinterpret_cast<sockaddr*>(&kernel), .name_length = sizeof kernel}),
      SyscallSucceedsWithValue(bytes.size()));
  Message first = Receive(socket_, MSG_PEEK | MSG_TRUNC, 1);
  EXPECT_GT(first.size, 1);
  EXPECT_EQ(first.name.size(), sizeof(sockaddr_nl));
  EXPECT_GE(CountAnswers(socket_, RTM_NEWLINK, 7), 1);
  Request routes = Dump(RTM_GETROUTE, 9);
  ASSERT_EQ(write(socket_.get(), &routes, routes.header.nlmsg_len), routes.header.nlmsg_len);
  EXPECT_GE(CountAnswers(socket_, RTM_NEWROUTE, 9), 1);
}

TEST_F(RouteTest, HostileRequestsAreAnsweredOrIgnored) {
  Request request = Dump(RTM_GETLINK, 11);
  request.header.nlmsg_len = 0xffffffff;
  ASSERT_EQ(write(socket_.get(), &request, sizeof request), static_cast<ssize_t>(sizeof request));
  request.header.nlmsg_len = 3;
  ASSERT_EQ(write(socket_.get(), &request, sizeof request), static_cast<ssize_t>(sizeof request));
  ASSERT_EQ(write(socket_.get(), "x", 1), 1);
  const std::string junk(3000, '\xff');
  ASSERT_EQ(write(socket_.get(), junk.data(), junk.size()), static_cast<ssize_t>(junk.size()));
  request = Dump(RTM_GETLINK, 12);
  ASSERT_EQ(write(socket_.get(), &request, request.header.nlmsg_len), request.header.nlmsg_len);
  EXPECT_GE(CountAnswers(socket_, RTM_NEWLINK, 12), 1);
}

TEST_F(RouteTest, OrdinaryUsersChangeNothing) {
  struct {
    nlmsghdr header{};
    ifinfomsg message{};
  } request;
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof(ifinfomsg));
  request.header.nlmsg_type = RTM_DELLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request.header.nlmsg_seq = 5;
  request.message.ifi_index = 0x7ffffff;
  const int error = ErrnoAs(kUser, [&]() -> long {
    if (send(socket_.get(), &request, sizeof request, 0) < 0) return -1;
    struct {
      nlmsghdr header{};
      nlmsgerr error{};
    } answer;
    if (recv(socket_.get(), &answer, sizeof answer, 0) < 0) return -1;
    errno = answer.header.nlmsg_type == NLMSG_ERROR ? -answer.error.error : 0;
    return -1;
  });
  EXPECT_EQ(error, EPERM);
}

}  // namespace
}  // namespace usl::conformance
