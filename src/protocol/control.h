// What the supervisor, the guest's init, the kernel process and the clients of an instance say to each other over
// SOCK_SEQPACKET sockets.
//
// One packet is one ControlMessage of fixed size. What does not fit is a payload in a memfd that comes along by
// SCM_RIGHTS (an environment may be larger than a packet): the last descriptor of its message. Init runs inside the
// sandbox, so the supervisor takes its packets for hostile: whatever is not exactly right is EBADMSG.
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
  // To init, and from a client to the supervisor.
  kLaunch = 1,    // start a session; descriptors: its standard ones, and a LaunchRequest
  kSignal = 2,    // value: signal for the foreground of the session
  kShutdown = 3,  // value: milliseconds between SIGTERM and SIGKILL for all that run; init exits when none is left
  // From the kernel process by the supervisor to init, once and first.
  kBoot = 4,  // descriptor: a BootPlan
  // From a client to the supervisor.
  kAskState = 8,   // answered by kState
  kEndIfIdle = 9,  // value as for kShutdown: only if nobody uses the instance. Answered by kAccepted, or kIdle with 0
  kKeep = 10,      // the instance does not end for want of sessions any more. Answered by kAccepted or kStopping
  // From init, and from the supervisor to a client.
  kExited = 16,  // the session's first process ended; value: its wait status, waitpid(2)
  // From init.
  kIdle = 17,  // value 1: no process but init is left; 0: there are some again
  // From the supervisor to a client.
  kAccepted = 32,  // the request was taken: from now on a closed connection is a failure and not a "not here"
  kFailed = 33,    // descriptor: a line for people, why the instance is no more
  kState = 34,     // descriptor: JSON, manager/instance_state.h
  kStopping = 35,  // the request was not taken: the instance is ending
  // Between the supervisor and the kernel process.
  kAddTerminal = 48,    // descriptor: a terminal that the session will have; answered by kTerminalAdded
  kTerminalAdded = 49,  // it has a name in the guest now, or cannot have one
};

// How many descriptors a message of the type carries, and whether the last of them is a payload.
size_t DescriptorsOf(MessageType type);
bool HasPayload(MessageType type);

struct ControlMessage {
  MessageType type = MessageType::kExited;
  uint32_t session = 0;  // chosen by the supervisor, never 0 for a session
  int32_t value = 0;
  uint64_t payload_size = 0;  // bytes in the memfd where the type has a payload, else 0
};

inline constexpr size_t kControlMessageSize = 24;
using ControlPacket = std::array<std::byte, kControlMessageSize>;

ControlPacket EncodeMessage(const ControlMessage& message);
// EBADMSG: wrong size, magic, version, type, or a value outside the type's range.
Result<ControlMessage> DecodeMessage(std::span<const std::byte> packet);

enum LaunchFlags : uint32_t {
  kLaunchControllingTerminal = 1,  // standard input becomes the controlling terminal of the session
  kLaunchLoginShell = 2,           // argv[0] gets a '-' in front, after the program was looked up
  // Init finds `user` in the guest's /etc/passwd and /etc/group: ids, groups, the environment's part that is the
  // account's, and, with an empty `cwd`, the home as the directory.
  kLaunchFindUser = 4,
  // With kLaunchFindUser: the program is the user's shell. It gets "-c" and the words of argv, joined by spaces, or
  // nothing where argv is empty.
  kLaunchUserShell = 8,
  // `cwd` is a wish, the home does otherwise. To the supervisor it is a host directory, to be replaced by what the
  // guest calls it.
  kLaunchHostDirectory = 16,
  // To the supervisor only: the session goes on without its client, and prints to the instance's log.
  kLaunchDetached = 32,
};
inline constexpr uint32_t kAllLaunchFlags = 63;

inline constexpr size_t kMaxLaunchPayload = 8 << 20;  // above ARG_MAX, so that execve itself says E2BIG
inline constexpr size_t kMaxGroups = 65536;           // NGROUPS_MAX

// A session to start: what its first process is before it executes argv[0].
struct LaunchRequest {
  uid_t uid = 0;
  gid_t gid = 0;
  mode_t umask = 022;
  uint32_t flags = 0;  // LaunchFlags
  std::vector<gid_t> groups;
  std::string user;  // NAME|UID[:GROUP|GID]; empty = the boot plan's
  std::string cwd = "/";
  std::vector<std::string>
      argv;                      // at least one, but with kLaunchUserShell; argv[0] without a slash is searched in PATH
  std::vector<std::string> env;  // NAME=VALUE
};

// E2BIG: more than kMaxLaunchPayload; EINVAL: no argv, too many groups, or a string with a NUL inside.
Result<std::vector<std::byte>> EncodeLaunch(const LaunchRequest& request);
// EBADMSG for anything that EncodeLaunch does not produce.
Result<LaunchRequest> DecodeLaunch(std::span<const std::byte> payload);

}  // namespace usl::protocol
