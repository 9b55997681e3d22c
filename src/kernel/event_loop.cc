#include "kernel/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <vector>

#include "base/log.h"
#include "kernel/kernel.h"
#include "platform/exec_redirect.h"

namespace usl::kernel {
namespace {

constexpr uint64_t kWakeId = 1;
constexpr uint64_t kTimerId = 2;
// A parked task feels no signal by itself (WAIT_KILLABLE_RECV), so the kernel looks for pending ones this often. Pairs
// of the platform's placement want the same.
constexpr long kTickNanoseconds = platform::Placement::kTickMilliseconds * 1'000'000L;

}  // namespace

struct EventLoop::ParkedCall {
  ParkedCall(Ref<Task> caller, const platform::Notification& call, ParkRequest wait)
      : task(std::move(caller)), notification(call), request(std::move(wait)) {}
  ~ParkedCall() { Close(); }
  // Closing alone would not end the watch: the guest holds the same open file.
  void Close() {
    if (request.fd && epoll >= 0) epoll_ctl(epoll, EPOLL_CTL_DEL, request.fd.get(), nullptr);
    request.fd.Reset();
  }

  Ref<Task> task;
  platform::Notification notification;
  ParkRequest request;
  int epoll = -1;  // that watches request.fd
};

struct EventLoop::Watched {
  int fd;
  std::function<void(uint32_t)> callback;
};

EventLoop::EventLoop(Kernel& kernel, Mutex& lock)
    : kernel_(kernel),
      lock_(lock),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      timer_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kWakeId}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event);
  event.data.u64 = kTimerId;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, timer_.get(), &event);
}

EventLoop::~EventLoop() {
  Stop();
}

void EventLoop::Start() {
  thread_ = std::thread([this] { Run(); });
}

void EventLoop::Stop() {
  if (!thread_.joinable()) return;
  {
    MutexLock lock(lock_);
    stopping_ = true;
  }
  uint64_t one = 1;
  [[maybe_unused]] ssize_t written = write(wake_.get(), &one, sizeof one);
  thread_.join();
}

void EventLoop::Watch(int fd, uint32_t events, std::function<void(uint32_t)> callback) {
  uint64_t id = next_id_++;
  watched_[id] = {fd, std::move(callback)};
  watch_by_fd_[fd] = id;
  epoll_event event{.events = events, .data = {.u64 = id}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) < 0) {
    Log(LogLevel::kError, "cannot watch descriptor {}: errno {}", fd, errno);
  }
}

void EventLoop::Unwatch(int fd) {
  auto found = watch_by_fd_.find(fd);
  if (found == watch_by_fd_.end()) return;
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  watched_.erase(found->second);
  watch_by_fd_.erase(found);
}

void EventLoop::Park(Ref<Task> task, const platform::Notification& notification, ParkRequest request) {
  uint64_t id = next_id_++;
  auto call = std::make_unique<ParkedCall>(std::move(task), notification, std::move(request));
  if (call->request.fd) {
    epoll_event event{.events = call->request.events, .data = {.u64 = id}};
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, call->request.fd.get(), &event) < 0) {
      kernel_.Answer(notification, FailErrno());
      return;
    }
    call->epoll = epoll_.get();
  }
  parked_[id] = std::move(call);
  ArmTimer();
}

void EventLoop::Wake(uint64_t key) {
  std::vector<uint64_t> ids;
  for (const auto& [id, call] : parked_) {
    if (call->request.key == key) ids.push_back(id);
  }
  for (uint64_t id : ids) Try(id);
}

void EventLoop::Run() {
  std::array<epoll_event, 64> events;
  while (true) {
    int count = epoll_wait(epoll_.get(), events.data(), events.size(), -1);
    MutexLock lock(lock_);
    if (stopping_) return;
    for (int i = 0; i < count; ++i) Dispatch(events[i].data.u64, events[i].events);
  }
}

void EventLoop::Dispatch(uint64_t id, uint32_t events) {
  if (id == kWakeId || id == kTimerId) {
    uint64_t value;
    [[maybe_unused]] ssize_t got = read(id == kWakeId ? wake_.get() : timer_.get(), &value, sizeof value);
    if (id == kTimerId) OnTimer();
    return;
  }
  if (parked_.contains(id)) {
    Try(id);
    return;
  }
  if (auto found = watched_.find(id); found != watched_.end()) {
    auto callback = found->second.callback;  // it may unwatch itself
    callback(events);
  }
}

bool EventLoop::Try(uint64_t id) {
  auto found = parked_.find(id);
  if (found == parked_.end()) return true;
  ParkedCall& call = *found->second;
  if (!kernel_.listener().IsValid(call.notification.id)) {
    parked_.erase(found);
    return true;
  }
  auto answer = call.request.attempt(call.request.fd.get());
  if (!answer) return false;
  Finish(id, std::move(*answer));
  return true;
}

void EventLoop::Finish(uint64_t id, Result<Reply> reply) {
  auto node = parked_.extract(id);
  if (node.empty()) return;
  ParkedCall& call = *node.mapped();
  call.Close();  // before the answer: the guest may close its own end and expect end-of-file at once
  kernel_.Answer(call.notification, std::move(reply));
}

void EventLoop::OnTimer() {
  timer_armed_ = false;
  if (ticking_) ticking_ = kernel_.listener().placement().Tick();
  CheckParked();
  ArmTimer();
}

void EventLoop::StartTicking() {
  ticking_ = true;
  ArmTimer();
}

void EventLoop::CheckParked() {
  auto now = std::chrono::steady_clock::now();
  std::vector<uint64_t> ids;
  for (const auto& [id, call] : parked_) ids.push_back(id);
  for (uint64_t id : ids) {
    auto found = parked_.find(id);
    if (found == parked_.end()) continue;
    ParkedCall& call = *found->second;
    if (!kernel_.listener().IsValid(call.notification.id)) {
      parked_.erase(found);
    } else if (call.request.deadline && now >= *call.request.deadline) {
      if (!Try(id)) Finish(id, Fail(call.request.timeout_error));
    } else if (platform::HasPendingSignal(call.notification.tid)) {
      if (!Try(id)) Finish(id, Fail(call.request.interrupted_error));
    }
  }
}

void EventLoop::ArmTimer() {
  if (timer_armed_ || (parked_.empty() && !ticking_)) return;
  itimerspec when{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = kTickNanoseconds}};
  timer_armed_ = timerfd_settime(timer_.get(), 0, &when, nullptr) == 0;
}

}  // namespace usl::kernel
