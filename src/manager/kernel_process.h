// The child of the supervisor that becomes the USL kernel of the instance.
#pragma once

#include <array>
#include <atomic>
#include <string>

#include "base/unique_fd.h"
#include "manager/change_tree.h"
#include "manager/run_options.h"
#include "platform/runtime_dir.h"

namespace usl::manager {

struct KernelProcessInputs {
  const RunOptions* options = nullptr;
  platform::RuntimeDir* runtime = nullptr;
  ChangeTree* changes = nullptr;  // where a host view's changes go; null with a rootfs
  std::array<int, 3> stdio;       // of the session
  bool terminal = false;          // stdio[0] is a pty of USL's own
  UniqueFd control;               // the supervisor's end, to hand the session over
  UniqueFd init_control;          // init's end
  UniqueFd status;                // write end of the status pipe
  UniqueFd lifeline;              // read end
  // Of an instance that can be joined: to its supervisor, boot plan and terminals. Then there is no first session, and
  // stdio and terminal mean nothing.
  UniqueFd channel;
  std::atomic<uint64_t>* served_calls = nullptr;  // shared with the supervisor
};

// Builds the guest's file tree, starts its init, hands the session over (or the boot plan) and serves calls until no
// guest is left. Ends with _exit: 0, or 125 after a line on standard error.
[[noreturn]] void RunKernelProcess(KernelProcessInputs inputs);

}  // namespace usl::manager
