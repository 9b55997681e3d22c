// The process that the user started. It forks the kernel process, keeps the terminal, passes signals on, and sees to it
// that nothing of the instance outlives it.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "base/unique_fd.h"

namespace usl::manager {

// Exit status for USL's own failures, as docker's and env's.
inline constexpr int kOwnFailure = 125;

// The one session of `usl run`.
inline constexpr uint32_t kMainSession = 1;

// What the kernel process writes to its status pipe, one byte each.
inline constexpr char kStatusStarted = 'S';   // the session was handed to init
inline constexpr char kStatusReported = 'R';  // it gave up and has told the user why

// The kernel process's exit status when a guest ended the instance by reboot(2); that of usl is 0 then.
inline constexpr int kHalted = 3;

struct SupervisorInputs {
  pid_t kernel = 0;
  UniqueFd control;            // SOCK_SEQPACKET to the guest's init
  UniqueFd status;             // read end of the kernel's status pipe
  UniqueFd lifeline;           // write end: the kernel process ends everything when it closes
  UniqueFd master;             // of the session's pty; empty = the session has the user's descriptors
  int grace_milliseconds = 0;  // between SIGTERM and SIGKILL for what the session leaves behind
};

// Runs until the instance has ended and all of its processes are gone. BlockSupervisedSignals was called. Returns the
// exit status of the session as a shell would give it (128 + n for signals), or kOwnFailure after telling on standard
// error what happened.
int Supervise(SupervisorInputs inputs);

// 128 + n for a signal, or the status: of a wait status, as a shell gives it.
int ExitStatusOf(int wait_status);
// A line for people: how the kernel process ended, whose wait status this is.
std::string ExplainKernelEnd(int kernel_status, size_t killed);

}  // namespace usl::manager
