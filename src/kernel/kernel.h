// The USL kernel: one host process for each running instance, which serves the calls of its guests.
//
// Locks: one, the kernel lock. It is held by whoever serves a call; the receiver's role goes with it (base/blocking.h).
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "kernel/parking.h"
#include "kernel/syscall_context.h"
#include "kernel/task.h"
#include "kernel/task_table.h"
#include "platform/listener.h"
#include "vfs/vfs.h"

namespace usl::kernel {

struct KernelOptions {
  std::string runtime_directory;  // private host directory of the instance
  std::string host_name = "usl";
  uint64_t pico_base = 0x10000;
  bool network = true;             // false: no inet at all
  std::string trace_file;          // where `usl trace` wants its lines; empty = no trace
};

// One line of `usl trace`: called after each served call with its result, in nanoseconds.
class TraceSink;
class EventLoop;

class Kernel {
 public:
  // `table` maps system call numbers to handlers (src/syscalls/bindings.h); null = refused.
  Kernel(KernelOptions options, std::unique_ptr<vfs::Vfs> vfs, std::vector<Handler> handlers);
  ~Kernel();

  const KernelOptions& options() const { return options_; }
  vfs::Vfs& vfs() { return *vfs_; }
  TaskTable& tasks() { return *tasks_; }
  platform::Listener& listener() { return *listener_; }

  // Serves until Stop() is called. Called once, from the kernel process's main thread.
  void Serve(platform::Listener listener);
  // Makes Serve return. Async-signal-unsafe; any thread.
  void Stop();

  // Parks the call in `context`; the handler then returns Reply::Answered().
  void Park(const SyscallContext& context, ParkRequest request);
  // Tries again the calls parked under `key`.
  void Wake(uint64_t key);
  // Answers a call with what its handler returned.
  void Answer(const platform::Notification& notification, Result<Reply> reply);

  // Runs `callback` (kernel lock held) when `fd` is ready for `events`, until Unwatch.
  void Watch(int fd, uint32_t events, std::function<void(uint32_t)> callback);
  void Unwatch(int fd);

  // Called with the kernel lock held after a process ended (its record is removed then).
  void OnProcessExit(std::function<void(Process&)> callback);

 private:
  friend class Dispatcher;
  KernelOptions options_;
  std::unique_ptr<vfs::Vfs> vfs_;
  std::vector<Handler> handlers_;
  std::unique_ptr<TaskTable> tasks_;
  std::unique_ptr<platform::Listener> listener_;
  std::unique_ptr<EventLoop> events_;
};

}  // namespace usl::kernel
