// What the conformance tests of sockets share.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conformance/helpers.h"

namespace usl::conformance {

inline Fd NewSocket(int domain, int type, int protocol = 0) {
  return Fd(socket(domain, type | SOCK_CLOEXEC, protocol));
}

inline std::pair<Fd, Fd> NewPair(int type) {
  int ends[2] = {-1, -1};
  socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends);
  return {Fd(ends[0]), Fd(ends[1])};
}

// An address with exactly these bytes of sun_path.
struct UnixAddress {
  explicit UnixAddress(std::string_view bytes) : length(static_cast<socklen_t>(sizeof(sa_family_t) + bytes.size())) {
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, bytes.data(), std::min(bytes.size(), sizeof address.sun_path));
  }
  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&address); }
  sockaddr_un address{};
  socklen_t length;
};
// A path with its NUL.
inline UnixAddress PathAddress(const std::string& path) {
  return UnixAddress(std::string_view(path.c_str(), path.size() + 1));
}

// sun_path's bytes as a call reported them; "?" when it failed or the family is wrong.
template <typename Call>
std::string UnixNameBy(Call call, int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (call(fd, reinterpret_cast<sockaddr*>(&storage), &length) < 0 || storage.ss_family != AF_UNIX) return "?";
  return std::string(reinterpret_cast<char*>(&storage) + sizeof(sa_family_t), length - sizeof(sa_family_t));
}
inline std::string OwnName(int fd) {
  return UnixNameBy(&getsockname, fd);
}
inline std::string PeerName(int fd) {
  return UnixNameBy(&getpeername, fd);
}

inline int BindTo(const Fd& fd, const UnixAddress& address) {
  return bind(fd.get(), address.raw(), address.length);
}
inline int ConnectTo(const Fd& fd, const UnixAddress& address) {
  return connect(fd.get(), address.raw(), address.length);
}

// A listener at 127.0.0.1 with a port of the host's choice.
inline sockaddr_in LoopbackAddress(uint16_t port = 0) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}
inline sockaddr_in BindToLoopback(const Fd& fd) {
  sockaddr_in address = LoopbackAddress();
  socklen_t length = sizeof address;
  bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length);
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length);
  return address;
}

// A received message.
struct Message {
  ssize_t size = -1;
  std::string data;
  std::string name;  // whole address
  int flags = 0;
  std::vector<Fd> rights;
  bool has_credentials = false;
  ucred credentials{};
};

inline Message Receive(const Fd& fd, int flags = 0, size_t room = 4096, size_t control_room = 1024) {
  Message result;
  std::string buffer(room, '\0');
  std::vector<char> control(control_room);
  sockaddr_storage name{};
  iovec part{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_name = &name;
  message.msg_namelen = sizeof name;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  result.size = recvmsg(fd.get(), &message, flags);
  if (result.size < 0) return result;
  result.data = buffer.substr(0, std::min<size_t>(static_cast<size_t>(result.size), room));
  result.name.assign(reinterpret_cast<char*>(&name), message.msg_namelen);
  result.flags = message.msg_flags;
  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item; item = CMSG_NXTHDR(&message, item)) {
    if (item->cmsg_level != SOL_SOCKET) continue;
    if (item->cmsg_type == SCM_RIGHTS) {
      for (size_t i = 0; i < (item->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
        int number;
        memcpy(&number, CMSG_DATA(item) + i * sizeof number, sizeof number);
        result.rights.emplace_back(number);
      }
    } else if (item->cmsg_type == SCM_CREDENTIALS) {
      result.has_credentials = true;
      memcpy(&result.credentials, CMSG_DATA(item), sizeof result.credentials);
    }
  }
  return result;
}

struct Outgoing {
  std::string data;
  const sockaddr* name = nullptr;
  socklen_t name_length = 0;
  std::vector<int> rights;
  const ucred* credentials = nullptr;
};

inline ssize_t Send(const Fd& fd, const Outgoing& outgoing, int flags = 0) {
  std::string data = outgoing.data;
  iovec part{data.data(), data.size()};
  std::vector<char> control(CMSG_SPACE(outgoing.rights.size() * sizeof(int)) + CMSG_SPACE(sizeof(ucred)));
  msghdr message{};
  message.msg_name = const_cast<sockaddr*>(outgoing.name);
  message.msg_namelen = outgoing.name_length;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  size_t used = 0;
  auto add = [&](int type, const void* bytes, size_t size) {
    cmsghdr header{};
    header.cmsg_len = CMSG_LEN(size);
    header.cmsg_level = SOL_SOCKET;
    header.cmsg_type = type;
    memcpy(control.data() + used, &header, sizeof header);
    memcpy(control.data() + used + CMSG_LEN(0), bytes, size);
    used += CMSG_SPACE(size);
  };
  if (!outgoing.rights.empty()) add(SCM_RIGHTS, outgoing.rights.data(), outgoing.rights.size() * sizeof(int));
  if (outgoing.credentials) add(SCM_CREDENTIALS, outgoing.credentials, sizeof(ucred));
  message.msg_control = used ? control.data() : nullptr;
  message.msg_controllen = used;
  return sendmsg(fd.get(), &message, flags);
}

inline int SetInt(const Fd& fd, int level, int option, int value) {
  return setsockopt(fd.get(), level, option, &value, sizeof value);
}

}  // namespace usl::conformance
