// Served calls that must wait (a FIFO's other end, connect, a full socket). They never occupy the receiver: the call is
// parked, and answered by the event loop when its condition holds, when a signal arrives (ERESTARTSYS, as Linux), when
// its time is up, or when its task dies.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

#include "base/result.h"
#include "base/unique_fd.h"
#include "kernel/syscall_context.h"

namespace usl::kernel {

struct ParkRequest {
  // A host fd to poll, or empty when only Wake() tells. The park owns it; it must be no duplicate of a guest's pipe or
  // stream whose end-of-file somebody waits for, longer than the call itself lasts.
  UniqueFd fd;
  uint32_t events = 0;  // EPOLLIN, EPOLLOUT
  // Tried at each event, with the kernel lock held: the answer, or nullopt to wait on. Not called before Park returns;
  // whoever parks has tried once already. `fd` is the parked one.
  std::function<std::optional<Result<Reply>>(int fd)> attempt;
  // When it ends unanswered: `timeout_error` is given (EAGAIN for SO_RCVTIMEO, ETIMEDOUT, ...).
  std::optional<std::chrono::steady_clock::time_point> deadline;
  int timeout_error = EAGAIN;
  // What a signal makes of it: kERESTARTSYS (restarted under SA_RESTART) or EINTR.
  int interrupted_error = kERESTARTSYS;
  // Wake(key) tries the calls parked under this key; 0 = none.
  uint64_t key = 0;
};

}  // namespace usl::kernel
