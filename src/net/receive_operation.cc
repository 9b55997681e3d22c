#include "net/receive_operation.h"

#include <poll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>

#include "net/endpoint.h"
#include "platform/exec_redirect.h"

#ifndef SCM_SECURITY
#define SCM_SECURITY 0x03
#endif
#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

namespace usl::net {

namespace {

constexpr size_t kChunk = 64 * 1024;
// A sender that keeps up must not make one call hold the kernel: behind this the call waits its turn.
constexpr uint64_t kTurn = 1 << 20;
constexpr size_t kNativeControl = 8 * 1024;  // 253 descriptors, credentials, times

// The iovecs without their first `skip` bytes.
std::vector<platform::GuestIovec> Skip(const std::vector<platform::GuestIovec>& iovecs, uint64_t skip) {
  std::vector<platform::GuestIovec> rest;
  for (const platform::GuestIovec& part : iovecs) {
    const uint64_t skipped = std::min(skip, part.length);
    skip -= skipped;
    if (skipped < part.length) rest.push_back({part.base + skipped, part.length - skipped});
  }
  return rest;
}

// Of a datagram socket that will receive no more only a call that may wait says so, by 0 (recvmsg(2) of Linux).
bool IsShutDown(int fd) {
  pollfd state{.fd = fd, .events = POLLRDHUP, .revents = 0};
  return poll(&state, 1, 0) == 1 && (state.revents & POLLRDHUP);
}

}  // namespace

struct ReceiveOperation::Received {
  int64_t size = 0;  // what recvmsg(2) returned
  int flags = 0;
  SocketAddress name;
  std::vector<UniqueFd> rights;
  std::optional<ucred> credentials;  // the host's
  std::optional<Identity> token;
  std::vector<ControlItem> others;
};

Result<ReceiveOperation::Received> ReceiveOperation::ReceiveOnce(int fd, size_t room, std::string& buffer) {
  buffer.resize(room);
  iovec part{.iov_base = buffer.data(), .iov_len = buffer.size()};
  std::string control(kNativeControl, '\0');
  Received received;
  msghdr message{};
  message.msg_name = received.name.raw();
  message.msg_namelen = kMaxAddress;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  received.size = recvmsg(fd, &message, (flags_ & ~MSG_WAITALL) | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (received.size < 0) return FailErrno();
  received.flags = message.msg_flags;
  received.name.length = std::min<socklen_t>(message.msg_namelen, kMaxAddress);
  control.resize(message.msg_controllen);
  for (ControlItem& item : USL_TRY(ParseControl(control))) {
    if (item.level == SOL_SOCKET && (item.type == SCM_RIGHTS || item.type == SCM_PIDFD)) {
      for (size_t i = 0; i + sizeof(int) <= item.data.size(); i += sizeof(int)) {
        int number;
        memcpy(&number, item.data.data() + i, sizeof number);
        UniqueFd right(number);
        if (item.type == SCM_RIGHTS) received.rights.push_back(std::move(right));
      }
    } else if (item.level == SOL_SOCKET && item.type == SCM_CREDENTIALS && item.data.size() == sizeof(ucred)) {
      received.credentials.emplace();
      memcpy(&*received.credentials, item.data.data(), sizeof(ucred));
    } else if (item.level != SOL_SOCKET || item.type != SCM_SECURITY) {
      received.others.push_back(std::move(item));
    }
  }
  if (!received.rights.empty()) {
    received.token = NetService::Of(caller_.kernel).tokens().Find(received.rights.back().get());
    if (received.token) received.rights.pop_back();
  }
  return received;
}

Result<void> ReceiveOperation::WriteData(std::string_view data) {
  if (data.empty()) return {};
  const size_t stored =
      USL_TRY(caller_.memory().WriteIovecs(Skip(message_.iovecs, received_), data.data(), data.size()));
  if (stored != data.size()) return Fail(EFAULT);
  return {};
}

std::string ReceiveOperation::ShownName(const Received& received) const {
  NetService& service = NetService::Of(caller_.kernel);
  if (service.netlink().Find(facts_)) return NetlinkSocket::SenderName();
  if (facts_.domain != AF_UNIX) {
    SocketAddress name = received.name;
    service.ports().ToGuest(facts_.type, name);
    return std::string(name.text());
  }
  auto names = service.names();
  if (!names) return {};
  const NamedSocket* sender = (*names)->ByNativeAddress(received.name.bytes.data(), received.name.length);
  // An unnamed sender has no address at all, not even a family.
  return sender && !sender->name.IsUnnamed() ? sender->name.Address() : std::string();
}

void ReceiveOperation::DonateRights(Received& received, ControlWriter& writer) {
  if (received.rights.empty()) return;
  const size_t room = std::min(received.rights.size(), writer.RoomForRights());
  std::string numbers;
  for (size_t i = 0; i < room; ++i) {
    auto number = caller_.kernel.listener().AddFd(caller_.notification.id, received.rights[i].get(),
                                                  (flags_ & MSG_CMSG_CLOEXEC) != 0);
    if (!number) break;
    numbers.append(reinterpret_cast<const char*>(&*number), sizeof(int));
  }
  if (numbers.size() < received.rights.size() * sizeof(int)) writer.SetTruncated();
  if (!numbers.empty()) writer.Add(SOL_SOCKET, SCM_RIGHTS, numbers);
}

void ReceiveOperation::WriteControl(Received& received, ControlWriter& writer) {
  for (const ControlItem& item : received.others) {
    writer.Add(item.level, item.type, item.data);
  }
  if (received.credentials) {
    NetService& service = NetService::Of(caller_.kernel);
    Identity sender = kNobody;
    if (received.credentials->pid == getpid()) {
      sender = received.token.value_or(kNobody);
    } else if (received.credentials->pid != 0) {
      sender = service.processes().Find(received.credentials->pid).RealIds();
    }
    const ucred shown{ShownPid(caller_.kernel, caller_.task->process(), sender.pid), sender.uid, sender.gid};
    writer.Add(SOL_SOCKET, SCM_CREDENTIALS, {reinterpret_cast<const char*>(&shown), sizeof shown});
  }
  DonateRights(received, writer);
}

Result<void> ReceiveOperation::WriteResults(Received& received) {
  const platform::GuestMemory memory = caller_.memory();
  const std::string name = ShownName(received);
  if (!name_length_at_.is_null() || message_.at.is_null()) {
    if (message_.name.is_null()) return {};
    return WriteAddress(memory, message_.name, name_length_at_, name);
  }
  ControlWriter writer(static_cast<size_t>(std::min<uint64_t>(message_.control_length, kMaxControl)));
  WriteControl(received, writer);
  if (!writer.bytes().empty())
    USL_TRY_VOID(memory.Write(message_.control, writer.bytes().data(), writer.bytes().size()));
  if (!message_.name.is_null()) {
    const size_t stored = std::min(name.size(), static_cast<size_t>(message_.name_length));
    if (stored > 0) USL_TRY_VOID(memory.Write(message_.name, name.data(), stored));
    USL_TRY_VOID(memory.WriteObject(message_.at + offsetof(msghdr, msg_namelen), static_cast<uint32_t>(name.size())));
  }
  int flags = received.flags & ~(MSG_CTRUNC | MSG_CMSG_CLOEXEC);
  if (writer.truncated()) flags |= MSG_CTRUNC;
  flags |= flags_ & MSG_CMSG_CLOEXEC;
  const uint64_t used = writer.bytes().size();
  USL_TRY_VOID(memory.WriteObject(message_.at + offsetof(msghdr, msg_flags), flags));
  return memory.WriteObject(message_.at + offsetof(msghdr, msg_controllen), used);
}

std::optional<Result<int64_t>> ReceiveOperation::Attempt(int fd, bool may_wait) {
  const bool wait_for_all = facts_.type == SOCK_STREAM && (flags_ & MSG_WAITALL) && !(flags_ & MSG_PEEK);
  const uint64_t turn_end = received_ + kTurn;
  std::string buffer;
  while (true) {
    if (wait_for_all && received_ >= turn_end) {
      if (may_wait) return std::nullopt;
      return static_cast<int64_t>(received_);
    }
    // Not more than there is: a guest may offer gigabytes.
    int available = 0;
    if (ioctl(fd, FIONREAD, &available) < 0) available = 0;
    const uint64_t wanted = message_.total - received_;
    const auto room = std::min<uint64_t>(wanted, std::max<uint64_t>(kChunk, static_cast<uint64_t>(available)));
    auto received = ReceiveOnce(fd, room, buffer);
    if (!received) {
      const int error = received.error().code();
      const bool stop =
          received_ > 0 && (error != EAGAIN || !may_wait || platform::HasPendingSignal(caller_.task->tid()));
      if (stop) return static_cast<int64_t>(received_);
      if (error == EAGAIN && may_wait && facts_.type == SOCK_DGRAM && IsShutDown(fd)) return int64_t{0};
      if (error == EAGAIN) return std::nullopt;
      return Fail(error);
    }
    const size_t stored = std::min<size_t>(static_cast<size_t>(received->size), room);
    if (auto written = WriteData({buffer.data(), stored}); !written) return Fail(written.error());
    received_ += static_cast<uint64_t>(received->size);
    const bool more = wait_for_all && received->size > 0 && received_ < message_.total && received->rights.empty();
    if (more) continue;
    if (auto written = WriteResults(*received); !written) return Fail(written.error());
    return static_cast<int64_t>(received_);
  }
}

}  // namespace usl::net
