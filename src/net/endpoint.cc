#include "net/endpoint.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include <cstring>

#include "base/format.h"
#include "base/log.h"
#include "net/waiting.h"

namespace usl::net {

using kernel::Reply;
using kernel::SyscallContext;

namespace {

constexpr int kMayWrite = 2;

// The kernel's own: SOCK_STREAM and SOCK_SEQPACKET.
bool IsConnectionType(int type) {
  return type != SOCK_DGRAM;
}

// A socket of the host, in a directory of the host that was bound into the guest on purpose.
Result<UnixTarget> HostSocket(vfs::Inode& inode, const vfs::Context& context) {
  if (inode.file_system().type_name() != "drvfs") return Fail(ECONNREFUSED);
  auto node = inode.Open(O_PATH, context);
  if (!node) return Fail(ECONNREFUSED);
  UnixTarget target;
  const std::string path = format("/proc/self/fd/{}", node->get());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  target.host.length = static_cast<socklen_t>(kUnixHeader + path.size() + 1);
  memcpy(target.host.bytes.data(), &address, target.host.length);
  target.node = std::move(*node);
  return target;
}

Peer PeerFrom(const SyscallContext& context) {
  return Peer{.pid = context.process().pid(), .credentials = context.task().credentials_ref()};
}

Result<Reply> ConnectUnix(SyscallContext& context, NetService& service, UniqueFd fd, int type,
                          const SocketAddress& address) {
  UnixNames& names = *USL_TRY(service.names());
  if (address.family() == AF_UNSPEC && type == SOCK_DGRAM) {
    if (connect(fd.get(), address.raw(), address.length) < 0) return FailErrno();
    return 0;
  }
  const UnixName name = USL_TRY(ParseUnixName(address));
  auto target = std::make_shared<UnixTarget>(USL_TRY(ResolveUnixName(service, context.FsView(), name)));
  USL_TRY_VOID(NameBeforeUse(names, fd.get()));
  if (!IsConnectionType(type)) {
    if (connect(fd.get(), target->host.raw(), target->host.length) < 0) return FailErrno();
    return 0;
  }
  // The listener's end recognises the caller by this name, whoever holds the socket then.
  NamedSocket* own = USL_TRY(names.Ensure(fd.get()));
  if (!IntOption(fd.get(), SOL_SOCKET, SO_ACCEPTCONN).value_or(0)) own->owner = PeerFrom(context);
  const Patience patience = PatienceOf(fd.get(), 0, SO_SNDTIMEO);
  // The host tells nobody but its own waiters when a full backlog has room again.
  Wait wait{.no_event = true};
  return RunOrPark(context, std::move(fd), patience, wait, [target, &names](int socket) -> Outcome {
    NonblockingScope nonblocking(socket);
    if (connect(socket, target->host.raw(), target->host.length) < 0) {
      if (errno == EAGAIN) return std::nullopt;
      return FailErrno();
    }
    NamedSocket* record = names.Local(socket);
    if (record && record->name.IsUnnamed()) names.DropFile(*record);
    return Reply(0);
  });
}

Result<Reply> ConnectInet(SyscallContext& context, NetService& service, UniqueFd fd, const SocketFacts& facts,
                          SocketAddress address) {
  USL_TRY_VOID(PrepareOutgoing(service, fd.get(), facts, address));
  if (facts.type == SOCK_DGRAM) {
    if (connect(fd.get(), address.raw(), address.length) < 0) return FailErrno();
    return 0;
  }
  const Patience patience = PatienceOf(fd.get(), 0, SO_SNDTIMEO);
  Wait wait{.events = EPOLLOUT, .timeout_error = EINPROGRESS};
  const bool may_wait = patience.may_wait;
  // To be called again when the host is done, so that the socket's state and error are what they are after connect(2).
  return RunOrPark(context, std::move(fd), patience, wait, [address, may_wait](int socket) -> Outcome {
    NonblockingScope nonblocking(socket);
    if (connect(socket, address.raw(), address.length) == 0) return Reply(0);
    if (may_wait && (errno == EINPROGRESS || errno == EALREADY)) return std::nullopt;
    return FailErrno();
  });
}

Result<Reply> BindUnix(SyscallContext& context, NetService& service, int fd, const SocketAddress& address) {
  UnixNames& names = *USL_TRY(service.names());
  const bool automatic = IsAutobind(address);
  const UnixName name = automatic ? UnixName{} : USL_TRY(ParseUnixName(address));
  if (NamedSocket* known = names.Local(fd); known && !known->name.IsUnnamed()) {
    if (automatic) return 0;
    return Fail(EINVAL);
  }
  NamedSocket* socket = USL_TRY(names.Ensure(fd));
  // Connected before it was named: the path went away then.
  if (!socket->has_file) return Fail(EINVAL);
  if (automatic) {
    USL_TRY_VOID(names.SetAutomaticName(*socket));
    return 0;
  }
  if (name.IsAbstract()) {
    USL_TRY_VOID(names.SetAbstractName(*socket, name.bytes));
    return 0;
  }
  struct stat status;
  if (fstat(fd, &status) < 0) return FailErrno();
  const std::string path(name.path());
  const vfs::Context view = context.FsView();
  vfs::Path node =
      USL_TRY(context.vfs().MakeSocket(view, vfs::Location{.at = view.cwd, .path = path}, status.st_mode & 0777));
  names.SetPathName(*socket, name, Ref<vfs::Inode>(node.inode()));
  return 0;
}

// A published port is allowed by that. A port that the host chooses (0) is looked at when the socket listens; a
// datagram socket gets such a one by sending, too.
Result<void> CheckBind(NetService& service, int fd, const SocketFacts& facts, const SocketAddress& address,
                       uint16_t guest_port) {
  if (!service.policy().restricts_listening()) return {};
  const Transport transport = TransportOf(fd, facts.type);
  if (guest_port == 0 || transport == Transport::kIcmp) return {};
  if (service.ports().Published(facts.type, guest_port)) return {};
  return service.policy().CheckListening(address, transport);
}

// Refused is what listen(2) would make reachable; a socket without a name would get one.
Result<void> CheckListen(NetService& service, int fd, const SocketFacts& facts) {
  if (facts.domain == AF_UNIX || !service.policy().restricts_listening()) return {};
  SocketAddress address;
  address.length = kMaxAddress;
  if (getsockname(fd, address.raw(), &address.length) < 0) return FailErrno();
  service.ports().ToGuest(facts.type, address);
  const auto endpoint = ParseInet(address);
  if (endpoint && endpoint->port != 0 && service.ports().Published(facts.type, endpoint->port)) return {};
  return service.policy().CheckListening(address, TransportOf(fd, facts.type));
}

// "Any address" as a destination is the socket's own, or loopback: as that it is checked, and used.
void NameOwnAddress(int fd, SocketAddress& address, bool is_ipv4) {
  SocketAddress local;
  local.length = kMaxAddress;
  const bool known = getsockname(fd, local.raw(), &local.length) == 0;
  const auto own = known ? ParseInet(local) : std::nullopt;
  if (is_ipv4) {
    const in_addr_t loopback = htonl(INADDR_LOOPBACK);
    const void* chosen =
        own && !own->is_ipv6 && !own->IsAny() ? static_cast<const void*>(own->address.data()) : &loopback;
    memcpy(address.bytes.data() + offsetof(sockaddr_in, sin_addr), chosen, sizeof loopback);
    return;
  }
  // tcp_v6_connect: a socket that is bound to an IPv4 address means that family's.
  const bool mapped = (own && !own->is_ipv6) || !ParseInet(address)->is_ipv6;
  in6_addr loopback = IN6ADDR_LOOPBACK_INIT;
  if (mapped) loopback = {{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1}}};
  memcpy(address.bytes.data() + offsetof(sockaddr_in6, sin6_addr), &loopback, sizeof loopback);
}

Result<Reply> BindInet(SyscallContext& context, NetService& service, int fd, const SocketFacts& facts,
                       SocketAddress address) {
  // bind(2) takes AF_UNSPEC for any IPv4 address (a bug that is kept for compatibility).
  SocketAddress checked = address;
  if (facts.domain == AF_INET && address.family() == AF_UNSPEC && address.length >= sizeof(sockaddr_in)) {
    const sa_family_t family = AF_INET;
    memcpy(checked.bytes.data(), &family, sizeof family);
  }
  auto endpoint = ParseInet(checked);
  const uint16_t port = endpoint ? endpoint->port : 0;
  USL_TRY_VOID(CheckBind(service, fd, facts, checked, port));
  const bool privileged = port != 0 && port < 1024;
  if (privileged && !context.credentials().Has(CAP_NET_BIND_SERVICE)) return Fail(EACCES);
  if (auto published = service.ports().Published(facts.type, port); endpoint && published) {
    PortMap::Apply(*published, address);
    if (bind(fd, address.raw(), address.length) < 0) return FailErrno();
    if (published->port != port) service.ports().Add(facts.type, port, published->port);
    return 0;
  }
  if (bind(fd, address.raw(), address.length) == 0) return 0;
  if (errno != EACCES || !privileged) return FailErrno();
  const uint16_t substitute = PortMap::Substitute(port);
  SetPort(address, substitute);
  if (bind(fd, address.raw(), address.length) < 0) return FailErrno();
  if (service.ports().Add(facts.type, port, substitute)) {
    Log(LogLevel::kWarning, "this user may not bind port {} of the host: the guest's {} is the host's port {}", port,
        port, substitute);
  }
  return 0;
}

// The name that the host reports, as the guest may see it. `get` is getsockname or getpeername.
Result<Reply> GetName(SyscallContext& context, decltype(&getsockname) get, bool peer) {
  const UniqueFd fd = USL_TRY(context.DuplicateFd(context.IntArg(0)));
  NetService& service = NetService::Of(context.kernel());
  const SocketFacts facts = USL_TRY(FactsOf(fd.get()));
  std::string shown;
  if (NetlinkSocket* netlink = service.netlink().Find(facts)) {
    shown = netlink->Name(peer);
  } else {
    SocketAddress address;
    address.length = kMaxAddress;
    if (get(fd.get(), address.raw(), &address.length) < 0) return FailErrno();
    if (facts.domain == AF_UNIX) {
      shown = GuestUnixAddress(*USL_TRY(service.names()), address.bytes.data(), address.length);
    } else {
      service.ports().ToGuest(facts.type, address);
      shown = address.text();
    }
  }
  USL_TRY_VOID(WriteAddress(context.memory(), context.AddressArg(1), context.AddressArg(2), shown));
  return 0;
}

}  // namespace

std::string GuestUnixAddress(const UnixNames& names, const void* native, socklen_t length) {
  const NamedSocket* socket = names.ByNativeAddress(native, length);
  return (socket ? socket->name : UnixName{}).Address();
}

Result<UnixTarget> ResolveUnixName(NetService& service, const vfs::Context& context, const UnixName& name) {
  UnixNames& names = *USL_TRY(service.names());
  const NamedSocket* socket = nullptr;
  if (name.IsAbstract()) {
    socket = names.ByAbstractName(name.bytes);
  } else {
    vfs::Vfs& vfs = service.kernel().vfs();
    const vfs::Path path = USL_TRY(vfs.Walk(context, vfs::Location{.at = context.cwd, .path = name.path()}, 0));
    USL_TRY_VOID(vfs.CheckPermission(context.credentials, *path.inode(), kMayWrite));
    if (path.inode()->type() != S_IFSOCK) return Fail(ECONNREFUSED);
    socket = names.ByNode(*path.inode());
    if (!socket) return HostSocket(*path.inode(), context);
  }
  if (!socket || !socket->has_file) return Fail(ECONNREFUSED);
  return UnixTarget{.host = names.HostAddress(*socket), .takes_credentials = socket->takes_credentials, .node = {}};
}

Result<void> NameBeforeUse(UnixNames& names, int fd) {
  if (!names.any_takes_credentials()) return {};
  NamedSocket* socket = names.Local(fd);
  if (!socket || !socket->takes_credentials || !socket->name.IsUnnamed() || !socket->has_file) return {};
  return names.SetAutomaticName(*socket);
}

Result<void> PrepareOutgoing(NetService& service, int fd, const SocketFacts& facts, SocketAddress& address) {
  // An IPv4 datagram socket takes AF_UNSPEC for AF_INET when it sends; connect(2) dissolves an association by it, where
  // the address does not matter.
  SocketAddress checked = address;
  const bool is_unspecified =
      facts.domain == AF_INET && address.family() == AF_UNSPEC && address.length >= sizeof(sockaddr_in);
  if (is_unspecified) {
    const sa_family_t family = AF_INET;
    memcpy(checked.bytes.data(), &family, sizeof family);
  }
  const auto endpoint = ParseInet(checked);
  if (is_unspecified && endpoint->IsAny() && endpoint->port == 0) return {};
  if (service.policy().restricts_outgoing()) {
    if (endpoint && endpoint->IsAny()) {
      const bool is_ipv4 = checked.family() == AF_INET;
      NameOwnAddress(fd, checked, is_ipv4);
      const size_t at = is_ipv4 ? offsetof(sockaddr_in, sin_addr) : offsetof(sockaddr_in6, sin6_addr);
      memcpy(address.bytes.data() + at, checked.bytes.data() + at, is_ipv4 ? sizeof(in_addr) : sizeof(in6_addr));
    }
    USL_TRY_VOID(service.policy().CheckOutgoing(checked, TransportOf(fd, facts.type)));
  }
  service.ports().ToHost(facts.type, address);
  return {};
}

Result<Reply> Bind(SyscallContext& context) {
  const UniqueFd fd = USL_TRY(context.DuplicateFd(context.IntArg(0)));
  const SocketFacts facts = USL_TRY(FactsOf(fd.get()));
  const SocketAddress address = USL_TRY(ReadAddress(context.memory(), context.AddressArg(1), context.IntArg(2)));
  NetService& service = NetService::Of(context.kernel());
  if (NetlinkSocket* netlink = service.netlink().Find(facts)) {
    USL_TRY_VOID(netlink->Bind(address, context.process().pid()));
    return 0;
  }
  if (facts.domain == AF_UNIX) return BindUnix(context, service, fd.get(), address);
  return BindInet(context, service, fd.get(), facts, address);
}

Result<Reply> Listen(SyscallContext& context) {
  const UniqueFd fd = USL_TRY(context.DuplicateFd(context.IntArg(0)));
  const SocketFacts facts = USL_TRY(FactsOf(fd.get()));
  NetService& service = NetService::Of(context.kernel());
  if (service.netlink().Find(facts)) return Fail(EOPNOTSUPP);
  USL_TRY_VOID(CheckListen(service, fd.get(), facts));
  UnixNames* names = facts.domain == AF_UNIX ? USL_TRY(service.names()) : nullptr;
  NamedSocket* socket = names ? names->Local(fd.get()) : nullptr;
  // A name of which the guest knows nothing is none: EINVAL, as for an unbound socket.
  if (names && (!socket || socket->name.IsUnnamed()) && IsConnectionType(facts.type)) return Fail(EINVAL);
  if (listen(fd.get(), context.IntArg(1)) < 0) return FailErrno();
  if (socket) socket->owner = PeerFrom(context);
  return 0;
}

Result<Reply> Connect(SyscallContext& context) {
  UniqueFd fd = USL_TRY(context.DuplicateFd(context.IntArg(0)));
  const SocketAddress address = USL_TRY(ReadAddress(context.memory(), context.AddressArg(1), context.IntArg(2)));
  const SocketFacts facts = USL_TRY(FactsOf(fd.get()));
  NetService& service = NetService::Of(context.kernel());
  if (NetlinkSocket* netlink = service.netlink().Find(facts)) {
    USL_TRY_VOID(netlink->Connect(address, context.process().pid()));
    return 0;
  }
  if (facts.domain == AF_UNIX) return ConnectUnix(context, service, std::move(fd), facts.type, address);
  return ConnectInet(context, service, std::move(fd), facts, address);
}

Result<Reply> Accept(SyscallContext& context, int flags) {
  if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) return Fail(EINVAL);
  UniqueFd fd = USL_TRY(context.DuplicateFd(context.IntArg(0)));
  const SocketFacts facts = USL_TRY(FactsOf(fd.get()));
  NetService& service = NetService::Of(context.kernel());
  if (service.netlink().Find(facts)) return Fail(EOPNOTSUPP);
  // An inet address is shown as it is. A descriptor that was exchanged meanwhile would show the private host name of an
  // AF_UNIX peer, which opens nothing.
  if (facts.domain != AF_UNIX) return Reply::ContinueByRegisters();
  UnixNames& names = *USL_TRY(service.names());
  const Patience patience = PatienceOf(fd.get(), 0, SO_RCVTIMEO);
  const Wait wait{.events = EPOLLIN};
  Caller caller(context);
  const platform::GuestAddress to = context.AddressArg(1), length_at = context.AddressArg(2);
  return RunOrPark(context, std::move(fd), patience, wait, [=, &names](int socket) -> Outcome {
    SocketAddress address;
    address.length = kMaxAddress;
    NonblockingScope nonblocking(socket);
    UniqueFd accepted(accept4(socket, address.raw(), &address.length, (flags & SOCK_NONBLOCK) | SOCK_CLOEXEC));
    if (!accepted) {
      if (errno == EAGAIN) return std::nullopt;
      return FailErrno();
    }
    const std::string shown = GuestUnixAddress(names, address.bytes.data(), address.length);
    if (auto written = WriteAddress(caller.memory(), to, length_at, shown); !written) return Fail(written.error());
    return Reply::Donate(std::move(accepted), flags & SOCK_CLOEXEC);
  });
}

Result<Reply> GetSocketName(SyscallContext& context) {
  return GetName(context, &getsockname, false);
}

Result<Reply> GetPeerName(SyscallContext& context) {
  return GetName(context, &getpeername, true);
}

}  // namespace usl::net
