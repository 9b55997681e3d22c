#include "platform/filter_rule_lists.h"

#include <asm/ioctls.h>
#include <asm/prctl.h>
#include <asm/socket.h>
#include <asm/termbits.h>
#include <linux/fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/nsfs.h>
#include <linux/prctl.h>
#include <linux/random.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "abi/constants.h"

namespace usl::platform {
namespace {

// Newer than Debian 12's headers.
constexpr uint32_t kFutexHash = 78, kTimerCreateRestoreIds = 77, kGetMemoryMerge = 68;
constexpr uint32_t kSetMemoryDenyWriteExecute = 65, kGetMemoryDenyWriteExecute = 66;
constexpr uint32_t kTcpRtoMaxMs = 44, kTcpIsMptcp = 43;
constexpr uint32_t kIpLocalPortRange = 51, kIpProtocol = 52;
constexpr uint32_t kArchShstkEnable = 0x5001, kArchShstkDisable = 0x5002, kArchShstkLock = 0x5003,
                   kArchShstkStatus = 0x5005;
// <sys/prctl.h> names of the kernel's arch_prctl codes that asm/prctl.h of old headers lacks.
constexpr uint32_t kArchGetXcompGuestPerm = 0x1024, kArchReqXcompGuestPerm = 0x1025;
constexpr uint32_t kSetVma = 0x53564d41, kSetPtracer = 0x59616d61;

std::vector<uint32_t> Join(std::vector<uint32_t> list, const std::vector<uint32_t>& more) {
  list.insert(list.end(), more.begin(), more.end());
  return list;
}

// Buffers, timeouts and behaviour of one's own socket. Not in any list, on purpose: SO_ATTACH_BPF and
// SO_ATTACH_REUSEPORT_EBPF (bpf), SO_MARK and what else needs CAP_NET_ADMIN, SO_PASSSEC (the host's labels).
std::vector<uint32_t> CommonOptions() {
  return {SO_REUSEADDR,        SO_KEEPALIVE,        SO_LINGER,           SO_SNDBUF,        SO_RCVBUF,
          SO_REUSEPORT,        SO_BROADCAST,        SO_OOBINLINE,        SO_DEBUG,         SO_DONTROUTE,
          SO_NO_CHECK,         SO_PRIORITY,         SO_BSDCOMPAT,        SO_RCVLOWAT,      SO_SNDLOWAT,
          SO_RCVTIMEO_OLD,     SO_SNDTIMEO_OLD,     SO_RCVTIMEO_NEW,     SO_SNDTIMEO_NEW,  SO_ATTACH_FILTER,
          SO_TIMESTAMP_OLD,    SO_TIMESTAMPNS_OLD,  SO_TIMESTAMPING_OLD, SO_TIMESTAMP_NEW, SO_TIMESTAMPNS_NEW,
          SO_TIMESTAMPING_NEW, SO_RXQ_OVFL,         SO_PEEK_OFF,         SO_LOCK_FILTER,   SO_SELECT_ERR_QUEUE,
          SO_BUSY_POLL,        SO_MAX_PACING_RATE,  SO_INCOMING_CPU,     SO_ZEROCOPY,      SO_TXTIME,
          SO_PREFER_BUSY_POLL, SO_BUSY_POLL_BUDGET, SO_BUF_LOCK,         SO_TXREHASH,      SO_PASSRIGHTS};
}

std::vector<uint32_t> TcpOptions() {
  return {TCP_NODELAY,
          TCP_CORK,
          TCP_KEEPIDLE,
          TCP_KEEPINTVL,
          TCP_KEEPCNT,
          TCP_USER_TIMEOUT,
          TCP_QUICKACK,
          TCP_MAXSEG,
          TCP_SYNCNT,
          TCP_LINGER2,
          TCP_DEFER_ACCEPT,
          TCP_WINDOW_CLAMP,
          TCP_CONGESTION,
          TCP_THIN_LINEAR_TIMEOUTS,
          TCP_THIN_DUPACK,
          TCP_FASTOPEN,
          TCP_TIMESTAMP,
          TCP_NOTSENT_LOWAT,
          TCP_SAVE_SYN,
          TCP_FASTOPEN_CONNECT,
          TCP_FASTOPEN_NO_COOKIE,
          TCP_INQ,
          TCP_TX_DELAY,
          kTcpRtoMaxMs};
}

std::vector<uint32_t> UdpOptions() {
  return {UDP_CORK, UDP_NO_CHECK6_TX, UDP_NO_CHECK6_RX, UDP_SEGMENT, UDP_GRO};
}

// Not IP_OPTIONS: source routes lead past the host's filters.
std::vector<uint32_t> IpOptions() {
  return {IP_TOS,
          IP_TTL,
          IP_RECVOPTS,
          IP_RETOPTS,
          IP_PKTINFO,
          IP_MTU_DISCOVER,
          IP_RECVERR,
          IP_RECVTTL,
          IP_RECVTOS,
          IP_FREEBIND,
          IP_RECVORIGDSTADDR,
          IP_MINTTL,
          IP_NODEFRAG,
          IP_CHECKSUM,
          IP_BIND_ADDRESS_NO_PORT,
          IP_RECVFRAGSIZE,
          IP_RECVERR_RFC4884,
          IP_MULTICAST_IF,
          IP_MULTICAST_TTL,
          IP_MULTICAST_LOOP,
          IP_MULTICAST_ALL,
          kIpLocalPortRange};
}

// Devices and groups are a matter of the network policy.
std::vector<uint32_t> IpPolicyOptions() {
  return {IP_ADD_MEMBERSHIP,
          IP_DROP_MEMBERSHIP,
          IP_UNBLOCK_SOURCE,
          IP_BLOCK_SOURCE,
          IP_ADD_SOURCE_MEMBERSHIP,
          IP_DROP_SOURCE_MEMBERSHIP,
          IP_MSFILTER,
          MCAST_JOIN_GROUP,
          MCAST_BLOCK_SOURCE,
          MCAST_UNBLOCK_SOURCE,
          MCAST_LEAVE_GROUP,
          MCAST_JOIN_SOURCE_GROUP,
          MCAST_LEAVE_SOURCE_GROUP,
          MCAST_MSFILTER,
          IP_UNICAST_IF};
}

std::vector<uint32_t> Ipv6Options() {
  return {IPV6_V6ONLY,       IPV6_UNICAST_HOPS, IPV6_MULTICAST_IF, IPV6_MULTICAST_HOPS,  IPV6_MULTICAST_LOOP,
          IPV6_MTU_DISCOVER, IPV6_MTU,          IPV6_RECVERR,      IPV6_RECVERR_RFC4884, IPV6_MULTICAST_ALL,
          IPV6_ADDRFORM,     IPV6_2292PKTINFO,  IPV6_2292HOPLIMIT, IPV6_FLOWINFO_SEND,   IPV6_RECVPKTINFO,
          IPV6_RECVHOPLIMIT, IPV6_RECVRTHDR,    IPV6_RECVHOPOPTS,  IPV6_RECVDSTOPTS,     IPV6_RECVPATHMTU,
          IPV6_DONTFRAG,     IPV6_RECVTCLASS,   IPV6_TCLASS,       IPV6_AUTOFLOWLABEL,   IPV6_ADDR_PREFERENCES,
          IPV6_MINHOPCOUNT,  IPV6_ORIGDSTADDR,  IPV6_RECVFRAGSIZE, IPV6_FREEBIND};
}

std::vector<uint32_t> Ipv6PolicyOptions() {
  return {IPV6_ADD_MEMBERSHIP,     IPV6_DROP_MEMBERSHIP,     IPV6_JOIN_ANYCAST,    IPV6_LEAVE_ANYCAST,
          MCAST_JOIN_GROUP,        MCAST_BLOCK_SOURCE,       MCAST_UNBLOCK_SOURCE, MCAST_LEAVE_GROUP,
          MCAST_JOIN_SOURCE_GROUP, MCAST_LEAVE_SOURCE_GROUP, MCAST_MSFILTER,       IPV6_UNICAST_IF};
}

}  // namespace

std::vector<SocketOptions> SettableSocketOptions() {
  return {{kLevelTcp, TcpOptions(), {}},
          // SO_*BUFFORCE is granted to guest root as far as SO_*BUF goes.
          {kLevelSocket,
           Join(CommonOptions(), {SO_DETACH_FILTER, SO_ATTACH_REUSEPORT_CBPF, SO_DETACH_REUSEPORT_BPF}),
           {SO_PASSCRED, SO_PASSPIDFD, SO_BINDTODEVICE, SO_BINDTOIFINDEX, SO_SNDBUFFORCE, SO_RCVBUFFORCE}},
          {kLevelIp, IpOptions(), IpPolicyOptions()},
          {kLevelIpv6, Ipv6Options(), Ipv6PolicyOptions()},
          {kLevelUdp, UdpOptions(), {}}};
}

std::vector<SocketOptions> GettableSocketOptions() {
  return {
      {kLevelSocket,
       // A netlink socket is the end of a native socketpair, so domain and protocol are answered by the kernel.
       Join(CommonOptions(),
            {SO_ERROR, SO_TYPE, SO_ACCEPTCONN, SO_MARK, SO_BPF_EXTENSIONS, SO_MEMINFO, SO_INCOMING_NAPI_ID, SO_COOKIE}),
       {SO_PEERCRED, SO_PASSCRED, SO_PEERSEC, SO_PEERGROUPS, SO_PASSPIDFD, SO_PEERPIDFD, SO_PEERNAME, SO_DOMAIN,
        SO_PROTOCOL, SO_BINDTODEVICE, SO_BINDTOIFINDEX}},
      {kLevelTcp, Join(TcpOptions(), {TCP_INFO, TCP_CC_INFO, TCP_SAVED_SYN, TCP_ZEROCOPY_RECEIVE, kTcpIsMptcp}), {}},
      {kLevelIp, Join(IpOptions(), {IP_MTU, IP_PKTOPTIONS, kIpProtocol}), IpPolicyOptions()},
      {kLevelIpv6, Ipv6Options(), Ipv6PolicyOptions()},
      {kLevelUdp, UdpOptions(), {}}};
}

// F_SETSIG and F_GETOWN are harmless as the owner is checked when it is set. Refused: F_SETLEASE (a lease makes the
// kernel's own opens wait), F_NOTIFY (it works on donated directories), F_GETOWNER_UIDS (host ids).
std::vector<uint32_t> NativeFcntlCommands() {
  return {F_GETFL,       F_GETFD,       F_SETFD,       F_DUPFD_CLOEXEC,    F_DUPFD,
          F_SETLK,       F_GETLK,       F_SETLKW,      F_OFD_SETLK,        F_OFD_GETLK,
          F_OFD_SETLKW,  F_SETPIPE_SZ,  F_GETPIPE_SZ,  F_ADD_SEALS,        F_GET_SEALS,
          F_GETOWN,      F_GETOWN_EX,   F_SETSIG,      F_GETSIG,           F_GETLEASE,
          F_DUPFD_QUERY, F_GET_RW_HINT, F_SET_RW_HINT, F_GET_FILE_RW_HINT, F_SET_FILE_RW_HINT};
}

std::vector<uint32_t> ServedFcntlCommands() {
  return {F_SETOWN, F_SETOWN_EX};
}

// Terminal and socket basics; copies between donated fds; read-only facts. Left out so that they give ENOTTY: TIOCSTI,
// TIOCLINUX, TIOCCONS, TIOCSETD (line disciplines load host modules), TIOCVHANGUP, SIOCUNIXFILE (an fd of the host's
// path), every ioctl of btrfs, pidfds, namespaces, seccomp and block devices, and all that nobody has looked at.
std::vector<uint32_t> NativeIoctlRequests() {
  return {TCGETS,
          TIOCGWINSZ,
          FIONREAD,
          FIONBIO,
          FIOCLEX,
          FIONCLEX,
          TCSETS,
          TCSETSW,
          TCSETSF,
          TIOCGPGRP,
          TIOCSPGRP,
          TIOCSWINSZ,
          TCGETS2,
          TCSETS2,
          TCSETSW2,
          TCSETSF2,
          TIOCOUTQ,
          TIOCGSID,
          TCGETA,
          TCSETA,
          TCSETAW,
          TCSETAF,
          TCSBRK,
          TCSBRKP,
          TCXONC,
          TCFLSH,
          TIOCSBRK,
          TIOCCBRK,
          TIOCEXCL,
          TIOCNXCL,
          TIOCGEXCL,
          TIOCNOTTY,
          TIOCGETD,
          TIOCGPTN,
          TIOCSPTLCK,
          TIOCGPTLCK,
          TIOCPKT,
          TIOCGPKT,
          TIOCSIG,
          TIOCGDEV,
          TIOCGLCKTRMIOS,
          FIOQSIZE,
          FIGETBSZ,
          FICLONE,
          FICLONERANGE,
          FIDEDUPERANGE,
          FS_IOC_FIEMAP,
          SIOCATMARK,
          SIOCOUTQNSD,
          SIOCGSTAMP_OLD,
          SIOCGSTAMPNS_OLD,
          static_cast<uint32_t>(SIOCGSTAMP_NEW),
          static_cast<uint32_t>(SIOCGSTAMPNS_NEW),
          RNDGETENTCNT};
}

// Owners (a pid in memory), controlling terminals, and file flags, which work on a read-only fd.
std::vector<uint32_t> ServedIoctlRequests() {
  return {FIOASYNC,          TIOCSCTTY,         TIOCGPTPEER,   FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_FSGETXATTR,
          FS_IOC_FSSETXATTR, FS_IOC_GETVERSION, FIOSETOWN,     SIOCSPGRP,       FIOGETOWN,       SIOCGPGRP,
          NS_GET_USERNS,     NS_GET_PARENT,     NS_GET_NSTYPE, NS_GET_OWNER_UID};
}

std::vector<uint32_t> NativePrctlOptions() {
  return {PR_SET_NAME,
          PR_GET_NAME,
          kSetVma,
          PR_SET_PDEATHSIG,
          PR_GET_PDEATHSIG,
          PR_SET_TIMERSLACK,
          PR_GET_TIMERSLACK,
          PR_SET_CHILD_SUBREAPER,
          PR_GET_CHILD_SUBREAPER,
          PR_SET_THP_DISABLE,
          PR_GET_THP_DISABLE,
          PR_GET_SPECULATION_CTRL,
          PR_SET_SPECULATION_CTRL,
          PR_GET_TSC,
          PR_SET_TSC,
          PR_SET_SYSCALL_USER_DISPATCH,
          PR_GET_TIMING,
          PR_SET_TIMING,
          PR_GET_TID_ADDRESS,
          PR_MCE_KILL,
          PR_MCE_KILL_GET,
          PR_TASK_PERF_EVENTS_DISABLE,
          PR_TASK_PERF_EVENTS_ENABLE,
          kSetMemoryDenyWriteExecute,
          kGetMemoryDenyWriteExecute,
          kGetMemoryMerge,
          kTimerCreateRestoreIds,
          kFutexHash};
}

// A natively non-dumpable guest could not be read by the kernel; the rest are the guest's identity and privilege.
std::vector<uint32_t> ServedPrctlOptions() {
  return {PR_SET_DUMPABLE, PR_GET_DUMPABLE,   PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, PR_SET_KEEPCAPS,
          PR_GET_KEEPCAPS, PR_SET_SECUREBITS, PR_GET_SECUREBITS,   PR_CAPBSET_READ,     PR_CAPBSET_DROP,
          PR_CAP_AMBIENT,  kSetPtracer,       PR_GET_SECCOMP,      PR_SET_SECCOMP};
}

std::vector<uint32_t> PrivilegedPrctlOptions() {
  constexpr uint32_t kSetMemoryMerge = 67;
  return {PR_SET_MM, kSetMemoryMerge, PR_SET_IO_FLUSHER, PR_GET_IO_FLUSHER};
}

// Not ARCH_MAP_VDSO_*; not ARCH_ENABLE_TAGGED_ADDR (linear address masking), with which munmap and friends ignore the
// top bits of an address that the filter compares.
std::vector<uint32_t> NativeArchPrctlOptions() {
  return {ARCH_SET_FS,
          ARCH_GET_FS,
          ARCH_SET_GS,
          ARCH_GET_GS,
          ARCH_GET_CPUID,
          ARCH_SET_CPUID,
          ARCH_GET_XCOMP_SUPP,
          ARCH_GET_XCOMP_PERM,
          ARCH_REQ_XCOMP_PERM,
          kArchGetXcompGuestPerm,
          kArchReqXcompGuestPerm,
          kArchShstkEnable,
          kArchShstkDisable,
          kArchShstkLock,
          kArchShstkStatus};
}

}  // namespace usl::platform
