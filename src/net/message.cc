#include "net/message.h"

#include <limits.h>

#include <algorithm>

namespace usl::net {

using platform::GuestAddress;
using platform::GuestMemory;

namespace {

// struct user_msghdr of x86-64.
struct GuestMsghdr {
  uint64_t name;
  int32_t name_length;
  uint32_t padding;
  uint64_t iovecs;
  uint64_t iovec_count;
  uint64_t control;
  uint64_t control_length;
  uint32_t flags;
  uint32_t padding2;
};
static_assert(sizeof(GuestMsghdr) == sizeof(msghdr));

}  // namespace

Result<MessageHeader> ReadMessageHeader(const GuestMemory& memory, GuestAddress from) {
  const auto raw = USL_TRY(memory.ReadObject<GuestMsghdr>(from));
  if (raw.name_length < 0) return Fail(EINVAL);
  if (raw.iovec_count > IOV_MAX) return Fail(EMSGSIZE);
  MessageHeader header;
  header.at = from;
  header.name = GuestAddress(raw.name);
  // A null name has no length; a longer one than any address is cut (copy_msghdr_from_user()).
  header.name_length = raw.name == 0 ? 0 : std::min<int>(raw.name_length, sizeof(sockaddr_storage));
  header.iovecs = USL_TRY(memory.ReadIovecs(GuestAddress(raw.iovecs), raw.iovec_count));
  for (const auto& part : header.iovecs) header.total += part.length;
  header.control = GuestAddress(raw.control);
  header.control_length = raw.control == 0 ? 0 : raw.control_length;
  return header;
}

Result<std::string> IovecReader::Read(const GuestMemory& memory, size_t size) {
  std::string bytes;
  while (index_ < iovecs_.size() && bytes.size() < size) {
    const platform::GuestIovec& part = iovecs_[index_];
    if (offset_ == part.length) {
      ++index_;
      offset_ = 0;
      continue;
    }
    const size_t wanted = static_cast<size_t>(std::min<uint64_t>(part.length - offset_, size - bytes.size()));
    const size_t old = bytes.size();
    bytes.resize(old + wanted);
    if (auto read = memory.Read(part.base + offset_, bytes.data() + old, wanted); !read) {
      bytes.resize(old);
      if (old == 0) return Fail(read.error());
      break;
    }
    offset_ += wanted;
  }
  return bytes;
}

}  // namespace usl::net
