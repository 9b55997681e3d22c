// Names for fcntl, ioctl, epoll and sockets.
#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "abi/constant_names.h"
#include "abi/constants.h"
#include "base/format.h"

// Lists, many to a line.
// clang-format off
namespace usl::abi {
namespace {

#define N(name) {static_cast<uint32_t>(name), #name}

constexpr ConstantName kFcntlCommands[] = {
    N(F_DUPFD), N(F_GETFD), N(F_SETFD), N(F_GETFL), N(F_SETFL), N(F_GETLK), N(F_SETLK), N(F_SETLKW), N(F_SETOWN),
    N(F_GETOWN), N(F_SETSIG), N(F_GETSIG), N(F_SETOWN_EX), N(F_GETOWN_EX), {17, "F_GETOWNER_UIDS"}, N(F_OFD_GETLK),
    N(F_OFD_SETLK), N(F_OFD_SETLKW), N(F_SETLEASE), N(F_GETLEASE), N(F_NOTIFY), N(F_DUPFD_QUERY), N(F_CREATED_QUERY),
    N(F_DUPFD_CLOEXEC), N(F_SETPIPE_SZ), N(F_GETPIPE_SZ), N(F_ADD_SEALS), N(F_GET_SEALS), N(F_GET_RW_HINT),
    N(F_SET_RW_HINT), N(F_GET_FILE_RW_HINT), N(F_SET_FILE_RW_HINT)};
constexpr ConstantName kIoctlRequests[] = {
    N(TCGETS), N(TCSETS), N(TCSETSW), N(TCSETSF), N(TCGETA), N(TCSETA), N(TCSETAW), N(TCSETAF), N(TCSBRK), N(TCXONC),
    N(TCFLSH), N(TIOCEXCL), N(TIOCNXCL), N(TIOCSCTTY), N(TIOCGPGRP), N(TIOCSPGRP), N(TIOCOUTQ), N(TIOCSTI),
    N(TIOCGWINSZ), N(TIOCSWINSZ), N(FIONREAD), N(TIOCLINUX), N(TIOCCONS), N(TIOCPKT), N(FIONBIO), N(TIOCNOTTY),
    N(TIOCSETD), N(TIOCGETD), N(TCSBRKP), N(TIOCSBRK), N(TIOCCBRK), N(TIOCGSID), N(TCGETS2), N(TCSETS2), N(TCSETSW2),
    N(TCSETSF2), N(TIOCGPTN), N(TIOCSPTLCK), N(TIOCGDEV), N(TIOCSIG), N(TIOCVHANGUP), N(TIOCGPKT), N(TIOCGPTLCK),
    N(TIOCGEXCL), N(TIOCGPTPEER), N(FIONCLEX), N(FIOCLEX), N(FIOASYNC), N(FIOQSIZE), N(FIOSETOWN), N(SIOCSPGRP),
    N(FIOGETOWN), N(SIOCGPGRP), N(SIOCATMARK), N(SIOCGIFNAME), N(SIOCGIFCONF), N(SIOCGIFFLAGS), N(SIOCGIFADDR),
    N(SIOCGIFBRDADDR), N(SIOCGIFNETMASK), N(SIOCGIFMTU), N(SIOCGIFHWADDR), N(SIOCGIFINDEX), N(SIOCETHTOOL),
    N(SIOCSIFFLAGS), N(SIOCSIFADDR), N(SIOCSIFMTU), {0x89e0, "SIOCUNIXFILE"}, N(FS_IOC_GETFLAGS), N(FS_IOC_SETFLAGS),
    N(FS_IOC_GETVERSION), N(FS_IOC_FSGETXATTR), N(FS_IOC_FSSETXATTR), N(FS_IOC_FIEMAP), N(FICLONE), N(FICLONERANGE),
    N(FIDEDUPERANGE), N(FIGETBSZ), N(FIBMAP)};
constexpr ConstantName kEpollOperations[] = {N(EPOLL_CTL_ADD), N(EPOLL_CTL_DEL), N(EPOLL_CTL_MOD)};
constexpr ConstantName kSocketDomains[] = {
    N(AF_UNSPEC), N(AF_UNIX), N(AF_INET), N(AF_INET6), N(AF_NETLINK), N(AF_PACKET), N(AF_ALG), N(AF_VSOCK), N(AF_KEY),
    N(AF_BLUETOOTH), N(AF_CAN), N(AF_TIPC), N(AF_XDP), N(AF_SMC), N(AF_RDS)};
constexpr ConstantName kSocketTypes[] = {
    N(SOCK_STREAM), N(SOCK_DGRAM), N(SOCK_RAW), N(SOCK_RDM), N(SOCK_SEQPACKET), N(SOCK_DCCP), N(SOCK_PACKET)};
constexpr ConstantName kSocketFlags[] = {N(SOCK_CLOEXEC), N(SOCK_NONBLOCK)};
constexpr ConstantName kSocketLevels[] = {
    N(SOL_SOCKET), {0, "SOL_IP"}, N(SOL_TCP), N(SOL_UDP), N(SOL_IPV6), N(SOL_ICMPV6), N(SOL_RAW), N(SOL_PACKET),
    N(SOL_NETLINK), {284, "SOL_MPTCP"}};
constexpr ConstantName kMsgFlags[] = {
    N(MSG_OOB), N(MSG_PEEK), N(MSG_DONTROUTE), N(MSG_CTRUNC), N(MSG_TRUNC), N(MSG_DONTWAIT), N(MSG_EOR),
    N(MSG_WAITALL), N(MSG_CONFIRM), N(MSG_ERRQUEUE), N(MSG_NOSIGNAL), N(MSG_MORE), N(MSG_WAITFORONE), N(MSG_ZEROCOPY),
    N(MSG_FASTOPEN), N(MSG_CMSG_CLOEXEC)};
constexpr ConstantName kShutdownHows[] = {N(SHUT_RD), N(SHUT_WR), N(SHUT_RDWR)};

constexpr ConstantName kSocketOptions[] = {
    N(SO_DEBUG), N(SO_REUSEADDR), N(SO_TYPE), N(SO_ERROR), N(SO_DONTROUTE), N(SO_BROADCAST), N(SO_SNDBUF),
    N(SO_RCVBUF), N(SO_KEEPALIVE), N(SO_OOBINLINE), N(SO_PRIORITY), N(SO_LINGER), N(SO_REUSEPORT), N(SO_PASSCRED),
    N(SO_PEERCRED), N(SO_RCVLOWAT), N(SO_SNDLOWAT), N(SO_RCVTIMEO), N(SO_SNDTIMEO), N(SO_BINDTODEVICE),
    N(SO_ATTACH_FILTER), N(SO_DETACH_FILTER), N(SO_PEERNAME), N(SO_TIMESTAMP), N(SO_ACCEPTCONN), N(SO_PEERSEC),
    N(SO_SNDBUFFORCE), N(SO_RCVBUFFORCE), N(SO_PASSSEC), N(SO_TIMESTAMPNS), N(SO_MARK), N(SO_TIMESTAMPING),
    N(SO_PROTOCOL), N(SO_DOMAIN), N(SO_RXQ_OVFL), N(SO_PEEK_OFF), N(SO_LOCK_FILTER), N(SO_BUSY_POLL),
    N(SO_INCOMING_CPU), N(SO_ATTACH_BPF), N(SO_MEMINFO), N(SO_COOKIE), N(SO_PEERGROUPS), N(SO_ZEROCOPY),
    N(SO_BINDTOIFINDEX), N(SO_NETNS_COOKIE), N(SO_PASSPIDFD), N(SO_PEERPIDFD), N(SO_PASSRIGHTS)};
constexpr ConstantName kTcpOptions[] = {
    N(TCP_NODELAY), N(TCP_MAXSEG), N(TCP_CORK), N(TCP_KEEPIDLE), N(TCP_KEEPINTVL), N(TCP_KEEPCNT), N(TCP_SYNCNT),
    N(TCP_LINGER2), N(TCP_DEFER_ACCEPT), N(TCP_WINDOW_CLAMP), N(TCP_INFO), N(TCP_QUICKACK), N(TCP_CONGESTION),
    N(TCP_USER_TIMEOUT), N(TCP_REPAIR), N(TCP_FASTOPEN), N(TCP_TIMESTAMP), N(TCP_NOTSENT_LOWAT), N(TCP_ULP),
    N(TCP_FASTOPEN_CONNECT), N(TCP_INQ)};
constexpr ConstantName kIpOptions[] = {
    N(IP_TOS), N(IP_TTL), N(IP_HDRINCL), N(IP_OPTIONS), N(IP_PKTINFO), N(IP_MTU_DISCOVER), N(IP_RECVERR),
    N(IP_RECVTTL), N(IP_RECVTOS), N(IP_MTU), N(IP_FREEBIND), N(IP_TRANSPARENT), N(IP_BIND_ADDRESS_NO_PORT),
    N(IP_MULTICAST_IF), N(IP_MULTICAST_TTL), N(IP_MULTICAST_LOOP), N(IP_ADD_MEMBERSHIP), N(IP_DROP_MEMBERSHIP),
    N(MCAST_JOIN_GROUP), N(MCAST_LEAVE_GROUP)};
constexpr ConstantName kIpv6Options[] = {
    N(IPV6_UNICAST_HOPS), N(IPV6_MULTICAST_IF), N(IPV6_MULTICAST_HOPS), N(IPV6_MULTICAST_LOOP), N(IPV6_JOIN_GROUP),
    N(IPV6_LEAVE_GROUP), N(IPV6_MTU_DISCOVER), N(IPV6_MTU), N(IPV6_RECVERR), N(IPV6_V6ONLY), N(IPV6_RECVPKTINFO),
    N(IPV6_RECVHOPLIMIT), N(IPV6_RECVTCLASS), N(IPV6_TCLASS)};
constexpr ConstantName kUdpOptions[] = {N(UDP_CORK), {103, "UDP_SEGMENT"}, {104, "UDP_GRO"}};

#undef N

constexpr uint64_t kAll = ~uint64_t{0};

constexpr ConstantTable kTables[] = {
    {ArgType::kFcntlCommand, kAll, kFcntlCommands, {}},
    {ArgType::kIoctlRequest, kAll, kIoctlRequests, {}},
    {ArgType::kEpollOperation, kAll, kEpollOperations, {}},
    {ArgType::kSocketDomain, kAll, kSocketDomains, {}},
    {ArgType::kSocketType, 0xf, kSocketTypes, kSocketFlags},
    {ArgType::kSocketFlags, 0, {}, kSocketFlags},
    {ArgType::kSocketLevel, kAll, kSocketLevels, {}},
    {ArgType::kMsgFlags, 0, {}, kMsgFlags},
    {ArgType::kShutdownHow, kAll, kShutdownHows, {}},
};

}  // namespace

std::span<const ConstantTable> IoConstantTables() { return kTables; }

std::string FormatSocketOption(uint32_t level, uint32_t option) {
  std::span<const ConstantName> names;
  switch (level) {
    case SOL_SOCKET: names = kSocketOptions; break;
    case SOL_TCP: names = kTcpOptions; break;
    case SOL_IP: names = kIpOptions; break;
    case SOL_IPV6: names = kIpv6Options; break;
    case SOL_UDP: names = kUdpOptions; break;
    default: break;
  }
  for (const ConstantName& name : names) {
    if (name.value == option) return name.name;
  }
  return format("{}", option);
}

}  // namespace usl::abi
