// One message on its way out: prepared once from guest memory, then tried until the host takes it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/endpoint.h"
#include "net/message.h"
#include "net/waiting.h"

namespace usl::net {

class SendOperation {
 public:
  // Copies name and control data, and of a datagram the data too; checks all of it. `fd` is the caller's duplicate.
  // Errors as sendmsg(2).
  static Result<std::unique_ptr<SendOperation>> Prepare(const kernel::SyscallContext& context, int fd,
                                                        const SocketFacts& facts, const MessageHeader& message,
                                                        int flags);

  // Sends what the host takes now. The number of bytes when all is sent, or less where Linux would stop too; nullopt:
  // it has to wait. A broken stream raises SIGPIPE for the caller unless MSG_NOSIGNAL was given.
  std::optional<Result<int64_t>> Attempt(int fd, bool may_wait);

  // The host tells no one when the destination has room: it is no peer of the socket.
  bool no_event() const { return no_event_; }

 private:
  explicit SendOperation(const kernel::SyscallContext& context, std::vector<platform::GuestIovec> iovecs)
      : caller_(context), source_(std::move(iovecs)) {}
  Result<void> PrepareUnix(const kernel::SyscallContext& context, int fd, const SocketFacts& facts,
                           const SocketAddress& name, std::string_view control);
  Result<void> PrepareInet(const kernel::SyscallContext& context, int fd, const SocketFacts& facts, SocketAddress name,
                           std::string_view control);
  Result<void> AddRights(const kernel::SyscallContext& context, const std::vector<int>& rights);
  Result<void> AddToken(const kernel::SyscallContext& context, const std::optional<ucred>& given);
  ssize_t SendOnce(int fd, std::string_view data, int flags);
  Result<void> Refill();

  Caller caller_;
  IovecReader source_;
  bool stream_ = false;
  bool raise_sigpipe_ = true;
  bool no_event_ = false;
  int flags_ = 0;
  SocketAddress name_;   // length 0 = none
  UniqueFd name_node_;   // what name_ leads through
  std::string control_;  // for the host; without the rights
  std::vector<UniqueFd> rights_;
  std::string data_;
  size_t data_offset_ = 0;
  uint64_t total_ = 0;
  uint64_t sent_ = 0;
};

}  // namespace usl::net
