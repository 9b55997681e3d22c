#include "kernel/worker_pool.h"

#include "base/log.h"

namespace usl::kernel {
namespace {

// Beyond so many threads in blocking scopes a further one keeps the role while it blocks.
constexpr int kMaxWorkers = 32;

}  // namespace

class WorkerPool::Worker : public BlockingHooks {
 public:
  explicit Worker(WorkerPool& pool) : pool_(pool) {}

  void Run() {
    SetBlockingHooks(this);
    while (true) {
      pool_.spare_.fetch_add(1);
      pool_.role_.Lock();
      pool_.spare_.fetch_sub(1);
      has_role_ = true;
      while (has_role_) {
        auto notification = pool_.kernel_.listener().Receive();
        if (!notification) {
          if (notification.error() != Error(ESHUTDOWN)) {
            Log(LogLevel::kError, "cannot receive calls: errno {}", notification.error().code());
          }
          pool_.Stop();
          pool_.role_.Unlock();
          return;
        }
        pool_.kernel_.lock().Lock();
        pool_.kernel_.Handle(*notification);
        pool_.kernel_.lock().Unlock();
      }
    }
  }

  void EnterBlocking() override {
    if (depth_++ > 0) return;  // a scope within a scope: lock and role are given up already
    if (has_role_) {
      bool spare = pool_.spare_.load() > 0;
      if (!spare && pool_.total_.load() < kMaxWorkers) {
        pool_.StartWorker();
        spare = true;
      }
      if (spare) {
        has_role_ = false;
        pool_.kernel_.listener().placement().LeaveReceiver();
        pool_.role_.Unlock();
      }
    }
    pool_.kernel_.lock().Unlock();
  }
  void LeaveBlocking() override {
    if (--depth_ == 0) pool_.kernel_.lock().Lock();
  }

 private:
  WorkerPool& pool_;
  bool has_role_ = false;
  int depth_ = 0;
};

void WorkerPool::StartWorker() {
  total_.fetch_add(1);
  std::thread([this] { Worker(*this).Run(); }).detach();
}

void WorkerPool::Run() {
  StartWorker();
  std::unique_lock<std::mutex> lock(stop_mutex_);
  stop_condition_.wait(lock, [this] { return stopped_; });
}

void WorkerPool::Stop() {
  std::lock_guard<std::mutex> lock(stop_mutex_);
  stopped_ = true;
  stop_condition_.notify_all();
}

}  // namespace usl::kernel
