// The USL kernel: one host process for each running instance, which serves the calls of its guests.
//
// Locks: one, the kernel lock. It is held by whoever serves a call; the receiver's role goes with it (base/blocking.h).
// Lock order: receiver's role, kernel lock.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <typeindex>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/thread_annotations.h"
#include "fs/synthetic_write.h"
#include "kernel/ipc_registry.h"
#include "kernel/kernel_log.h"
#include "kernel/message_queues.h"
#include "kernel/mount_types.h"
#include "kernel/parking.h"
#include "kernel/syscall_context.h"
#include "kernel/task.h"
#include "kernel/task_table.h"
#include "keys/key_service.h"
#include "platform/listener.h"
#include "vfs/vfs.h"

namespace usl::kernel {

struct KernelOptions {
  std::string runtime_directory;  // private host directory of the instance
  uint64_t pico_base = 0x10000;
  int pico_fd = -1;     // PicoPage::fd(), kept open by the caller
  bool network = true;  // false: no inet at all
  // The host keeps guests from signalling and tracing whatever is outside their domain (Landlock with its scopes): only
  // then may a call on the number of another process be continued, as that number could be used again meanwhile.
  bool confined_by_host = false;
  std::string release;  // uname's release; empty = the host's
  bool fast_path = true;
  // Counts the calls that are served, where somebody wants to know. Written with the kernel lock held.
  std::atomic<uint64_t>* served_calls = nullptr;
};

// Where `usl trace` has its lines from. Called with the kernel lock held.
class TraceSink {
 public:
  virtual ~TraceSink() = default;
  // After each call that the kernel saw. `result` is the value or -errno; `known` is false when the host carried the
  // call out (then `result` says nothing); `nanoseconds` is the time that serving took.
  virtual void OnCall(const Task& task, const platform::Notification& notification, bool known, int64_t result,
                      uint64_t nanoseconds) = 0;
  // Before it is served: arguments are still as the guest gave them (an exec replaces the memory).
  virtual void BeforeCall(const Task& task, const platform::Notification& notification) = 0;
};

class EventLoop;
class ExecService;
class FastPath;
class WorkerPool;

class Kernel {
 public:
  // `handlers` is indexed by system call number (syscalls/bindings.h); null entries are ENOSYS.
  Kernel(KernelOptions options, std::unique_ptr<vfs::Vfs> vfs, std::vector<Handler> handlers);
  ~Kernel();

  const KernelOptions& options() const { return options_; }
  vfs::Vfs& vfs() { return *vfs_; }
  TaskTable& tasks() { return *tasks_; }
  ExecService& exec() { return *exec_; }
  const platform::Listener& listener() const { return *listener_; }
  Mutex& lock() { return lock_; }
  // Null where it is switched off, or the host has no means for it.
  FastPath* fast_path() { return fast_path_.get(); }
  IpcRegistry& ipc() { return ipc_; }
  MessageQueues& message_queues() { return message_queues_; }
  keys::KeyService& keys() { return keys_; }
  KernelLog& log() { return log_; }
  KernelLogFiles& log_files() { return log_files_; }
  // reboot(2)'s LINUX_REBOOT_CMD_CAD_ON: nobody can press the keys; kept and shown.
  bool ctrl_alt_del = false;
  // How net names AF_UNIX sockets for /proc/net/unix: the guest's name for a host's, empty for none.
  using UnixNaming = std::function<std::string(std::string_view host_name)>;
  void SetUnixNaming(UnixNaming naming) { unix_naming_ = std::move(naming); }
  std::string NameUnixSocket(std::string_view host_name) const { return unix_naming_ ? unix_naming_(host_name) : ""; }
  MountTypes& mount_types() { return mount_types_; }
  // What a module above this one keeps for the life of the instance (net): a T, made from *this at the first use.
  // Callbacks that it registers stay valid as long as the kernel.
  template <typename T>
  T& Extension() {
    std::shared_ptr<void>& slot = extensions_[typeid(T)];
    if (!slot) slot = std::make_shared<T>(*this);
    return *static_cast<T*>(slot.get());
  }
  // CLOCK_BOOTTIME seconds at which the instance started.
  double start_time() const { return start_time_; }

  // Under a trace: `allowed(notification)` tells which calls the ordinary filter would have let pass; they are
  // continued.
  void SetTrace(TraceSink* sink, std::function<bool(const platform::Notification&)> allowed);

  // Serves until Stop() is called. Called once. Worker threads still sit in the host's kernel when it returns: the
  // process then ends with _exit().
  void Serve(platform::Listener listener);
  // Makes Serve return. From any thread.
  void Stop();
  // reboot(2): Stop, and the instance ends as it was told to.
  void Halt() {
    halted_ = true;
    Stop();
  }
  bool halted() const { return halted_; }

  // Parks the call in `context`; the handler then returns Reply::Answered().
  void Park(const SyscallContext& context, ParkRequest request);
  // Tries again the calls parked under `key`.
  void Wake(uint64_t key);
  // Answers a call with what its handler returned.
  void Answer(const platform::Notification& notification, Result<Reply> reply);
  // The signals whose handlers end a parked call of the task, as bits (platform::InterruptParked).
  uint64_t EndingSignals(pid_t tid);

  // Runs `callback` (kernel lock held) when `fd` is ready for the EPOLL* `events`, until Unwatch.
  void Watch(int fd, uint32_t events, std::function<void(uint32_t)> callback);
  void Unwatch(int fd);
  // Guests' writes to files of /proc and /sys are native and applied afterwards: before each served call at the latest,
  // so that no call sees what was before the write. `watcher` outlives the kernel; null for none.
  void SetWriteWatcher(fs::WriteWatcher* watcher) { write_watcher_ = watcher; }

  // `callback` runs with the kernel lock held after a process ended, or (OnExecDone) executed a new program.
  void OnProcessExit(std::function<void(Process&)> callback) { exit_callbacks_.push_back(std::move(callback)); }
  void OnExecDone(std::function<void(Process&)> callback) { exec_callbacks_.push_back(std::move(callback)); }
  void OnExec(Process& process);

  // A duplicate of a guest's descriptor: of the table of the thread itself. EBADF.
  Result<UniqueFd> DuplicateGuestFd(const Task& task, int guest_fd);

 private:
  friend class WorkerPool;
  void Handle(const platform::Notification& notification);
  Result<Reply> Dispatch(Task& task, const platform::Notification& notification);

  KernelOptions options_;
  double start_time_;
  std::unique_ptr<FastPath> fast_path_;
  std::unique_ptr<vfs::Vfs> vfs_;
  std::vector<Handler> handlers_;
  Mutex lock_;
  bool halted_ = false;
  keys::KeyService keys_;  // tasks hold keys: it goes after them
  std::unique_ptr<TaskTable> tasks_;
  std::unique_ptr<platform::Listener> listener_;
  std::unique_ptr<EventLoop> events_;
  std::unique_ptr<ExecService> exec_;
  std::unique_ptr<WorkerPool> workers_;
  IpcRegistry ipc_;
  MessageQueues message_queues_;
  MountTypes mount_types_;
  UnixNaming unix_naming_;
  KernelLog log_;
  KernelLogFiles log_files_{*this, log_};
  fs::WriteWatcher* write_watcher_ = nullptr;
  TraceSink* trace_ = nullptr;
  std::function<bool(const platform::Notification&)> trace_allowed_;
  std::unordered_map<std::type_index, std::shared_ptr<void>> extensions_;
  std::vector<std::function<void(Process&)>> exit_callbacks_;
  std::vector<std::function<void(Process&)>> exec_callbacks_;
};

}  // namespace usl::kernel
