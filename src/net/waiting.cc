#include "net/waiting.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include <algorithm>

namespace usl::net {
namespace {

constexpr long kRetryNanoseconds = 4'000'000;

Result<UniqueFd> RetryTimer() {
  UniqueFd timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  const itimerspec when{.it_interval = {0, kRetryNanoseconds}, .it_value = {0, kRetryNanoseconds}};
  if (!timer || timerfd_settime(timer.get(), 0, &when, nullptr) < 0) return FailErrno();
  return timer;
}

}  // namespace

Patience PatienceOf(int fd, int message_flags, int timeout_option) {
  Patience patience;
  if (message_flags & MSG_DONTWAIT) {
    patience.may_wait = false;
    return patience;
  }
  const int flags = fcntl(fd, F_GETFL);
  patience.may_wait = flags >= 0 && !(flags & O_NONBLOCK);
  timeval timeout{};
  socklen_t size = sizeof timeout;
  if (patience.may_wait && getsockopt(fd, SOL_SOCKET, timeout_option, &timeout, &size) == 0 &&
      (timeout.tv_sec != 0 || timeout.tv_usec != 0)) {
    // Longer ones are no different from forever, and must not overflow the clock.
    const auto seconds = std::min<int64_t>(timeout.tv_sec, 1'000'000'000);
    patience.deadline =
        std::chrono::steady_clock::now() + std::chrono::seconds(seconds) + std::chrono::microseconds(timeout.tv_usec);
  }
  return patience;
}

Result<kernel::Reply> RunOrPark(kernel::SyscallContext& context, UniqueFd fd, const Patience& patience, Wait wait,
                                std::function<Outcome(int)> attempt) {
  if (Outcome outcome = attempt(fd.get())) return std::move(*outcome);
  if (!patience.may_wait) return Fail(wait.would_block_error);
  kernel::ParkRequest request;
  request.events = wait.events;
  request.deadline = patience.deadline;
  request.timeout_error = wait.timeout_error;
  request.interrupted_error = patience.deadline ? EINTR : kERESTARTSYS;
  if (wait.no_event || (wait.use_timer && wait.use_timer())) {
    request.fd = USL_TRY(RetryTimer());
    request.events = EPOLLIN;
    auto socket = std::make_shared<UniqueFd>(std::move(fd));
    request.attempt = [socket, attempt = std::move(attempt)](int timer) {
      uint64_t expired;
      [[maybe_unused]] ssize_t got = read(timer, &expired, sizeof expired);
      Outcome outcome = attempt(socket->get());
      if (outcome) socket->Reset();  // before the answer: the guest may expect end-of-file when it closes its own
      return outcome;
    };
  } else {
    request.fd = std::move(fd);
    request.attempt = std::move(attempt);
  }
  context.kernel().Park(context, std::move(request));
  return kernel::Reply::Answered();
}

platform::GuestMemory Caller::memory() const {
  return platform::GuestMemory(task->tid(), task->process().MemoryForReading(task->tid()));
}

NonblockingScope::NonblockingScope(int fd) : fd_(fd), flags_(fcntl(fd, F_GETFL)) {
  if (flags_ >= 0 && !(flags_ & O_NONBLOCK)) fcntl(fd_, F_SETFL, flags_ | O_NONBLOCK);
}

NonblockingScope::~NonblockingScope() {
  if (flags_ >= 0 && !(flags_ & O_NONBLOCK)) fcntl(fd_, F_SETFL, flags_);
}

}  // namespace usl::net
