#include "protocol/control.h"

#include <csignal>
#include <cstring>

#include "protocol/strings.h"

namespace usl::protocol {
namespace {

constexpr uint32_t kMagic = 0x434C5355;  // "USLC"
constexpr uint16_t kVersion = 2;

struct WireMessage {
  uint32_t magic;
  uint16_t version;
  uint16_t type;
  uint32_t session;
  int32_t value;
  uint64_t payload_size;
};
static_assert(sizeof(WireMessage) == kControlMessageSize);

struct WireLaunch {
  uint32_t uid, gid, umask, flags;
  uint32_t group_count, argc, envc, reserved;
};
static_assert(sizeof(WireLaunch) == 32);

bool IsInRange(const ControlMessage& message) {
  const bool session = message.session != 0;
  if (HasPayload(message.type) ? message.payload_size > kMaxLaunchPayload : message.payload_size != 0) return false;
  switch (message.type) {
    case MessageType::kLaunch: return session && message.value == 0 && message.payload_size >= sizeof(WireLaunch);
    case MessageType::kSignal: return session && message.value >= 1 && message.value < NSIG;
    case MessageType::kShutdown:
    case MessageType::kEndIfIdle: return !session && message.value >= 0;
    case MessageType::kExited: return session && message.value >= 0 && message.value <= 0xFFFF;
    case MessageType::kIdle: return !session && (message.value == 0 || message.value == 1);
    case MessageType::kBoot:
    case MessageType::kKeep:
    case MessageType::kAskState:
    case MessageType::kAccepted:
    case MessageType::kFailed:
    case MessageType::kStopping:
    case MessageType::kState: return !session && message.value == 0;
    case MessageType::kAddTerminal:
    case MessageType::kTerminalAdded: return session && message.value == 0;
  }
  return false;
}

bool AllowsArguments(size_t count, uint32_t flags) {
  if (flags & kLaunchUserShell) return (flags & kLaunchFindUser) != 0;
  return count > 0;
}

}  // namespace

bool HasPayload(MessageType type) {
  return type == MessageType::kLaunch || type == MessageType::kBoot || type == MessageType::kFailed ||
         type == MessageType::kState;
}

size_t DescriptorsOf(MessageType type) {
  if (type == MessageType::kLaunch) return 4;
  return HasPayload(type) || type == MessageType::kAddTerminal ? 1 : 0;
}

ControlPacket EncodeMessage(const ControlMessage& message) {
  const WireMessage wire{kMagic,          kVersion,      static_cast<uint16_t>(message.type),
                         message.session, message.value, message.payload_size};
  ControlPacket packet;
  memcpy(packet.data(), &wire, sizeof wire);
  return packet;
}

Result<ControlMessage> DecodeMessage(std::span<const std::byte> packet) {
  WireMessage wire;
  if (packet.size() != sizeof wire) return Fail(EBADMSG);
  memcpy(&wire, packet.data(), sizeof wire);
  if (wire.magic != kMagic || wire.version != kVersion) return Fail(EBADMSG);
  const ControlMessage message{static_cast<MessageType>(wire.type), wire.session, wire.value, wire.payload_size};
  if (!IsInRange(message)) return Fail(EBADMSG);
  return message;
}

Result<std::vector<std::byte>> EncodeLaunch(const LaunchRequest& request) {
  if (!AllowsArguments(request.argv.size(), request.flags) || request.groups.size() > kMaxGroups ||
      (request.flags & ~kAllLaunchFlags)) {
    return Fail(EINVAL);
  }
  const WireLaunch wire{request.uid,
                        request.gid,
                        request.umask,
                        request.flags,
                        static_cast<uint32_t>(request.groups.size()),
                        static_cast<uint32_t>(request.argv.size()),
                        static_cast<uint32_t>(request.env.size()),
                        0};
  std::vector<std::byte> out;
  AppendBytes(out, &wire, sizeof wire);
  AppendBytes(out, request.groups.data(), request.groups.size() * sizeof(gid_t));
  if (!AppendString(out, request.user) || !AppendString(out, request.cwd)) return Fail(EINVAL);
  for (const auto* list : {&request.argv, &request.env}) {
    for (const std::string& text : *list) {
      if (!AppendString(out, text)) return Fail(EINVAL);
      if (out.size() > kMaxLaunchPayload) return Fail(E2BIG);
    }
  }
  return out;
}

Result<LaunchRequest> DecodeLaunch(std::span<const std::byte> payload) {
  WireLaunch wire;
  if (payload.size() < sizeof wire || payload.size() > kMaxLaunchPayload) return Fail(EBADMSG);
  memcpy(&wire, payload.data(), sizeof wire);
  payload = payload.subspan(sizeof wire);
  if (!AllowsArguments(wire.argc, wire.flags) || wire.group_count > kMaxGroups || (wire.flags & ~kAllLaunchFlags) ||
      wire.reserved || wire.umask > 0777 || payload.size() < wire.group_count * sizeof(gid_t)) {
    return Fail(EBADMSG);
  }
  LaunchRequest request{.uid = wire.uid, .gid = wire.gid, .umask = wire.umask, .flags = wire.flags};
  request.groups.resize(wire.group_count);
  if (wire.group_count) memcpy(request.groups.data(), payload.data(), wire.group_count * sizeof(gid_t));
  StringReader strings(payload.subspan(wire.group_count * sizeof(gid_t)));
  request.user = USL_TRY(strings.Next());
  request.cwd = USL_TRY(strings.Next());
  // Each string has a byte at least: counts beyond that are lies, and must not become allocations.
  if (uint64_t{wire.argc} + wire.envc > strings.remaining()) return Fail(EBADMSG);
  for (uint32_t i = 0; i < wire.argc; ++i) request.argv.push_back(USL_TRY(strings.Next()));
  for (uint32_t i = 0; i < wire.envc; ++i) request.env.push_back(USL_TRY(strings.Next()));
  if (!strings.AtEnd()) return Fail(EBADMSG);
  return request;
}

}  // namespace usl::protocol
