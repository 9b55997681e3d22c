// What a supervisor tells of its instance: asked for by `usl list --running`, `ps`, `stats` and `status`.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace usl::manager {

struct SessionState {
  uint32_t id = 0;
  std::string command;    // its words, joined by spaces; empty = the login shell
  std::string user;       // as it was asked for; empty = the default
  bool terminal = false;  // it has a pty
  bool attached = false;  // a client waits for it
  int64_t started = 0;    // seconds since 1970
};

struct InstanceState {
  std::string key;
  std::string name;    // of the instance or distribution
  std::string rootfs;  // the writable tree; empty: a view of this machine
  pid_t supervisor = 0;
  pid_t kernel = 0;
  int64_t started = 0;            // seconds since 1970
  uint64_t served_calls = 0;      // system calls that the kernel process has answered
  int32_t idle_milliseconds = 0;  // without a session, until it ends; negative: never
  bool stopping = false;
  std::vector<SessionState> sessions;
};

std::string ToJson(const InstanceState& state);
// EBADMSG: not what ToJson makes.
Result<InstanceState> FromJson(const std::string& text);

}  // namespace usl::manager
