// Names of AF_UNIX sockets. Whatever a guest binds to (a path of its tree, an abstract name), the host's socket is
// bound to a short private path in the instance's run-time directory; this registry translates both ways. So abstract
// names are the instance's own too, and no host process can reach a guest's socket by a name.
//
// A socket that connects has to be recognised by the other end (SO_PEERCRED), and one that takes credentials by its
// senders: they get a host name too, and stay unnamed for guests. What a peer's native name says holds for life, also
// after the socket was passed on or closed, so no list of open sockets has to be kept. Guarded by the kernel lock.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/result.h"
#include "base/unique_fd.h"
#include "net/identity.h"
#include "net/socket_address.h"
#include "vfs/file_system.h"

namespace usl::net {

// What is known of a socket with a host name. The sockets that a listener accepts share its name, and so its record.
struct NamedSocket {
  uint64_t number = 0;
  int type = 0;           // SOCK_STREAM, ...
  UnixName name;          // the guest's
  Ref<vfs::Inode> inode;  // of a path name: keeps the node findable in its file system
  bool has_file = true;   // the host path exists; without it nobody can connect any more
  // Who connected it or listens on it.
  Peer owner;
  // It takes credentials, or did once: messages to it carry tokens, and are received by the kernel.
  bool takes_credentials = false;
};

class UnixNames {
 public:
  // `runtime_directory` as KernelOptions. Errors of mkdir(2) and open(2).
  static Result<std::unique_ptr<UnixNames>> Create(const std::string& runtime_directory);

  // The record of a socket's own name or of its peer's. Null: unnamed, not connected, or not a name of this registry (a
  // socket from outside, or one whose record was dropped).
  NamedSocket* Local(int fd) const;
  NamedSocket* PeerOf(int fd) const;
  NamedSocket* ByNativeAddress(const void* address, socklen_t length) const;

  // The record of the socket, which is given a host name if it has none. Errors of bind(2).
  Result<NamedSocket*> Ensure(int fd);
  // The host's address of a record, for connect and sendto.
  SocketAddress HostAddress(const NamedSocket& socket) const;

  // Gives the socket an abstract name (with its leading NUL). EADDRINUSE: a living socket has it.
  Result<void> SetAbstractName(NamedSocket& socket, std::string name);
  // The same with a free name of five digits, as autobind.
  Result<void> SetAutomaticName(NamedSocket& socket);
  // Gives it a path name, `node` being the new socket node.
  void SetPathName(NamedSocket& socket, UnixName name, Ref<vfs::Inode> node);

  // Who is bound to a name: living or not, connect tells. Null when nobody ever was.
  NamedSocket* ByAbstractName(std::string_view name) const;
  NamedSocket* ByNode(const vfs::Inode& node) const;

  // The socket is connected: it keeps its name, but nobody needs to reach it by that.
  void DropFile(NamedSocket& socket);
  // Whether the host's socket still exists.
  bool IsAlive(const NamedSocket& socket) const;

  // Whether any socket takes credentials; while none does, messages need no look at their receivers.
  bool any_takes_credentials() const { return any_takes_credentials_; }
  void SetTakesCredentials(NamedSocket& socket);

 private:
  explicit UnixNames(UniqueFd directory);
  std::string HostPath(uint64_t number) const;
  std::string FileName(uint64_t number) const;
  void Sweep();

  UniqueFd directory_;
  std::string prefix_;
  uint64_t next_number_ = 1;
  uint32_t next_automatic_;
  std::unordered_map<uint64_t, std::unique_ptr<NamedSocket>> sockets_;
  std::unordered_map<std::string, NamedSocket*> abstract_;
  std::deque<uint64_t> without_file_;  // the oldest first
  size_t sweep_at_;
  bool any_takes_credentials_ = false;
};

}  // namespace usl::net
