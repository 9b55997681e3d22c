// The supervisor of an instance that can be joined: it listens on the control socket, hands sessions to the guest's
// init, and decides when the instance ends.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "manager/instance_log.h"
#include "manager/instance_place.h"
#include "manager/path_map.h"

namespace usl::manager {

// Shared memory of supervisor and kernel process.
struct InstanceCounters {
  std::atomic<uint64_t> served_calls{0};
};

struct ServerInputs {
  const InstancePlace* place = nullptr;
  InstanceLog* log = nullptr;
  const InstanceCounters* counters = nullptr;
  std::string name;
  std::string rootfs;
  PathMap paths;  // for the directories that clients stand in
  pid_t kernel = 0;
  UniqueFd control;            // SOCK_SEQPACKET to the guest's init
  UniqueFd status;             // read end of the kernel's status pipe
  UniqueFd lifeline;           // write end: the kernel process ends everything when it closes
  UniqueFd channel;            // SOCK_SEQPACKET to the kernel process: boot plan, terminals
  UniqueFd output;             // read end of the pipe that is the kernel's and init's standard error
  UniqueFd output_write;       // its write end, for detached sessions
  UniqueFd ready;              // gets one byte when clients can connect; closed without one: the start failed
  int grace_milliseconds = 0;  // between SIGTERM and SIGKILL when nobody says otherwise
  std::optional<int32_t> idle_milliseconds;  // instead of the boot plan's
};

// Runs until the instance has ended and all of its processes are gone. The calling process
// is the kernel process's parent, a subreaper, has no terminal, and its standard error is the log.
void ServeInstance(ServerInputs inputs);

}  // namespace usl::manager
