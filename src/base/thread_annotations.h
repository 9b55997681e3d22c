// clang's thread-safety annotations (https://clang.llvm.org/docs/ThreadSafetyAnalysis.html); nothing under g++.
#pragma once

#include <mutex>

#if defined(__clang__)
#define USL_TSA(x) __attribute__((x))
#else
#define USL_TSA(x)
#endif

#define USL_CAPABILITY(name) USL_TSA(capability(name))
#define USL_SCOPED_CAPABILITY USL_TSA(scoped_lockable)
#define USL_GUARDED_BY(x) USL_TSA(guarded_by(x))
#define USL_REQUIRES(...) USL_TSA(requires_capability(__VA_ARGS__))
#define USL_EXCLUDES(...) USL_TSA(locks_excluded(__VA_ARGS__))
#define USL_ACQUIRE(...) USL_TSA(acquire_capability(__VA_ARGS__))
#define USL_TRY_ACQUIRE(...) USL_TSA(try_acquire_capability(__VA_ARGS__))
#define USL_RELEASE(...) USL_TSA(release_capability(__VA_ARGS__))

namespace usl {

class USL_CAPABILITY("mutex") Mutex {
 public:
  void Lock() USL_ACQUIRE() { mutex_.lock(); }
  void Unlock() USL_RELEASE() { mutex_.unlock(); }
  bool TryLock() USL_TRY_ACQUIRE(true) { return mutex_.try_lock(); }
  std::mutex& native() { return mutex_; }

 private:
  std::mutex mutex_;
};

class USL_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) USL_ACQUIRE(mutex) : mutex_(mutex) { mutex_.Lock(); }
  ~MutexLock() USL_RELEASE() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace usl
