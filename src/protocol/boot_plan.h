// What a distribution's configuration wants of its init and of its instance: read from the guest's tree by the kernel
// process, passed to the supervisor and on to init by the message kBoot.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace usl::protocol {

// When a service that ended is started again.
enum class Restart : uint8_t { kNever, kOnFailure, kAlways };

// A program that init keeps running.
struct Service {
  std::string name;     // of its log below /var/log/usl: letters, digits, '.', '_', '-', '@'; not starting with '.'
  std::string command;  // for /bin/sh -c
  std::string user;     // NAME|UID[:GROUP|GID]; empty = root
  Restart restart = Restart::kNever;
  friend bool operator==(const Service&, const Service&) = default;
};

struct BootPlan {
  std::string command;               // boot.command: run once by root's /bin/sh before the services; empty = none
  std::vector<std::string> scripts;  // of /etc/init.d: started in this order, stopped in the reverse one
  std::vector<Service> services;     // after the scripts, likewise
  std::string default_user;          // of sessions that name none; empty = root
  uint32_t umask = 022;              // of sessions
  // Milliseconds without a session after which the instance ends; negative: never.
  int32_t idle_milliseconds = 15'000;
  bool keep_alive = false;  // processes that sessions left behind keep it alive too
  friend bool operator==(const BootPlan&, const BootPlan&) = default;
};

inline constexpr size_t kMaxServices = 1024;

// Letters, digits, '.', '_', '-', '@', at most 64, not starting with a dot: what may be part of a path.
bool IsServiceName(const std::string& name);

// EINVAL: too many services, a name that is none, or a string with a NUL inside; E2BIG.
Result<std::vector<std::byte>> EncodeBootPlan(const BootPlan& plan);
// EBADMSG for anything that EncodeBootPlan does not produce.
Result<BootPlan> DecodeBootPlan(std::span<const std::byte> payload);

}  // namespace usl::protocol
