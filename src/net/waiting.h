// Calls on sockets that may have to wait: tried once without waiting, then parked.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "kernel/kernel.h"
#include "kernel/parking.h"

namespace usl::net {

// The answer, or nullopt: it would have to wait.
using Outcome = std::optional<Result<kernel::Reply>>;

// Whether and how long a call on a socket waits: O_NONBLOCK, MSG_DONTWAIT in `message_flags`, SO_RCVTIMEO or
// SO_SNDTIMEO
// (`timeout_option`).
struct Patience {
  bool may_wait = true;
  std::optional<std::chrono::steady_clock::time_point> deadline;
};
Patience PatienceOf(int fd, int message_flags, int timeout_option);

struct Wait {
  uint32_t events = 0;             // EPOLLIN or EPOLLOUT of the socket
  bool no_event = false;           // the host tells no one when it can go on: it is tried again every few milliseconds
  int would_block_error = EAGAIN;  // when it must not wait
  int timeout_error = EAGAIN;
  std::function<bool()> use_timer;  // asked after the first try, in place of no_event
};

// Serves a call by `attempt(fd)`, which is tried now and again whenever the socket is ready. A signal ends the wait
// with EINTR, or restarts the call when there is no timeout (signal(7)).
Result<kernel::Reply> RunOrPark(kernel::SyscallContext& context, UniqueFd fd, const Patience& patience, Wait wait,
                                std::function<Outcome(int)> attempt);

// Who made a call, for attempts that run after its handler has returned.
struct Caller {
  explicit Caller(const kernel::SyscallContext& context)
      : kernel(context.kernel()), task(&context.task()), notification(context.notification()) {}
  platform::GuestMemory memory() const;

  kernel::Kernel& kernel;
  Ref<kernel::Task> task;
  platform::Notification notification;
};

// Makes the description non-blocking while it exists, where it is not. Siblings that share it could see that for some
// microseconds; connect(2) and accept(2) have no flag of their own.
class NonblockingScope {
 public:
  explicit NonblockingScope(int fd);
  ~NonblockingScope();
  NonblockingScope(const NonblockingScope&) = delete;
  NonblockingScope& operator=(const NonblockingScope&) = delete;

 private:
  int fd_;
  int flags_;
};

}  // namespace usl::net
