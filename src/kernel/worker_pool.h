// The threads that receive and serve calls. One holds the receiver's role: it receives, serves under the kernel lock,
// and receives again. Only when its handler is about to wait for the host (BlockingScope) it hands role and lock on,
// and a spare thread goes on receiving; a second receiver would halve the rate of served calls (platform/README.md).
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "base/blocking.h"
#include "kernel/kernel.h"

namespace usl::kernel {

class WorkerPool {
 public:
  explicit WorkerPool(Kernel& kernel) : kernel_(kernel) {}
  // Starts receiving and waits for Stop(). The threads stay: a receive cannot be called off.
  void Run();
  void Stop();

 private:
  class Worker;
  void StartWorker();

  Kernel& kernel_;
  Mutex role_;
  std::atomic<int> spare_{0};
  std::atomic<int> total_{0};
  std::mutex stop_mutex_;
  std::condition_variable stop_condition_;
  bool stopped_ = false;
};

}  // namespace usl::kernel
