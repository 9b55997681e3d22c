// The structures of sendmsg(2) and its family, copied once out of guest memory.
#pragma once

#include <sys/socket.h>

#include <vector>

#include "base/result.h"
#include "net/socket_address.h"
#include "platform/guest_memory.h"

namespace usl::net {

// What a guest's struct msghdr says. Pointers are guest addresses; nothing that they point at has been read but the
// iovecs.
struct MessageHeader {
  platform::GuestAddress at;  // of the struct itself
  platform::GuestAddress name;
  int name_length = 0;
  std::vector<platform::GuestIovec> iovecs;
  uint64_t total = 0;  // bytes that the iovecs name
  platform::GuestAddress control;
  uint64_t control_length = 0;
};

// EFAULT; EMSGSIZE: more than 1024 iovecs; EINVAL: a negative name length.
Result<MessageHeader> ReadMessageHeader(const platform::GuestMemory& memory, platform::GuestAddress from);

// Reads guest memory that iovecs name, from an offset on.
class IovecReader {
 public:
  explicit IovecReader(std::vector<platform::GuestIovec> iovecs) : iovecs_(std::move(iovecs)) {}
  // Up to `size` further bytes; fewer only at the end. EFAULT: nothing could be read (what was readable before it is
  // returned first).
  Result<std::string> Read(const platform::GuestMemory& memory, size_t size);

 private:
  std::vector<platform::GuestIovec> iovecs_;
  size_t index_ = 0;
  uint64_t offset_ = 0;
};

}  // namespace usl::net
