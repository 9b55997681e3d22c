// The kernel's waiting: process exits, parked calls, descriptors that other parts watch. One thread; callbacks run with
// the kernel lock held.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <unordered_map>

#include "base/result.h"
#include "base/thread_annotations.h"
#include "base/unique_fd.h"
#include "kernel/parking.h"

namespace usl::kernel {

class Kernel;

class EventLoop {
 public:
  EventLoop(Kernel& kernel, Mutex& lock);
  ~EventLoop();

  void Start();
  // Ends the thread; parked calls stay unanswered (their tasks are killed by whoever stops the kernel).
  void Stop();

  // All of these under the kernel lock.
  void Watch(int fd, uint32_t events, std::function<void(uint32_t)> callback);
  void Unwatch(int fd);
  void Park(Ref<Task> task, const platform::Notification& notification, ParkRequest request);
  void Wake(uint64_t key);
  // Calls the placement's Tick() (platform/placement.h) until it has no more to do.
  void StartTicking();
  size_t parked() const { return parked_.size(); }

 private:
  struct ParkedCall;
  struct Watched;
  void Run();
  void Dispatch(uint64_t id, uint32_t events);
  // True when the call was answered (and is gone).
  bool Try(uint64_t id);
  void Finish(uint64_t id, Result<Reply> reply);
  void OnTimer();
  void CheckParked();
  void ArmTimer();

  Kernel& kernel_;
  Mutex& lock_;
  UniqueFd epoll_;
  UniqueFd wake_;
  UniqueFd timer_;
  std::thread thread_;
  bool stopping_ = false;
  bool timer_armed_ = false;
  bool ticking_ = false;
  uint64_t next_id_ = 16;
  std::unordered_map<uint64_t, std::unique_ptr<ParkedCall>> parked_;
  std::unordered_map<uint64_t, Watched> watched_;
  std::unordered_map<int, uint64_t> watch_by_fd_;
};

}  // namespace usl::kernel
