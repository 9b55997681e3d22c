#include "kernel/task.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel/exec_service.h"
#include "kernel/fast_path.h"

namespace usl::kernel {

bool Task::IsLeader() const {
  return tid_ == process_->pid();
}

Ref<FsContext> FsContext::Clone() const {
  auto copy = MakeRef<FsContext>();
  copy->root = root;
  copy->cwd = cwd;
  copy->umask = umask;
  copy->mounts = mounts;
  copy->root_context = root_context;
  copy->cwd_context = cwd_context;
  return copy;
}

Process::Process(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}

Process::~Process() = default;

bool Process::IsAlive() const {
  return syscall(SYS_pidfd_send_signal, pidfd_.get(), 0, nullptr, 0) == 0;
}

const platform::MemoryFile* Process::MemoryForReading(pid_t tid) {
  if (!memory_file_) {
    auto file = platform::MemoryFile::Open(tid);
    if (!file) return nullptr;
    memory_file_ = std::move(*file);
  }
  return &*memory_file_;
}

}  // namespace usl::kernel
