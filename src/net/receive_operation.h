// One message on its way in: received by the kernel, translated, written to guest memory.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "net/control_data.h"
#include "net/message.h"
#include "net/net_service.h"
#include "net/waiting.h"

namespace usl::net {

class ReceiveOperation {
 public:
  // `message` says where things go. With `name_length_at` (recvfrom) only name and data are written; else the msghdr at
  // message.at is completed.
  ReceiveOperation(const kernel::SyscallContext& context, const SocketFacts& facts, MessageHeader message, int flags,
                   platform::GuestAddress name_length_at = {})
      : caller_(context), facts_(facts), message_(std::move(message)), flags_(flags), name_length_at_(name_length_at) {}

  // Receives what is there now; nullopt: it has to wait. Errors as recvmsg(2).
  std::optional<Result<int64_t>> Attempt(int fd, bool may_wait);

 private:
  struct Received;
  Result<Received> ReceiveOnce(int fd, size_t room, std::string& buffer);
  Result<void> WriteData(std::string_view data);
  Result<void> WriteResults(Received& received);
  std::string ShownName(const Received& received) const;
  void WriteControl(Received& received, ControlWriter& writer);
  void DonateRights(Received& received, ControlWriter& writer);

  Caller caller_;
  SocketFacts facts_;
  MessageHeader message_;
  int flags_;
  platform::GuestAddress name_length_at_;
  uint64_t received_ = 0;  // of a stream with MSG_WAITALL
};

}  // namespace usl::net
