#include "protocol/control_socket.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

namespace usl::protocol {

Result<void> SendControl(int socket, const ControlMessage& message, std::span<const int> fds) {
  const ControlPacket packet = EncodeMessage(message);
  ssize_t sent;
  if (fds.empty()) {
    do sent = write(socket, packet.data(), packet.size());
    while (sent < 0 && errno == EINTR);
  } else {
    if (fds.size() > kLaunchFds) return Fail(EINVAL);
    alignas(cmsghdr) char control[CMSG_SPACE(kLaunchFds * sizeof(int))] = {};
    iovec data{const_cast<std::byte*>(packet.data()), packet.size()};
    msghdr header{};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
    do sent = sendmsg(socket, &header, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
  }
  if (sent < 0) return FailErrno();
  return {};
}

Result<ReceivedMessage> ReceiveControl(int socket) {
  // One byte more than a packet, so that a longer one shows.
  std::byte buffer[kControlMessageSize + 1];
  alignas(cmsghdr) char control[CMSG_SPACE(kLaunchFds * sizeof(int))];
  iovec data{buffer, sizeof buffer};
  msghdr header{};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t size;
  do size = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  while (size < 0 && errno == EINTR);
  if (size < 0) return FailErrno();

  ReceivedMessage received;
  for (cmsghdr* rights = CMSG_FIRSTHDR(&header); rights; rights = CMSG_NXTHDR(&header, rights)) {
    if (rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(rights) + i * sizeof fd, sizeof fd);
      received.fds.emplace_back(fd);
    }
  }
  if (size == 0) return Fail(ECONNRESET);
  received.message = USL_TRY(DecodeMessage({buffer, static_cast<size_t>(size)}));
  const size_t wanted = received.message.type == MessageType::kLaunch ? kLaunchFds : 0;
  if ((header.msg_flags & MSG_CTRUNC) || received.fds.size() != wanted) return Fail(EBADMSG);
  return received;
}

}  // namespace usl::protocol
