// The allow-lists of the filter: requests, commands and options that are native or served. What is in no list is
// refused. Values are those of Linux's x86-64 ABI; the comments in filter_rule_lists.cc say why a list is as it is.
#pragma once

#include <cstdint>
#include <vector>

namespace usl::platform {

// Numbers of <sys/socket.h> and <netinet/in.h>, which cannot be included beside the kernel's headers.
inline constexpr uint32_t kAfUnix = 1, kAfInet = 2, kAfInet6 = 10, kAfNetlink = 16, kAfPacket = 17;
inline constexpr uint32_t kSockStream = 1, kSockDgram = 2, kSockRaw = 3, kSockTypeMask = 0xf;
inline constexpr uint32_t kProtocolDefault = 0, kProtocolIcmp = 1, kProtocolTcp = 6, kProtocolUdp = 17,
                          kProtocolIcmpv6 = 58, kProtocolUdpLite = 136, kProtocolMptcp = 262;
inline constexpr uint32_t kLevelSocket = 1, kLevelIp = 0, kLevelTcp = 6, kLevelUdp = 17, kLevelIpv6 = 41,
                          kLevelNetlink = 270;

// SIOCGIFNAME to SIOCSIFMAP: network interfaces, which are the instance's.
inline constexpr uint32_t kFirstInterfaceIoctl = 0x8910, kLastInterfaceIoctl = 0x8971;

struct SocketOptions {
  uint32_t level;
  std::vector<uint32_t> native;
  std::vector<uint32_t> served;
};

std::vector<SocketOptions> SettableSocketOptions();
std::vector<SocketOptions> GettableSocketOptions();
std::vector<uint32_t> NativeFcntlCommands();
std::vector<uint32_t> ServedFcntlCommands();
std::vector<uint32_t> NativeIoctlRequests();
std::vector<uint32_t> ServedIoctlRequests();
std::vector<uint32_t> NativePrctlOptions();
std::vector<uint32_t> ServedPrctlOptions();
// Options that need a host right that the guest has not: EPERM, as for an ordinary user.
std::vector<uint32_t> PrivilegedPrctlOptions();
std::vector<uint32_t> NativeArchPrctlOptions();

}  // namespace usl::platform
