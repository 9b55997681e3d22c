#include "net/unix_names.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <charconv>
#include <cstring>
#include <vector>

#include "base/format.h"

namespace usl::net {
namespace {

// Records of sockets that nobody can reach by name any more are kept for their peers, this many.
constexpr size_t kMaxWithoutFile = 32768;
constexpr size_t kFirstSweep = 512;
constexpr uint32_t kAutomaticNames = 1u << 20;  // five hexadecimal digits

}  // namespace

UnixNames::UnixNames(UniqueFd directory)
    : directory_(std::move(directory)),
      // Through the descriptor, so that the path is short whatever the run-time directory is called.
      prefix_(format("/proc/self/fd/{}/", directory_.get())),
      next_automatic_(static_cast<uint32_t>(getpid()) % kAutomaticNames),
      sweep_at_(kFirstSweep) {}

Result<std::unique_ptr<UnixNames>> UnixNames::Create(const std::string& runtime_directory) {
  const std::string path = runtime_directory + "/s";
  if (mkdir(path.c_str(), 0700) < 0 && errno != EEXIST) return FailErrno();
  UniqueFd directory(open(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory) return FailErrno();
  return std::unique_ptr<UnixNames>(new UnixNames(std::move(directory)));
}

std::string UnixNames::FileName(uint64_t number) const {
  return format("{:x}", number);
}

std::string UnixNames::HostPath(uint64_t number) const {
  return prefix_ + FileName(number);
}

NamedSocket* UnixNames::ByNativeAddress(const void* address, socklen_t length) const {
  if (length <= kUnixHeader || length > sizeof(sockaddr_un) + 1) return nullptr;
  sa_family_t family;
  memcpy(&family, address, sizeof family);
  if (family != AF_UNIX) return nullptr;
  std::string_view path(static_cast<const char*>(address) + kUnixHeader, length - kUnixHeader);
  path = path.substr(0, path.find('\0'));
  if (!path.starts_with(prefix_)) return nullptr;
  path.remove_prefix(prefix_.size());
  uint64_t number = 0;
  auto [end, error] = std::from_chars(path.data(), path.data() + path.size(), number, 16);
  if (error != std::errc() || end != path.data() + path.size()) return nullptr;
  auto found = sockets_.find(number);
  return found == sockets_.end() ? nullptr : found->second.get();
}

NamedSocket* UnixNames::Local(int fd) const {
  SocketAddress address;
  address.length = kMaxAddress;
  if (getsockname(fd, address.raw(), &address.length) < 0) return nullptr;
  return ByNativeAddress(address.bytes.data(), address.length);
}

NamedSocket* UnixNames::PeerOf(int fd) const {
  SocketAddress address;
  address.length = kMaxAddress;
  if (getpeername(fd, address.raw(), &address.length) < 0) return nullptr;
  return ByNativeAddress(address.bytes.data(), address.length);
}

SocketAddress UnixNames::HostAddress(const NamedSocket& socket) const {
  SocketAddress address;
  const std::string path = HostPath(socket.number);
  const sa_family_t family = AF_UNIX;
  memcpy(address.bytes.data(), &family, sizeof family);
  memcpy(address.bytes.data() + kUnixHeader, path.data(), path.size());
  address.length = static_cast<socklen_t>(kUnixHeader + path.size() + 1);
  return address;
}

Result<NamedSocket*> UnixNames::Ensure(int fd) {
  if (NamedSocket* known = Local(fd)) return known;
  int type = 0;
  socklen_t size = sizeof type;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0) return FailErrno();
  if (sockets_.size() - without_file_.size() >= sweep_at_) Sweep();
  auto socket = std::make_unique<NamedSocket>();
  socket->number = next_number_++;
  socket->type = type;
  const SocketAddress address = HostAddress(*socket);
  // EINVAL: it has a name of somebody else's.
  if (bind(fd, address.raw(), address.length) < 0) return FailErrno();
  NamedSocket* record = socket.get();
  sockets_[record->number] = std::move(socket);
  return record;
}

Result<void> UnixNames::SetAbstractName(NamedSocket& socket, std::string name) {
  auto found = abstract_.find(name);
  if (found != abstract_.end()) {
    if (IsAlive(*found->second)) return Fail(EADDRINUSE);
    DropFile(*found->second);
  }
  abstract_[name] = &socket;
  socket.name.bytes = std::move(name);
  return {};
}

Result<void> UnixNames::SetAutomaticName(NamedSocket& socket) {
  for (uint32_t tries = 0; tries < kAutomaticNames; ++tries) {
    std::string name(1, '\0');
    name += format("{:05x}", next_automatic_++ % kAutomaticNames);
    if (SetAbstractName(socket, std::move(name))) return {};
  }
  return Fail(ENOSPC);
}

void UnixNames::SetPathName(NamedSocket& socket, UnixName name, Ref<vfs::Inode> node) {
  node->set_socket_address(HostPath(socket.number));
  socket.name = std::move(name);
  socket.inode = std::move(node);
}

NamedSocket* UnixNames::ByAbstractName(std::string_view name) const {
  auto found = abstract_.find(std::string(name));
  return found == abstract_.end() ? nullptr : found->second;
}

NamedSocket* UnixNames::ByNode(const vfs::Inode& node) const {
  const std::string& path = node.socket_address();
  if (!path.starts_with(prefix_)) return nullptr;
  uint64_t number = 0;
  std::from_chars(path.data() + prefix_.size(), path.data() + path.size(), number, 16);
  auto found = sockets_.find(number);
  return found == sockets_.end() ? nullptr : found->second.get();
}

void UnixNames::DropFile(NamedSocket& socket) {
  if (!socket.has_file) return;
  socket.has_file = false;
  unlinkat(directory_.get(), FileName(socket.number).c_str(), 0);
  if (socket.inode) socket.inode->set_socket_address({});
  socket.inode = nullptr;
  if (auto found = abstract_.find(socket.name.bytes); found != abstract_.end() && found->second == &socket) {
    abstract_.erase(found);
  }
  without_file_.push_back(socket.number);
  if (without_file_.size() > kMaxWithoutFile) {
    // Its peer will be somebody unknown: kNobody, never somebody else.
    sockets_.erase(without_file_.front());
    without_file_.pop_front();
  }
}

bool UnixNames::IsAlive(const NamedSocket& socket) const {
  if (!socket.has_file) return false;
  // To connect with a socket of another type tells without disturbing: EPROTOTYPE from a living one, else ECONNREFUSED.
  const int other = socket.type == SOCK_DGRAM ? SOCK_SEQPACKET : SOCK_DGRAM;
  UniqueFd probe(::socket(AF_UNIX, other | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return true;  // nothing is known, so nothing is dropped
  const SocketAddress address = HostAddress(socket);
  if (connect(probe.get(), address.raw(), address.length) == 0) return true;
  return errno != ECONNREFUSED && errno != ENOENT;
}

void UnixNames::SetTakesCredentials(NamedSocket& socket) {
  socket.takes_credentials = true;
  any_takes_credentials_ = true;
}

void UnixNames::Sweep() {
  std::vector<NamedSocket*> dead;
  for (const auto& [number, socket] : sockets_) {
    if (socket->has_file && !IsAlive(*socket)) dead.push_back(socket.get());
  }
  for (NamedSocket* socket : dead) DropFile(*socket);
  sweep_at_ = std::max(kFirstSweep, 2 * (sockets_.size() - without_file_.size()));
}

}  // namespace usl::net
