#include "platform/fd_passing.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstring>

namespace usl::platform {
namespace {

union ControlBuffer {
  cmsghdr header;
  char room[CMSG_SPACE(sizeof(int))];
};

}  // namespace

Result<void> SendFd(int socket, int fd) {
  char byte = 'f';
  iovec data{&byte, 1};
  ControlBuffer control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = &control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  if (sendmsg(socket, &message, MSG_NOSIGNAL) < 0) return FailErrno();
  return {};
}

Result<UniqueFd> ReceiveFd(int socket) {
  // Seen first, so that a message of another kind stays for its reader. One byte: only SendFd's are that short.
  char peeked[2];
  ssize_t size;
  do {
    size = recv(socket, peeked, sizeof peeked, MSG_PEEK);
  } while (size < 0 && errno == EINTR);
  if (size < 0) return FailErrno();
  if (size == 0) return Fail(ESRCH);
  if (size != 1) return Fail(EBADMSG);
  char byte;
  iovec data{&byte, 1};
  ControlBuffer control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = &control;
  message.msg_controllen = sizeof control;
  if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) < 0) return FailErrno();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) return Fail(EBADMSG);
  int fd;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return UniqueFd(fd);
}

}  // namespace usl::platform
