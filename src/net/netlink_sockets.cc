#include "net/netlink_sockets.h"

#include <linux/netlink.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstring>
#include <memory>

#include "net/net_service.h"
#include "net/netlink_relay.h"

namespace usl::net {
namespace {

constexpr size_t kMaxDatagram = 64 * 1024;
// Answers that a guest asked for and does not read.
constexpr size_t kMaxUnsent = 4 << 20;

std::string MakeName(uint32_t port, uint32_t groups) {
  sockaddr_nl name{};
  name.nl_family = AF_NETLINK;
  name.nl_pid = port;
  name.nl_groups = groups;
  return std::string(reinterpret_cast<const char*>(&name), sizeof name);
}

Result<sockaddr_nl> Parse(const SocketAddress& address) {
  sockaddr_nl name;
  if (address.length < sizeof name || address.family() != AF_NETLINK) return Fail(EINVAL);
  memcpy(&name, address.bytes.data(), sizeof name);
  return name;
}

}  // namespace

std::string NetlinkSocket::Name(bool peer) const {
  return peer ? MakeName(0, 0) : MakeName(port_, groups_);
}

std::string NetlinkSocket::SenderName() {
  return MakeName(0, 0);
}

Result<void> NetlinkSocket::Bind(const SocketAddress& address, pid_t pid) {
  const sockaddr_nl name = USL_TRY(Parse(address));
  if (port_ != 0) {
    if (name.nl_pid != 0 && name.nl_pid != port_) return Fail(EINVAL);
  } else if (name.nl_pid != 0) {
    if (owner_.IsPortUsed(protocol_, name.nl_pid)) return Fail(EADDRINUSE);
    port_ = name.nl_pid;
  } else {
    port_ = owner_.FreePort(protocol_, pid);
  }
  groups_ = name.nl_groups;
  return {};
}

Result<void> NetlinkSocket::Connect(const SocketAddress& address, pid_t pid) {
  if (address.length < sizeof(sa_family_t)) return Fail(EINVAL);
  if (address.family() == AF_UNSPEC) return {};
  const sockaddr_nl name = USL_TRY(Parse(address));
  if (name.nl_pid != 0 || name.nl_groups != 0) return Fail(EPERM);
  if (port_ == 0) port_ = owner_.FreePort(protocol_, pid);
  return {};
}

Result<void> NetlinkSocket::Send(std::string_view datagram, const SocketAddress& to, pid_t pid) {
  if (to.length > 0) {
    const sockaddr_nl name = USL_TRY(Parse(to));
    if (name.nl_pid != 0) return Fail(ECONNREFUSED);
    if (name.nl_groups != 0) return Fail(EPERM);
  }
  if (datagram.size() > kMaxDatagram) return Fail(EMSGSIZE);
  // Uevents and the like only come from the kernel.
  if (protocol_ == NETLINK_KOBJECT_UEVENT) return Fail(ECONNREFUSED);
  if (port_ == 0) port_ = owner_.FreePort(protocol_, pid);
  Answer(datagram);
  return {};
}

void NetlinkSocket::Answer(std::string_view datagram) {
  if (protocol_ == NETLINK_KOBJECT_UEVENT) return;
  if (port_ == 0) port_ = owner_.FreePort(protocol_, creator_);
  const NetlinkRequester requester{
      .port = port_,
      .strict_check = options_[NETLINK_GET_STRICT_CHK] != 0,
      .short_acks = options_[NETLINK_CAP_ACK] != 0,
      .network = owner_.kernel_.options().network,
  };
  auto answers = protocol_ == NETLINK_ROUTE ? AnswerRouteRequest(datagram, requester)
                                            : AnswerDiagnosticRequest(datagram, requester);
  for (std::string& answer : answers) Deliver(std::move(answer));
}

void NetlinkSocket::Deliver(std::string datagram) {
  if (unsent_.empty() && send(kernel_end_.get(), datagram.data(), datagram.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
    return;
  }
  // A reader that stays away loses messages, as with a full receive buffer.
  if (unsent_bytes_ + datagram.size() > kMaxUnsent) return;
  unsent_bytes_ += datagram.size();
  unsent_.push_back(std::move(datagram));
  if (unsent_.size() == 1) {
    owner_.kernel_.Unwatch(kernel_end_.get());
    owner_.Watch(cookie_);
  }
}

Result<void> NetlinkSocket::SetOption(int option, int value) {
  switch (option) {
    case NETLINK_ADD_MEMBERSHIP:
      if (value < 1 || value > 1024) return Fail(EINVAL);
      if (value <= 32) groups_ |= 1u << (value - 1);
      return {};
    case NETLINK_DROP_MEMBERSHIP:
      if (value < 1 || value > 1024) return Fail(EINVAL);
      if (value <= 32) groups_ &= ~(1u << (value - 1));
      return {};
    case NETLINK_PKTINFO:
    case NETLINK_BROADCAST_ERROR:
    case NETLINK_NO_ENOBUFS:
    case NETLINK_CAP_ACK:
    case NETLINK_EXT_ACK:
    case NETLINK_GET_STRICT_CHK: options_[option] = value != 0; return {};
    default: return Fail(ENOPROTOOPT);
  }
}

Result<int> NetlinkSocket::GetOption(int option) const {
  switch (option) {
    case NETLINK_PKTINFO:
    case NETLINK_BROADCAST_ERROR:
    case NETLINK_NO_ENOBUFS:
    case NETLINK_CAP_ACK:
    case NETLINK_EXT_ACK:
    case NETLINK_GET_STRICT_CHK: {
      auto found = options_.find(option);
      return found == options_.end() ? 0 : found->second;
    }
    case NETLINK_LIST_MEMBERSHIPS: return static_cast<int>(groups_);
    default: return Fail(ENOPROTOOPT);
  }
}

Result<UniqueFd> NetlinkSockets::Create(int type, int protocol, pid_t creator) {
  const int flags = type & (SOCK_CLOEXEC | SOCK_NONBLOCK);
  type &= ~(SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (type != SOCK_RAW && type != SOCK_DGRAM) return Fail(ESOCKTNOSUPPORT);
  const bool known = protocol == NETLINK_ROUTE || protocol == NETLINK_KOBJECT_UEVENT || protocol == NETLINK_SOCK_DIAG;
  if (!known) return Fail(EPROTONOSUPPORT);
  // Seqpacket: keeps datagrams apart, and unlike a datagram pair it tells when the other end is closed.
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | (flags & SOCK_NONBLOCK), 0, ends) < 0) return FailErrno();
  UniqueFd guest(ends[0]), own(ends[1]);
  const SocketFacts facts = USL_TRY(FactsOf(guest.get()));
  std::unique_ptr<NetlinkSocket> socket(new NetlinkSocket(*this, protocol, creator));
  socket->kernel_end_ = std::move(own);
  socket->cookie_ = facts.cookie;
  sockets_[facts.cookie] = std::move(socket);
  Watch(facts.cookie);
  return guest;
}

NetlinkSocket* NetlinkSockets::Find(const SocketFacts& facts) const {
  if (sockets_.empty() || facts.domain != AF_UNIX) return nullptr;
  auto found = sockets_.find(facts.cookie);
  return found == sockets_.end() ? nullptr : found->second.get();
}

bool NetlinkSockets::IsPortUsed(int protocol, uint32_t port) const {
  for (const auto& [cookie, socket] : sockets_) {
    if (socket->protocol_ == protocol && socket->port_ == port) return true;
  }
  return false;
}

uint32_t NetlinkSockets::FreePort(int protocol, pid_t pid) {
  uint32_t port = static_cast<uint32_t>(pid);
  while (port == 0 || IsPortUsed(protocol, port)) port = next_port_--;
  return port;
}

void NetlinkSockets::Watch(uint64_t cookie) {
  NetlinkSocket& socket = *sockets_[cookie];
  const uint32_t events = EPOLLIN | (socket.unsent_.empty() ? 0u : static_cast<uint32_t>(EPOLLOUT));
  kernel_.Watch(socket.kernel_end_.get(), events, [this, cookie](uint32_t ready) { OnEvent(cookie, ready); });
}

void NetlinkSockets::OnEvent(uint64_t cookie, uint32_t events) {
  auto found = sockets_.find(cookie);
  if (found == sockets_.end()) return;
  NetlinkSocket& socket = *found->second;
  const int fd = socket.kernel_end_.get();
  auto buffer = std::make_unique<char[]>(kMaxDatagram);
  // One at a time, so that a guest that keeps sending does not keep the kernel.
  if (events & EPOLLIN) {
    const ssize_t got = recv(fd, buffer.get(), kMaxDatagram, MSG_DONTWAIT);
    if (got > 0) socket.Answer({buffer.get(), static_cast<size_t>(got)});
  }
  while (!socket.unsent_.empty()) {
    const std::string& next = socket.unsent_.front();
    if (send(fd, next.data(), next.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) break;
    socket.unsent_bytes_ -= next.size();
    socket.unsent_.pop_front();
  }
  kernel_.Unwatch(fd);
  if (events & (EPOLLHUP | EPOLLERR)) {
    sockets_.erase(found);
    return;
  }
  Watch(cookie);
}

}  // namespace usl::net
