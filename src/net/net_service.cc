#include "net/net_service.h"

#include <sys/socket.h>

namespace usl::net {

NetService::NetService(kernel::Kernel& kernel) : kernel_(kernel), processes_(kernel), netlink_(kernel) {
  if (!kernel.options().network) policy_.RefuseAll();
}

Result<UnixNames*> NetService::names() {
  if (!names_) names_ = USL_TRY(UnixNames::Create(kernel_.options().runtime_directory));
  return names_.get();
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
