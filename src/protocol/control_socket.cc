#include "protocol/control_socket.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
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
    if (fds.size() > kMaxDescriptors) return Fail(EINVAL);
    alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))] = {};
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
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))];
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
  if ((header.msg_flags & MSG_CTRUNC) || received.fds.size() != DescriptorsOf(received.message.type)) {
    return Fail(EBADMSG);
  }
  return received;
}

Result<UniqueFd> MakePayload(std::span<const std::byte> bytes) {
  UniqueFd memory(memfd_create("usl-payload", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return FailErrno();
  const ssize_t written = write(memory.get(), bytes.data(), bytes.size());
  if (written != static_cast<ssize_t>(bytes.size())) return Fail(written < 0 ? errno : ENOSPC);
  if (fcntl(memory.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
    return FailErrno();
  return memory;
}

Result<std::vector<std::byte>> ReadPayload(const ReceivedMessage& received) {
  std::vector<std::byte> bytes(received.message.payload_size);
  if (received.fds.empty()) return Fail(EBADMSG);
  // A FIFO or device in its place must not block the reader: pread(2) refuses the one, this the other.
  struct stat status;
  if (fstat(received.fds.back().get(), &status) < 0 || !S_ISREG(status.st_mode)) return Fail(EBADMSG);
  const ssize_t size = pread(received.fds.back().get(), bytes.data(), bytes.size(), 0);
  if (size != static_cast<ssize_t>(bytes.size())) return Fail(EBADMSG);
  return bytes;
}

Result<void> SendPayload(int socket, ControlMessage message, std::span<const std::byte> bytes) {
  const UniqueFd memory = USL_TRY(MakePayload(bytes));
  message.payload_size = bytes.size();
  const int fds[] = {memory.get()};
  return SendControl(socket, message, fds);
}

}  // namespace usl::protocol
