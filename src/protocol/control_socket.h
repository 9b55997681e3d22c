// Carrying ControlMessages over a SOCK_SEQPACKET socket, with descriptors where a message has them.
#pragma once

#include <span>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "protocol/control.h"

namespace usl::protocol {

struct ReceivedMessage {
  ControlMessage message;
  std::vector<UniqueFd> fds;  // close-on-exec
};

// The most that a message carries.
inline constexpr size_t kMaxDescriptors = 4;

// A sealed memfd with the bytes: a payload. memfd_create(2), ENOSPC.
Result<UniqueFd> MakePayload(std::span<const std::byte> bytes);
// The payload of a message that was received: its last descriptor. EBADMSG: the memfd is shorter than the message says.
Result<std::vector<std::byte>> ReadPayload(const ReceivedMessage& received);
// Sends a message whose one descriptor is its payload.
Result<void> SendPayload(int socket, ControlMessage message, std::span<const std::byte> bytes);

// Sends one packet. Without descriptors it is a plain write(2), which is native inside the sandbox. EPIPE: the peer is
// gone (no SIGPIPE is raised with descriptors; ignore it otherwise); EAGAIN on a non-blocking socket.
Result<void> SendControl(int socket, const ControlMessage& message, std::span<const int> fds = {});
// Receives one packet. ECONNRESET: the peer closed; EBADMSG: not a valid packet, or the wrong number of descriptors for
// its type; EAGAIN.
Result<ReceivedMessage> ReceiveControl(int socket);

}  // namespace usl::protocol
