// What the supervisor and the guest's init say to each other over their SOCK_SEQPACKET pair.
//
// One packet is one ControlMessage of fixed size. Launch carries four descriptors by SCM_RIGHTS: standard input,
// output, error, and a memfd with the encoded LaunchRequest (an environment may be larger than a packet). Init runs
// inside the sandbox, so the supervisor takes its packets for hostile: whatever is not exactly right is EBADMSG.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace usl::protocol {

// Init finds its end of the pair at this descriptor number.
inline constexpr int kInitControlFd = 0;
// The argument that tells init that all it can signal is its instance: it may end everything at a shutdown.
inline constexpr char kInitOwnsInstance[] = "--instance";

enum class MessageType : uint16_t {
  // To init.
  kLaunch = 1,    // start a session; value: unused
  kSignal = 2,    // value: signal for the foreground of the session
  kShutdown = 3,  // value: milliseconds between SIGTERM and SIGKILL for all that run; init exits when none is left
  // From init.
  kExited = 16,  // the session's first process ended; value: its wait status, waitpid(2)
};

struct ControlMessage {
  MessageType type = MessageType::kExited;
  uint32_t session = 0;  // chosen by the supervisor, never 0 for a session
  int32_t value = 0;
  uint64_t payload_size = 0;  // bytes in the memfd of kLaunch, else 0
};

inline constexpr size_t kControlMessageSize = 24;
using ControlPacket = std::array<std::byte, kControlMessageSize>;

ControlPacket EncodeMessage(const ControlMessage& message);
// EBADMSG: wrong size, magic, version, type, or a value outside the type's range.
Result<ControlMessage> DecodeMessage(std::span<const std::byte> packet);

enum LaunchFlags : uint32_t {
  kLaunchControllingTerminal = 1,  // standard input becomes the controlling terminal of the session
  kLaunchLoginShell = 2,           // argv[0] gets a '-' in front, after the program was looked up
};
inline constexpr uint32_t kAllLaunchFlags = kLaunchControllingTerminal | kLaunchLoginShell;

inline constexpr size_t kMaxLaunchPayload = 8 << 20;  // above ARG_MAX, so that execve itself says E2BIG
inline constexpr size_t kMaxGroups = 65536;           // NGROUPS_MAX

// A session to start: what its first process is before it executes argv[0].
struct LaunchRequest {
  uid_t uid = 0;
  gid_t gid = 0;
  mode_t umask = 022;
  uint32_t flags = 0;  // LaunchFlags
  std::vector<gid_t> groups;
  std::string cwd = "/";
  std::vector<std::string> argv;  // at least one; argv[0] without a slash is searched in env's PATH
  std::vector<std::string> env;   // NAME=VALUE
};

// E2BIG: more than kMaxLaunchPayload; EINVAL: no argv, too many groups, or a string with a NUL inside.
Result<std::vector<std::byte>> EncodeLaunch(const LaunchRequest& request);
// EBADMSG for anything that EncodeLaunch does not produce.
Result<LaunchRequest> DecodeLaunch(std::span<const std::byte> payload);

}  // namespace usl::protocol
