#include "net/receive.h"

#include <sys/epoll.h>
#include <time.h>

#include <algorithm>
#include <memory>

#include "net/message.h"
#include "net/net_service.h"
#include "net/receive_operation.h"
#include "net/waiting.h"

namespace usl::net {

using kernel::Reply;
using kernel::SyscallContext;
using platform::GuestAddress;

namespace {

// MSG_CMSG_COMPAT: of 32-bit calls only.
constexpr int kCompatFlag = static_cast<int>(0x80000000);
constexpr size_t kMmsghdrSize = 64, kMmsgLengthOffset = 56;
constexpr uint64_t kMaxMessages = 1024;  // UIO_MAXIOV
constexpr uint64_t kMaxTransfer = 0x7ffff000;

// Whether the kernel has to receive in the guest's place. Where it does not, the host receives into the guest's own
// memory: a descriptor or msghdr that is exchanged meanwhile would show the private host name of a socket, which opens
// nothing, or a token, which cannot be sent.
bool NeedsTranslation(NetService& service, int fd, const SocketFacts& facts, bool wants_name) {
  // The sender may be a socket of this instance with another port than the guest thinks.
  if (facts.domain != AF_UNIX) return wants_name && facts.type == SOCK_DGRAM && !service.ports().empty();
  if (wants_name) return true;
  if (service.netlink().Find(facts)) return false;
  auto names = service.names();
  if (names && (*names)->any_takes_credentials()) {
    const NamedSocket* own = (*names)->Local(fd);
    if (own && own->takes_credentials) return true;
  }
  return IntOption(fd, SOL_SOCKET, SO_PASSCRED).value_or(0) != 0;
}

Outcome ToOutcome(std::optional<Result<int64_t>> received) {
  if (!received) return std::nullopt;
  if (!*received) return Fail(received->error());
  return Reply(**received);
}

Result<Reply> ReceiveOne(SyscallContext& context, UniqueFd fd, std::shared_ptr<ReceiveOperation> operation, int flags) {
  const Patience patience = PatienceOf(fd.get(), flags, SO_RCVTIMEO);
  return RunOrPark(context, std::move(fd), patience, Wait{.events = EPOLLIN},
                   [operation, may_wait = patience.may_wait](int socket) {
                     return ToOutcome(operation->Attempt(socket, may_wait));
                   });
}

// The state of one recvmmsg(2).
class ReceiveBatch {
 public:
  ReceiveBatch(const SyscallContext& context, const SocketFacts& facts, bool may_wait,
               std::optional<std::chrono::steady_clock::time_point> deadline)
      : caller_(context),
        facts_(facts),
        messages_(context.AddressArg(1)),
        count_(std::min<uint64_t>(context.UintArg(2), kMaxMessages)),
        flags_(context.IntArg(3)),
        may_wait_(may_wait),
        deadline_(deadline) {}

  Outcome Attempt(int fd) {
    while (received_ < count_) {
      auto done = ReceiveNext(fd);
      if (!done) {
        if (received_ > 0 && !MayWaitOn()) break;
        return std::nullopt;
      }
      if (!*done) {
        if (received_ > 0) break;
        return Fail(done->error());
      }
      ++received_;
    }
    return Reply(static_cast<int64_t>(received_));
  }

 private:
  // With some messages there already.
  bool MayWaitOn() const {
    if (!may_wait_ || (flags_ & MSG_WAITFORONE)) return false;
    return !deadline_ || std::chrono::steady_clock::now() < *deadline_;
  }

  std::optional<Result<void>> ReceiveNext(int fd) {
    const GuestAddress at = messages_ + received_ * kMmsghdrSize;
    SyscallContext context(caller_.kernel, *caller_.task, caller_.notification);
    auto header = ReadMessageHeader(context.memory(), at);
    if (!header) return Fail(header.error());
    ReceiveOperation operation(context, facts_, std::move(*header), flags_ & ~MSG_WAITFORONE);
    auto received = operation.Attempt(fd, false);
    if (!received) return std::nullopt;
    if (!*received) return Fail(received->error());
    return caller_.memory().WriteObject(at + kMmsgLengthOffset, static_cast<uint32_t>(**received));
  }

  Caller caller_;
  SocketFacts facts_;
  GuestAddress messages_;
  uint64_t count_;
  int flags_;
  bool may_wait_;
  std::optional<std::chrono::steady_clock::time_point> deadline_;
  uint64_t received_ = 0;
};

}  // namespace

Result<Reply> ReceiveFrom(SyscallContext& context) {
  UniqueFd fd = USL_TRY(context.DuplicateFd(context.IntArg(0)));
  const SocketFacts facts = USL_TRY(FactsOf(fd.get()));
  NetService& service = NetService::Of(context.kernel());
  const bool wants_name = !context.AddressArg(4).is_null();
  if (!wants_name || !NeedsTranslation(service, fd.get(), facts, wants_name)) return Reply::ContinueByRegisters();
  const int flags = context.IntArg(3) & ~kCompatFlag;
  MessageHeader message;
  message.total = std::min<uint64_t>(context.Arg(2), kMaxTransfer);
  message.iovecs = {{context.AddressArg(1), message.total}};
  message.name = context.AddressArg(4);
  auto operation = std::make_shared<ReceiveOperation>(context, facts, std::move(message), flags, context.AddressArg(5));
  return ReceiveOne(context, std::move(fd), std::move(operation), flags);
}

Result<Reply> ReceiveMessage(SyscallContext& context) {
  UniqueFd fd = USL_TRY(context.DuplicateFd(context.IntArg(0)));
  const SocketFacts facts = USL_TRY(FactsOf(fd.get()));
  NetService& service = NetService::Of(context.kernel());
  if (!NeedsTranslation(service, fd.get(), facts, true)) return Reply::ContinueByRegisters();
  const int flags = context.IntArg(2);
  if (flags & kCompatFlag) return Fail(EINVAL);
  MessageHeader message = USL_TRY(ReadMessageHeader(context.memory(), context.AddressArg(1)));
  if (!NeedsTranslation(service, fd.get(), facts, !message.name.is_null())) return Reply::ContinueByRegisters();
  auto operation = std::make_shared<ReceiveOperation>(context, facts, std::move(message), flags);
  return ReceiveOne(context, std::move(fd), std::move(operation), flags);
}

Result<Reply> ReceiveMessages(SyscallContext& context) {
  UniqueFd fd = USL_TRY(context.DuplicateFd(context.IntArg(0)));
  const SocketFacts facts = USL_TRY(FactsOf(fd.get()));
  if (!NeedsTranslation(NetService::Of(context.kernel()), fd.get(), facts, true)) return Reply::ContinueByRegisters();
  const int flags = context.IntArg(3);
  if (flags & kCompatFlag) return Fail(EINVAL);
  Patience patience = PatienceOf(fd.get(), flags, SO_RCVTIMEO);
  std::optional<std::chrono::steady_clock::time_point> deadline;
  if (!context.AddressArg(4).is_null()) {
    const auto timeout = USL_TRY(context.memory().ReadObject<timespec>(context.AddressArg(4)));
    if (timeout.tv_sec < 0 || timeout.tv_nsec < 0 || timeout.tv_nsec >= 1'000'000'000) return Fail(EINVAL);
    deadline = std::chrono::steady_clock::now() +
               std::chrono::seconds(std::min<int64_t>(timeout.tv_sec, 1'000'000'000)) +
               std::chrono::nanoseconds(timeout.tv_nsec);
  }
  auto batch = std::make_shared<ReceiveBatch>(context, facts, patience.may_wait, deadline);
  // The timeout of the call counts between messages only (recvmmsg(2), BUGS), so it ends no first wait; but a wait for
  // further ones it does.
  if (deadline && !patience.deadline) patience.deadline = deadline;
  return RunOrPark(context, std::move(fd), patience, Wait{.events = EPOLLIN},
                   [batch](int socket) { return batch->Attempt(socket); });
}

}  // namespace usl::net
