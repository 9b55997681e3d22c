#include "protocol/control.h"

#include <csignal>
#include <cstring>

namespace usl::protocol {
namespace {

constexpr uint32_t kMagic = 0x434C5355;  // "USLC"
constexpr uint16_t kVersion = 1;

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
  switch (message.type) {
    case MessageType::kLaunch:
      return message.session != 0 && message.value == 0 && message.payload_size >= sizeof(WireLaunch) &&
             message.payload_size <= kMaxLaunchPayload;
    case MessageType::kSignal:
      return message.session != 0 && message.value >= 1 && message.value < NSIG && message.payload_size == 0;
    case MessageType::kShutdown: return message.session == 0 && message.value >= 0 && message.payload_size == 0;
    case MessageType::kExited:
      return message.session != 0 && message.value >= 0 && message.value <= 0xFFFF && message.payload_size == 0;
  }
  return false;
}

void AppendBytes(std::vector<std::byte>& out, const void* data, size_t size) {
  const auto* bytes = static_cast<const std::byte*>(data);
  out.insert(out.end(), bytes, bytes + size);
}

// Takes the strings of a payload one after another.
class StringReader {
 public:
  explicit StringReader(std::span<const std::byte> rest) : rest_(rest) {}

  Result<std::string> Next() {
    const void* end = rest_.empty() ? nullptr : memchr(rest_.data(), 0, rest_.size());
    if (!end) return Fail(EBADMSG);
    const auto length = static_cast<size_t>(static_cast<const std::byte*>(end) - rest_.data());
    std::string text(reinterpret_cast<const char*>(rest_.data()), length);
    rest_ = rest_.subspan(length + 1);
    return text;
  }
  bool AtEnd() const { return rest_.empty(); }
  size_t remaining() const { return rest_.size(); }

 private:
  std::span<const std::byte> rest_;
};

}  // namespace

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
  if (request.argv.empty() || request.groups.size() > kMaxGroups || (request.flags & ~kAllLaunchFlags)) {
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
  auto append_string = [&out](const std::string& text) {
    if (text.find('\0') != std::string::npos) return false;
    AppendBytes(out, text.c_str(), text.size() + 1);
    return true;
  };
  if (!append_string(request.cwd)) return Fail(EINVAL);
  for (const auto* list : {&request.argv, &request.env}) {
    for (const std::string& text : *list) {
      if (!append_string(text)) return Fail(EINVAL);
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
  if (wire.argc == 0 || wire.group_count > kMaxGroups || (wire.flags & ~kAllLaunchFlags) || wire.reserved ||
      wire.umask > 0777 || payload.size() < wire.group_count * sizeof(gid_t)) {
    return Fail(EBADMSG);
  }
  LaunchRequest request{.uid = wire.uid, .gid = wire.gid, .umask = wire.umask, .flags = wire.flags};
  request.groups.resize(wire.group_count);
  if (wire.group_count) memcpy(request.groups.data(), payload.data(), wire.group_count * sizeof(gid_t));
  StringReader strings(payload.subspan(wire.group_count * sizeof(gid_t)));
  request.cwd = USL_TRY(strings.Next());
  // Each string has a byte at least: counts beyond that are lies, and must not become allocations.
  if (uint64_t{wire.argc} + wire.envc > strings.remaining()) return Fail(EBADMSG);
  for (uint32_t i = 0; i < wire.argc; ++i) request.argv.push_back(USL_TRY(strings.Next()));
  for (uint32_t i = 0; i < wire.envc; ++i) request.env.push_back(USL_TRY(strings.Next()));
  if (!strings.AtEnd()) return Fail(EBADMSG);
  return request;
}

}  // namespace usl::protocol
