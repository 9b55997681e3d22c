#include "net/socket_options.h"

#include <linux/capability.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "abi/constants.h"
#include "net/endpoint.h"
#include "net/net_service.h"
#include "platform/fd_access.h"

namespace usl::net {

using kernel::Reply;
using kernel::SyscallContext;

namespace {

constexpr int kMaxOption = 16 * 1024;

template <typename T>
std::string BytesOf(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

// Copies an option's value out as sk_getsockopt(): cut to the caller's length, which is set to what was copied.
Result<Reply> CopyOption(const SyscallContext& context, int room, std::string_view value) {
  const size_t size = std::min(static_cast<size_t>(room), value.size());
  const platform::GuestMemory memory = context.memory();
  if (size > 0) USL_TRY_VOID(memory.Write(context.AddressArg(3), value.data(), size));
  USL_TRY_VOID(memory.WriteObject(context.AddressArg(4), static_cast<int>(size)));
  return 0;
}

// The peer of an AF_UNIX socket. Null credentials with pid 0: it has none.
Result<Peer> FindPeer(NetService& service, int fd) {
  ucred native{};
  socklen_t size = sizeof native;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &native, &size) < 0) return FailErrno();
  if (native.pid == 0) return Peer{};
  if (native.pid != getpid()) return service.processes().Find(native.pid);
  UnixNames& names = *USL_TRY(service.names());
  // A listener is its own peer, as on Linux.
  const bool listens = IntOption(fd, SOL_SOCKET, SO_ACCEPTCONN).value_or(0) != 0;
  const NamedSocket* peer = listens ? names.Local(fd) : names.PeerOf(fd);
  if (!peer || !peer->owner.credentials) return Peer{.pid = -1, .credentials = nullptr};
  return peer->owner;
}

Result<Reply> GetPeerCredentials(const SyscallContext& context, NetService& service, int fd, const SocketFacts& facts,
                                 int room) {
  ucred shown{0, static_cast<uid_t>(-1), static_cast<gid_t>(-1)};
  if (facts.domain == AF_UNIX && !service.netlink().Find(facts)) {
    const Peer peer = USL_TRY(FindPeer(service, fd));
    if (peer.credentials) {
      // Of a pair only the credentials of now are known: see ProcessIdentities.
      const bool named = service.names() && (*service.names())->PeerOf(fd) != nullptr;
      const Identity ids =
          named || IntOption(fd, SOL_SOCKET, SO_ACCEPTCONN).value_or(0) ? peer.EffectiveIds() : peer.RealIds();
      shown = {ShownPid(service.kernel(), context.process(), ids.pid), ids.uid, ids.gid};
    } else if (peer.pid != 0) {
      shown = {0, kNobody.uid, kNobody.gid};
    }
  }
  return CopyOption(context, room, BytesOf(shown));
}

Result<Reply> GetPeerGroups(const SyscallContext& context, NetService& service, int fd, const SocketFacts& facts,
                            int room) {
  if (facts.domain != AF_UNIX || service.netlink().Find(facts)) return Fail(ENODATA);
  const Peer peer = USL_TRY(FindPeer(service, fd));
  if (!peer.credentials) return Fail(ENODATA);
  const std::vector<gid_t>& groups = peer.credentials->groups;
  const int needed = static_cast<int>(groups.size() * sizeof(gid_t));
  if (room < needed) {
    USL_TRY_VOID(context.memory().WriteObject(context.AddressArg(4), needed));
    return Fail(ERANGE);
  }
  return CopyOption(context, room, {reinterpret_cast<const char*>(groups.data()), static_cast<size_t>(needed)});
}

Result<Reply> GetPeerPidfd(const SyscallContext& context, NetService& service, int fd, const SocketFacts& facts,
                           int room) {
  if (room < static_cast<int>(sizeof(int))) return Fail(EINVAL);
  if (facts.domain != AF_UNIX || service.netlink().Find(facts)) return Fail(ENODATA);
  const Peer peer = USL_TRY(FindPeer(service, fd));
  if (peer.pid <= 0) return Fail(ENODATA);
  Ref<kernel::Process> process = service.kernel().tasks().FindProcess(peer.pid);
  if (!process) return Fail(ESRCH);
  const UniqueFd pidfd = USL_TRY(platform::OpenPidfd(process->pid()));
  // Its number may have been used again before it was opened, but not since the record's own descriptor says it lives.
  if (!process->IsAlive()) return Fail(ESRCH);
  const int number = USL_TRY(service.kernel().listener().AddFd(context.notification().id, pidfd.get(), true));
  return CopyOption(context, room, BytesOf(number));
}

Result<Reply> GetPeerNameOption(const SyscallContext& context, NetService& service, int fd, const SocketFacts& facts,
                                int room) {
  SocketAddress address;
  address.length = kMaxAddress;
  if (getpeername(fd, address.raw(), &address.length) < 0) return FailErrno();
  std::string shown(address.text());
  if (NetlinkSocket* netlink = service.netlink().Find(facts)) {
    shown = netlink->Name(true);
  } else if (facts.domain == AF_UNIX) {
    shown = GuestUnixAddress(*USL_TRY(service.names()), address.bytes.data(), address.length);
  }
  if (static_cast<size_t>(room) > shown.size()) return Fail(EINVAL);
  return CopyOption(context, room, shown);
}

// Performed on the duplicate, with a copy of the value.
Result<Reply> GetFromHost(const SyscallContext& context, int fd, int room) {
  std::string value(static_cast<size_t>(std::min(room, kMaxOption)), '\0');
  // Some options read their value too (IP_MSFILTER).
  if (!value.empty()) USL_TRY_VOID(context.memory().Read(context.AddressArg(3), value.data(), value.size()));
  auto size = static_cast<socklen_t>(value.size());
  if (getsockopt(fd, context.IntArg(1), context.IntArg(2), value.data(), &size) < 0) return FailErrno();
  value.resize(std::min<size_t>(size, value.size()));
  return CopyOption(context, room, value);
}

Result<Reply> SetPassCredentials(NetService& service, int fd, const SocketFacts& facts, int value) {
  if (service.netlink().Find(facts)) return 0;
  if (facts.domain == AF_UNIX && value != 0) {
    UnixNames& names = *USL_TRY(service.names());
    // A socket without a name would be given an abstract one by the host, that other users could send to.
    auto own = names.Ensure(fd);
    if (own) names.SetTakesCredentials(**own);
    // It has a name from outside: nobody in the instance sends to it by the kernel.
    if (!own && own.error().code() != EINVAL) return Fail(own.error());
  }
  if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &value, sizeof value) < 0) return FailErrno();
  return 0;
}

Result<Reply> SetAtSocketLevel(const SyscallContext& context, NetService& service, int fd, const SocketFacts& facts,
                               const std::string& value) {
  const int option = context.IntArg(2);
  int number = 0;
  if (option != SO_BINDTODEVICE) {
    if (value.size() < sizeof number) return Fail(EINVAL);
    memcpy(&number, value.data(), sizeof number);
  }
  switch (option) {
    case SO_PASSCRED: return SetPassCredentials(service, fd, facts, number);
    case SO_SNDBUFFORCE:
    case SO_RCVBUFFORCE: {
      if (!context.credentials().Has(CAP_NET_ADMIN)) return Fail(EPERM);
      // As far as the host lets an ordinary user go.
      const int plain = option == SO_SNDBUFFORCE ? SO_SNDBUF : SO_RCVBUF;
      if (setsockopt(fd, SOL_SOCKET, plain, &number, sizeof number) < 0) return FailErrno();
      return 0;
    }
    case SO_BINDTODEVICE:
    case SO_BINDTOIFINDEX:
      if (setsockopt(fd, SOL_SOCKET, option, value.data(), static_cast<socklen_t>(value.size())) < 0)
        return FailErrno();
      return 0;
    default: return Fail(ENOPROTOOPT);
  }
}

// The multicast (or anycast) group that an option joins; nullopt for other options, and where the value is too short,
// which the host refuses.
std::optional<SocketAddress> GroupOf(int level, int option, const std::string& value) {
  SocketAddress group;
  const auto make = [&](sa_family_t family, size_t address_at, const void* address, size_t size) {
    memcpy(group.bytes.data(), &family, sizeof family);
    memcpy(group.bytes.data() + address_at, address, size);
    group.length = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  };
  if (option == MCAST_JOIN_GROUP || option == MCAST_JOIN_SOURCE_GROUP) {
    if (value.size() < sizeof(group_req)) return std::nullopt;
    group.length = sizeof(sockaddr_storage);
    memcpy(group.bytes.data(), value.data() + offsetof(group_req, gr_group), sizeof(sockaddr_storage));
  } else if (level == SOL_IP && (option == IP_ADD_MEMBERSHIP || option == IP_ADD_SOURCE_MEMBERSHIP)) {
    if (value.size() < sizeof(ip_mreq)) return std::nullopt;
    make(AF_INET, offsetof(sockaddr_in, sin_addr), value.data(), sizeof(in_addr));
  } else if (level == SOL_IPV6 && (option == IPV6_ADD_MEMBERSHIP || option == IPV6_JOIN_ANYCAST)) {
    if (value.size() < sizeof(ipv6_mreq)) return std::nullopt;
    make(AF_INET6, offsetof(sockaddr_in6, sin6_addr), value.data(), sizeof(in6_addr));
  } else {
    return std::nullopt;
  }
  return group;
}

}  // namespace

Result<Reply> SetOption(SyscallContext& context) {
  const UniqueFd fd = USL_TRY(context.DuplicateFd(context.IntArg(0)));
  const SocketFacts facts = USL_TRY(FactsOf(fd.get()));
  const int level = context.IntArg(1), option = context.IntArg(2), size = context.IntArg(4);
  if (size < 0 || size > kMaxOption) return Fail(EINVAL);
  std::string value(static_cast<size_t>(size), '\0');
  if (size > 0) USL_TRY_VOID(context.memory().Read(context.AddressArg(3), value.data(), value.size()));
  NetService& service = NetService::Of(context.kernel());
  NetlinkSocket* netlink = service.netlink().Find(facts);
  if (level == SOL_NETLINK) {
    int number = 0;
    if (!netlink) return Fail(facts.domain == AF_UNIX ? EOPNOTSUPP : ENOPROTOOPT);
    if (value.size() >= sizeof number) memcpy(&number, value.data(), sizeof number);
    USL_TRY_VOID(netlink->SetOption(option, number));
    return 0;
  }
  if (level == SOL_SOCKET) return SetAtSocketLevel(context, service, fd.get(), facts, value);
  if (const auto group = GroupOf(level, option, value)) USL_TRY_VOID(service.policy().CheckGroup(*group));
  if (setsockopt(fd.get(), level, option, value.data(), static_cast<socklen_t>(value.size())) < 0) return FailErrno();
  return 0;
}

Result<Reply> GetOption(SyscallContext& context) {
  const UniqueFd fd = USL_TRY(context.DuplicateFd(context.IntArg(0)));
  const SocketFacts facts = USL_TRY(FactsOf(fd.get()));
  const int room = USL_TRY(context.memory().ReadObject<int>(context.AddressArg(4)));
  if (room < 0) return Fail(EINVAL);
  NetService& service = NetService::Of(context.kernel());
  NetlinkSocket* netlink = service.netlink().Find(facts);
  const int level = context.IntArg(1), option = context.IntArg(2);
  if (level == SOL_NETLINK) {
    if (!netlink) return Fail(facts.domain == AF_UNIX ? EOPNOTSUPP : ENOPROTOOPT);
    return CopyOption(context, room, BytesOf(USL_TRY(netlink->GetOption(option))));
  }
  if (level != SOL_SOCKET) return GetFromHost(context, fd.get(), room);
  switch (option) {
    case SO_PEERCRED: return GetPeerCredentials(context, service, fd.get(), facts, room);
    case SO_PEERGROUPS: return GetPeerGroups(context, service, fd.get(), facts, room);
    case SO_PEERPIDFD: return GetPeerPidfd(context, service, fd.get(), facts, room);
    case SO_PEERNAME: return GetPeerNameOption(context, service, fd.get(), facts, room);
    case SO_PEERSEC:
    case SO_PASSPIDFD: return Fail(ENOPROTOOPT);
    case SO_DOMAIN:
      if (netlink) return CopyOption(context, room, BytesOf(int{AF_NETLINK}));
      return GetFromHost(context, fd.get(), room);
    case SO_PROTOCOL:
      if (netlink) return CopyOption(context, room, BytesOf(netlink->protocol()));
      return GetFromHost(context, fd.get(), room);
    default: return GetFromHost(context, fd.get(), room);
  }
}

}  // namespace usl::net
