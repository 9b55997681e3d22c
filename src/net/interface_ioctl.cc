#include "net/interface_ioctl.h"

#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <string>

#include "kernel/kernel.h"

namespace usl::net {

using kernel::Reply;
using kernel::SyscallContext;

namespace {

constexpr size_t kMaxConfiguration = 64 * 1024;

struct GuestIfconf {
  int32_t length;
  uint32_t padding;
  uint64_t buffer;
};
static_assert(sizeof(GuestIfconf) == sizeof(ifconf));

bool ReadsInterface(uint32_t request) {
  switch (request) {
    case SIOCGIFNAME:
    case SIOCGIFFLAGS:
    case SIOCGIFADDR:
    case SIOCGIFDSTADDR:
    case SIOCGIFBRDADDR:
    case SIOCGIFNETMASK:
    case SIOCGIFMETRIC:
    case SIOCGIFMTU:
    case SIOCGIFHWADDR:
    case SIOCGIFINDEX:
    case SIOCGIFPFLAGS:
    case SIOCGIFTXQLEN:
    case SIOCGIFMAP: return true;
    default: return false;
  }
}

// Known requests that need CAP_NET_ADMIN over the network, which no guest has.
bool ChangesInterface(uint32_t request) {
  switch (request) {
    case SIOCSIFFLAGS:
    case SIOCSIFADDR:
    case SIOCSIFDSTADDR:
    case SIOCSIFBRDADDR:
    case SIOCSIFNETMASK:
    case SIOCSIFMETRIC:
    case SIOCSIFMTU:
    case SIOCSIFNAME:
    case SIOCSIFHWADDR:
    case SIOCSIFTXQLEN:
    case SIOCSIFMAP:
    case SIOCADDMULTI:
    case SIOCDELMULTI:
    case SIOCDIFADDR:
    case SIOCSIFHWBROADCAST:
    case SIOCSARP:
    case SIOCDARP:
    case SIOCBRADDBR:
    case SIOCBRDELBR:
    case SIOCBRADDIF:
    case SIOCBRDELIF: return true;
    default: return false;
  }
}

Result<Reply> ListInterfaces(const SyscallContext& context, int host) {
  const platform::GuestMemory memory = context.memory();
  auto wanted = USL_TRY(memory.ReadObject<GuestIfconf>(context.AddressArg(2)));
  if (wanted.length < 0) return Fail(EINVAL);
  std::string buffer(std::min(static_cast<size_t>(wanted.length), kMaxConfiguration), '\0');
  ifconf list{};
  list.ifc_len = static_cast<int>(buffer.size());
  list.ifc_buf = wanted.buffer == 0 ? nullptr : buffer.data();  // null asks for the size
  if (host < 0) {
    list.ifc_len = 0;
  } else if (ioctl(host, SIOCGIFCONF, &list) < 0) {
    return FailErrno();
  }
  wanted.length = list.ifc_len;
  const size_t used = std::min(buffer.size(), static_cast<size_t>(std::max(list.ifc_len, 0)));
  if (wanted.buffer != 0 && used > 0) {
    USL_TRY_VOID(memory.Write(platform::GuestAddress(wanted.buffer), buffer.data(), used));
  }
  USL_TRY_VOID(memory.WriteObject(context.AddressArg(2), wanted));
  return 0;
}

}  // namespace

Result<Reply> InterfaceIoctl(SyscallContext& context) {
  const uint32_t request = context.UintArg(1);
  const bool network = context.kernel().options().network;
  if (ChangesInterface(request)) return Fail(EPERM);
  const bool known = request == SIOCGIFCONF || request == SIOCGARP || ReadsInterface(request);
  // Drivers, bridges, bonds, ethtool: their structures point at more memory.
  if (!known) return Fail(EOPNOTSUPP);
  if (!network) return request == SIOCGIFCONF ? ListInterfaces(context, -1) : Result<Reply>(Fail(ENODEV));
  const UniqueFd host(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!host) return FailErrno();
  if (request == SIOCGIFCONF) return ListInterfaces(context, host.get());
  const platform::GuestMemory memory = context.memory();
  if (request == SIOCGARP) {
    auto entry = USL_TRY(memory.ReadObject<arpreq>(context.AddressArg(2)));
    if (ioctl(host.get(), request, &entry) < 0) return FailErrno();
    USL_TRY_VOID(memory.WriteObject(context.AddressArg(2), entry));
    return 0;
  }
  auto interface = USL_TRY(memory.ReadObject<ifreq>(context.AddressArg(2)));
  interface.ifr_name[IFNAMSIZ - 1] = '\0';
  if (ioctl(host.get(), request, &interface) < 0) return FailErrno();
  USL_TRY_VOID(memory.WriteObject(context.AddressArg(2), interface));
  return 0;
}

}  // namespace usl::net
