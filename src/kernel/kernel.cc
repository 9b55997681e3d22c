#include "kernel/kernel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "kernel/event_loop.h"
#include "kernel/exec_service.h"
#include "kernel/fast_path.h"
#include "kernel/mount_use.h"
#include "kernel/signal_actions.h"
#include "kernel/worker_pool.h"
#include "platform/exec_redirect.h"
#include "platform/fd_access.h"
#include "vfs/fifo.h"
#include "vfs/handle_table.h"

namespace usl::kernel {
namespace {

double BootTimeNow() {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

uint64_t MonotonicNanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

constexpr unsigned kPidfdThread = O_EXCL;  // PIDFD_THREAD, Linux 6.9

}  // namespace

Kernel::Kernel(KernelOptions options, std::unique_ptr<vfs::Vfs> vfs, std::vector<Handler> handlers)
    : options_(std::move(options)),
      start_time_(BootTimeNow()),
      vfs_(std::move(vfs)),
      handlers_(std::move(handlers)),
      events_(std::make_unique<EventLoop>(*this, lock_)),
      exec_(std::make_unique<ExecService>(*this, options_.pico_base, options_.pico_fd)),
      workers_(std::make_unique<WorkerPool>(*this)) {
  if (!options_.runtime_directory.empty()) ipc_.RecordIn(options_.runtime_directory);
  tasks_ = std::make_unique<TaskTable>(
      [this](Process& process) {
        pid_t pid = process.pid();
        Watch(process.pidfd(), EPOLLIN, [this, pid, fd = process.pidfd()](uint32_t) {
          Unwatch(fd);
          // The record may have been replaced already, if its number was used again.
          Ref<Process> ended = tasks_->FindEnded(pid, fd);
          if (ended) tasks_->Remove(*ended);
        });
      },
      [this](Process& process) {
        if (process.pidfd() >= 0) Unwatch(process.pidfd());
        for (auto& callback : exit_callbacks_) callback(process);
      });
  vfs_->fifos().SetWake([this](uint64_t key) { Wake(key); });
  vfs_->SetRunningCheck([this](const vfs::Inode& inode) {
    for (const Ref<Process>& process : tasks_->List()) {
      // What is about to run counts from the start of the exec, as on Linux.
      const auto is_it = [&](const auto& program) { return program && program->path.inode() == &inode; };
      const bool starts = process->pending_exec && is_it(process->pending_exec->program);
      if (!starts && !is_it(process->program)) continue;
      // A zombie runs nothing; its pidfd is readable.
      pollfd ended{.fd = process->pidfd(), .events = POLLIN, .revents = 0};
      if (process->pidfd() >= 0 && poll(&ended, 1, 0) == 0) return true;
    }
    return false;
  });
  if (!options_.fast_path) return;
  if (auto fast = FastPath::Create(*this)) {
    fast_path_ = std::move(*fast);
    vfs_->SetObserver(fast_path_.get());
  } else {
    Log(LogLevel::kWarning, "calls that name files are slower than they could be: no fast path, errno {}",
        fast.error().code());
  }
}

Kernel::~Kernel() {
  vfs_->SetObserver(nullptr);
}

void Kernel::SetTrace(TraceSink* sink, std::function<bool(const platform::Notification&)> allowed) {
  trace_ = sink;
  trace_allowed_ = std::move(allowed);
}

void Kernel::Serve(platform::Listener listener) {
  listener_ = std::make_unique<platform::Listener>(std::move(listener));
  vfs_->SetUseCheck([this](const vfs::FileSystem& file_system) { return IsFileSystemOpen(*this, file_system); });
  // Handles of trees that nobody sees any more, and namespaces that end with their last process, let go of mounts.
  if (vfs_->handles().event_fd() >= 0) {
    Watch(vfs_->handles().event_fd(), EPOLLIN, [this](uint32_t) { vfs_->CollectUnused(); });
  }
  OnProcessExit([this, seen = vfs::MountNamespace::ended()](Process&) mutable {
    if (seen == vfs::MountNamespace::ended() && !vfs_->is_lingering()) return;
    seen = vfs::MountNamespace::ended();
    vfs_->CollectUnused();
  });
  events_->Start();
  workers_->Run();
  events_->Stop();
  MutexLock lock(lock_);
  ipc_.RemoveAll();
}

void Kernel::Stop() {
  workers_->Stop();
}

Result<Reply> Kernel::Dispatch(Task& task, const platform::Notification& notification) {
  if (trace_ && trace_allowed_(notification)) return Reply::ContinueByRegisters();
  auto number = static_cast<size_t>(notification.nr);
  if (notification.nr < 0 || number >= handlers_.size() || !handlers_[number]) return Fail(ENOSYS);
  SyscallContext context(*this, task, notification);
  if (!fast_path_) return handlers_[number](context);
  fast_path_->BeforeCall(context);
  auto reply = handlers_[number](context);
  if (reply && FastPath::MovesTasks(notification.nr)) fast_path_->AfterMove(task, notification.nr);
  return reply;
}

void Kernel::Handle(const platform::Notification& notification) {
  // One writer at a time: no locked instruction.
  if (std::atomic<uint64_t>* count = options_.served_calls) {
    count->store(count->load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  // A new program begins with served calls, of which the first are donations.
  const bool is_exec = notification.nr == SYS_execve || notification.nr == SYS_execveat;
  if (listener_->placement().OnCall(notification.tid, is_exec)) events_->StartTicking();
  if (write_watcher_ && write_watcher_->HasWatches()) write_watcher_->Drain();
  auto task = tasks_->Resolve(notification.tid);
  if (!task) {
    Answer(notification, Fail(ENOSYS));
    return;
  }
  if (!trace_) {
    Answer(notification, Dispatch(**task, notification));
    return;
  }
  trace_->BeforeCall(**task, notification);
  uint64_t start = MonotonicNanoseconds();
  Result<Reply> reply = Dispatch(**task, notification);
  uint64_t spent = MonotonicNanoseconds() - start;
  bool known = !reply || reply->kind() == Reply::Kind::kValue || reply->kind() == Reply::Kind::kDonate;
  int64_t result = !reply ? -reply.error().code() : reply->value();
  if (reply && reply->kind() == Reply::Kind::kDonate) known = false;
  trace_->OnCall(**task, notification, known, result, spent);
  Answer(notification, std::move(reply));
}

uint64_t Kernel::EndingSignals(pid_t tid) {
  Ref<Task> task = tasks_->FindTask(tid);
  return task && task->process().signal_actions ? task->process().signal_actions->Mask() : 0;
}

void Kernel::Answer(const platform::Notification& notification, Result<Reply> reply) {
  const platform::Listener& listener = *listener_;
  Result<void> answered;
  if (!reply) {
    int code = reply.error().code();
    answered = code == kERESTARTSYS ? platform::InterruptParked(listener, notification, EndingSignals(notification.tid))
                                    : listener.RespondError(notification.id, code);
  } else {
    switch (reply->kind()) {
      case Reply::Kind::kValue: answered = listener.Respond(notification.id, reply->value()); break;
      case Reply::Kind::kContinue: answered = listener.Continue(notification.id); break;
      case Reply::Kind::kDonate:
        answered = listener.AddFdAndRespond(notification, reply->fd(), reply->close_on_exec());
        if (!answered && answered.error() != Error(ENOENT) && answered.error() != Error(EINPROGRESS)) {
          // The guest's descriptor table is full, or its limit is lower now: Linux's open would say the same.
          answered = listener.RespondError(notification.id, answered.error().code());
        }
        break;
      case Reply::Kind::kAnswered: return;
    }
  }
  // ENOENT: the task was killed meanwhile, and its call with it.
  if (!answered && answered.error() != Error(ENOENT) && answered.error() != Error(ESRCH)) {
    Log(LogLevel::kWarning, "cannot answer call {} of task {}: errno {}", notification.nr, notification.tid,
        answered.error().code());
  }
}

void Kernel::Park(const SyscallContext& context, ParkRequest request) {
  events_->Park(Ref<Task>(&context.task()), context.notification(), std::move(request));
}

void Kernel::Wake(uint64_t key) {
  events_->Wake(key);
}

void Kernel::Watch(int fd, uint32_t events, std::function<void(uint32_t)> callback) {
  events_->Watch(fd, events, std::move(callback));
}

void Kernel::Unwatch(int fd) {
  events_->Unwatch(fd);
}

void Kernel::OnExec(Process& process) {
  for (auto& callback : exec_callbacks_) callback(process);
}

Result<UniqueFd> Kernel::DuplicateGuestFd(const Task& task, int guest_fd) {
  if (guest_fd < 0) return Fail(EBADF);
  if (!task.own_descriptors) {
    auto fd = platform::DuplicateFd(task.process().pidfd(), guest_fd);
    // ESRCH: the leader has exited before its threads and has no table any more.
    if (fd || fd.error() != Error(ESRCH)) return fd;
  }
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, task.tid(), kPidfdThread)));
  if (!pidfd) return Fail(EBADF);
  return platform::DuplicateFd(pidfd.get(), guest_fd);
}

}  // namespace usl::kernel
