#include "platform/listener.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <algorithm>

// Linux 6.6; older headers lack them.
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif

namespace usl::platform {
namespace {

// The host copies as much as its own structure has, which may be more than this program was built with.
union NotificationBuffer {
  seccomp_notif notification;
  unsigned char room[512];
};
union ResponseBuffer {
  seccomp_notif_resp response;
  unsigned char room[128];
};

Result<void> CheckSizes() {
  seccomp_notif_sizes sizes{};
  if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0) return FailErrno();
  if (sizes.seccomp_notif < sizeof(seccomp_notif) || sizes.seccomp_notif > sizeof(NotificationBuffer) ||
      sizes.seccomp_notif_resp < sizeof(seccomp_notif_resp) || sizes.seccomp_notif_resp > sizeof(ResponseBuffer)) {
    return Fail(EINVAL);
  }
  return {};
}

Result<int> Donate(int listener, uint64_t id, int host_fd, int guest_fd, uint32_t flags, bool cloexec) {
  seccomp_notif_addfd request{};
  request.id = id;
  request.flags = flags;
  request.srcfd = static_cast<uint32_t>(host_fd);
  request.newfd = (flags & SECCOMP_ADDFD_FLAG_SETFD) ? static_cast<uint32_t>(guest_fd) : 0;
  request.newfd_flags = cloexec ? O_CLOEXEC : 0;
  int number;
  do {
    number = ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &request);
  } while (number < 0 && errno == EINTR);
  if (number < 0) return FailErrno();
  return number;
}

}  // namespace

Result<Listener> Listener::Adopt(UniqueFd fd) {
  USL_TRY_VOID(CheckSizes());
  bool sync =
      ioctl(fd.get(), SECCOMP_IOCTL_NOTIF_SET_FLAGS, static_cast<uint64_t>(SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)) == 0;
  return Listener(std::move(fd), sync);
}

Result<Notification> Listener::Receive() const {
  NotificationBuffer buffer;
  for (;;) {
    std::fill(std::begin(buffer.room), std::end(buffer.room), 0);  // the host insists on it
    if (ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_RECV, &buffer) == 0) break;
    if (errno == EINTR) continue;
    if (errno != ENOENT) return FailErrno();
    // The task died between its call and here, or (Linux 6.11) no task is left at all.
    pollfd state{fd_.get(), 0, 0};
    if (poll(&state, 1, 0) > 0 && (state.revents & POLLHUP)) return Fail(ESHUTDOWN);
  }
  const seccomp_notif& from = buffer.notification;
  Notification notification;
  notification.id = from.id;
  notification.tid = static_cast<pid_t>(from.pid);
  notification.nr = from.data.nr;
  std::copy(std::begin(from.data.args), std::end(from.data.args), notification.args.begin());
  notification.instruction_pointer = from.data.instruction_pointer;
  return notification;
}

Result<void> Listener::Send(uint64_t id, int64_t value, int error, uint32_t flags) const {
  ResponseBuffer buffer{};
  buffer.response.id = id;
  buffer.response.val = value;
  buffer.response.error = error;
  buffer.response.flags = flags;
  while (ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SEND, &buffer) != 0) {
    if (errno != EINTR) return FailErrno();
  }
  return {};
}

Result<void> Listener::Respond(uint64_t id, int64_t value) const {
  return Send(id, value, 0, 0);
}

Result<void> Listener::RespondError(uint64_t id, int error) const {
  return Send(id, 0, -error, 0);
}

Result<void> Listener::Continue(uint64_t id) const {
  return Send(id, 0, 0, static_cast<uint32_t>(SECCOMP_USER_NOTIF_FLAG_CONTINUE));
}

Result<int> Listener::AddFd(uint64_t id, int host_fd, bool cloexec) const {
  return Donate(fd_.get(), id, host_fd, 0, 0, cloexec);
}

Result<int> Listener::AddFdAt(uint64_t id, int host_fd, int guest_fd, bool cloexec) const {
  return Donate(fd_.get(), id, host_fd, guest_fd, SECCOMP_ADDFD_FLAG_SETFD, cloexec);
}

Result<void> Listener::AddFdAndRespond(uint64_t id, int host_fd, bool cloexec) const {
  // Not SECCOMP_ADDFD_FLAG_SEND: if a signal interrupts this thread there, the host forgets the fd but the call is
  // answered with 0. The two steps are one for the guest, as a waiting task only feels fatal signals.
  int number = USL_TRY(AddFd(id, host_fd, cloexec));
  return Respond(id, number);
}

Result<void> Listener::AddFdAndRespond(const Notification& notification, int host_fd, bool cloexec) const {
  int number = USL_TRY(placement_->Run(notification.tid, [&] { return AddFd(notification.id, host_fd, cloexec); }));
  return Respond(notification.id, number);
}

bool Listener::IsValid(uint64_t id) const {
  return ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

}  // namespace usl::platform
