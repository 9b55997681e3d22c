#include "net/send.h"

#include <limits.h>
#include <sys/epoll.h>

#include <memory>

#include "net/message.h"
#include "net/net_service.h"
#include "net/send_operation.h"
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

// A datagram to the kernel itself.
Result<int64_t> SendNetlink(const SyscallContext& context, NetlinkSocket& socket, const MessageHeader& message) {
  SocketAddress to;
  if (message.name_length > 0) to = USL_TRY(ReadAddress(context.memory(), message.name, message.name_length));
  if (message.total > (1 << 16)) return Fail(EMSGSIZE);
  const std::string data = USL_TRY(IovecReader(message.iovecs).Read(context.memory(), message.total));
  if (data.size() != message.total) return Fail(EFAULT);
  USL_TRY_VOID(socket.Send(data, to, context.process().pid()));
  return static_cast<int64_t>(data.size());
}

Outcome ToOutcome(std::optional<Result<int64_t>> sent) {
  if (!sent) return std::nullopt;
  if (!*sent) return Fail(sent->error());
  return Reply(**sent);
}

Result<Reply> SendOne(SyscallContext& context, UniqueFd fd, const MessageHeader& message, int flags) {
  if (flags & kCompatFlag) return Fail(EINVAL);
  const SocketFacts facts = USL_TRY(FactsOf(fd.get()));
  NetService& service = NetService::Of(context.kernel());
  if (NetlinkSocket* netlink = service.netlink().Find(facts))
    return Reply(USL_TRY(SendNetlink(context, *netlink, message)));
  std::shared_ptr<SendOperation> operation = USL_TRY(SendOperation::Prepare(context, fd.get(), facts, message, flags));
  const Patience patience = PatienceOf(fd.get(), flags, SO_SNDTIMEO);
  const Wait wait{.events = EPOLLOUT, .no_event = operation->no_event()};
  return RunOrPark(context, std::move(fd), patience, wait, [operation, may_wait = patience.may_wait](int socket) {
    return ToOutcome(operation->Attempt(socket, may_wait));
  });
}

// The state of one sendmmsg(2).
class SendBatch {
 public:
  SendBatch(const SyscallContext& context, const SocketFacts& facts, bool may_wait)
      : caller_(context),
        facts_(facts),
        messages_(context.AddressArg(1)),
        count_(std::min<uint64_t>(context.UintArg(2), kMaxMessages)),
        flags_(context.IntArg(3)),
        may_wait_(may_wait) {}

  Outcome Attempt(int fd) {
    while (sent_ < count_) {
      auto done = SendNext(fd);
      if (!done && sent_ > 0 && !may_wait_) break;
      if (!done) return std::nullopt;
      if (!*done) {
        if (sent_ > 0) break;
        return Fail(done->error());
      }
      ++sent_;
    }
    return Reply(static_cast<int64_t>(sent_));
  }
  bool no_event() const { return operation_ && operation_->no_event(); }

 private:
  std::optional<Result<void>> SendNext(int fd) {
    const GuestAddress at = messages_ + sent_ * kMmsghdrSize;
    std::optional<Result<int64_t>> sent;
    if (!operation_) {
      SyscallContext context(caller_.kernel, *caller_.task, caller_.notification);
      auto header = ReadMessageHeader(context.memory(), at);
      if (!header) return Fail(header.error());
      if (NetlinkSocket* netlink = NetService::Of(caller_.kernel).netlink().Find(facts_)) {
        sent = SendNetlink(context, *netlink, *header);
      } else {
        auto prepared = SendOperation::Prepare(context, fd, facts_, *header, flags_);
        if (!prepared) return Fail(prepared.error());
        operation_ = std::move(*prepared);
      }
    }
    if (operation_) sent = operation_->Attempt(fd, may_wait_);
    if (!sent) return std::nullopt;
    operation_.reset();
    if (!*sent) return Fail(sent->error());
    return caller_.memory().WriteObject(at + kMmsgLengthOffset, static_cast<uint32_t>(**sent));
  }

  Caller caller_;
  SocketFacts facts_;
  GuestAddress messages_;
  uint64_t count_;
  int flags_;
  bool may_wait_;
  uint64_t sent_ = 0;
  std::unique_ptr<SendOperation> operation_;  // of the message that is being sent
};

}  // namespace

Result<Reply> SendTo(SyscallContext& context) {
  UniqueFd fd = USL_TRY(context.DuplicateFd(context.IntArg(0)));
  MessageHeader message;
  message.total = std::min<uint64_t>(context.Arg(2), kMaxTransfer);
  message.iovecs = {{context.AddressArg(1), message.total}};
  message.name = context.AddressArg(4);
  message.name_length = message.name.is_null() ? 0 : context.IntArg(5);
  if (message.name_length < 0) return Fail(EINVAL);
  return SendOne(context, std::move(fd), message, context.IntArg(3) & ~kCompatFlag);
}

Result<Reply> SendMessage(SyscallContext& context) {
  UniqueFd fd = USL_TRY(context.DuplicateFd(context.IntArg(0)));
  USL_TRY(FactsOf(fd.get()));
  const MessageHeader message = USL_TRY(ReadMessageHeader(context.memory(), context.AddressArg(1)));
  return SendOne(context, std::move(fd), message, context.IntArg(2));
}

Result<Reply> SendMessages(SyscallContext& context) {
  const int flags = context.IntArg(3);
  if (flags & kCompatFlag) return Fail(EINVAL);
  UniqueFd fd = USL_TRY(context.DuplicateFd(context.IntArg(0)));
  const SocketFacts facts = USL_TRY(FactsOf(fd.get()));
  const Patience patience = PatienceOf(fd.get(), flags, SO_SNDTIMEO);
  auto batch = std::make_shared<SendBatch>(context, facts, patience.may_wait);
  const Wait wait{.events = EPOLLOUT, .use_timer = [batch] { return batch->no_event(); }};
  return RunOrPark(context, std::move(fd), patience, wait, [batch](int socket) { return batch->Attempt(socket); });
}

}  // namespace usl::net
