#include "net/net_service.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace usl::net {

NetService::NetService(kernel::Kernel& kernel) : kernel_(kernel), processes_(kernel), netlink_(kernel) {
  if (!kernel.options().network) policy_.RefuseAll();
  kernel.SetUnixNaming([this](std::string_view host_name) { return GuestNameOf(host_name); });
}

Result<UnixNames*> NetService::names() {
  if (!names_) names_ = USL_TRY(UnixNames::Create(kernel_.options().runtime_directory));
  return names_.get();
}

std::string NetService::GuestNameOf(std::string_view host_name) const {
  SocketAddress address;
  const sa_family_t family = AF_UNIX;
  if (!names_ || host_name.size() > sizeof(sockaddr_un::sun_path)) return {};
  memcpy(address.bytes.data(), &family, sizeof family);
  memcpy(address.bytes.data() + offsetof(sockaddr_un, sun_path), host_name.data(), host_name.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + host_name.size());
  const NamedSocket* socket = names_->ByNativeAddress(address.bytes.data(), length);
  if (!socket || socket->name.IsUnnamed()) return {};
  if (!socket->name.IsAbstract()) return std::string(socket->name.path());
  std::string name = socket->name.bytes;
  std::ranges::replace(name, '\0', '@');
  return name;
}

Result<int> IntOption(int fd, int level, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  if (getsockopt(fd, level, option, &value, &size) < 0) return FailErrno();
  return value;
}

Result<SocketFacts> FactsOf(int fd) {
  SocketFacts facts;
  facts.domain = USL_TRY(IntOption(fd, SOL_SOCKET, SO_DOMAIN));
  facts.type = USL_TRY(IntOption(fd, SOL_SOCKET, SO_TYPE));
  socklen_t size = sizeof facts.cookie;
  if (facts.domain == AF_UNIX && getsockopt(fd, SOL_SOCKET, SO_COOKIE, &facts.cookie, &size) < 0) facts.cookie = 0;
  return facts;
}

}  // namespace usl::net
