#include "kernel/instance_limits.h"

#include <dirent.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/format.h"
#include "base/log.h"
#include "kernel/host_proc.h"
#include "kernel/kernel.h"
#include "platform/fd_access.h"
#include "platform/proc_status.h"

namespace usl::kernel {
namespace {

// A look at everything may take this part of the time that passes, or a guest at its limit would keep the kernel busy.
constexpr int kRestPerLook = 8;
// What is saved up of that for counting.
constexpr std::chrono::milliseconds kMaxCountTime{50};
constexpr unsigned kKernelWarning = 4, kKernelError = 3;

// Processes and threads below init. A process that is being reaped counts as one, as in a control group.
uint64_t CountTasks(pid_t init) {
  uint64_t count = 0;
  for (const pid_t pid : DescendantsOfInit(init)) {
    struct stat status;
    if (pid == init || stat(format("/proc/{}/task", pid).c_str(), &status) < 0) continue;
    count += std::max<uint64_t>(status.st_nlink, 3) - 2;
  }
  return count;
}

std::string ReadText(const std::string& path) {
  char text[4096];
  const auto size = platform::ReadSmallFile(path.c_str(), text, sizeof text);
  return size ? std::string(text, strnlen(text, sizeof text)) : "";
}

// A file of /proc that tells of a process's memory: of its first thread that still has it, for the others', the
// leader's among them, say nothing once they have ended. `mark` stands in one that tells.
std::string ReadOfMemory(pid_t pid, const char* name, const char* mark) {
  std::string text = ReadText(format("/proc/{}/{}", pid, name));
  if (text.find(mark) != text.npos) return text;
  const std::unique_ptr<DIR, int (*)(DIR*)> threads(opendir(format("/proc/{}/task", pid).c_str()), closedir);
  while (const dirent* entry = threads ? readdir(threads.get()) : nullptr) {
    if (entry->d_name[0] == '.') continue;
    text = ReadText(format("/proc/{}/task/{}/{}", pid, entry->d_name, name));
    if (text.find(mark) != text.npos) return text;
  }
  return "";
}

// What the process holds for itself and of shared memory; pages that a fork shares are counted in each. In bytes.
uint64_t RoughMemory(pid_t pid) {
  return SumOfLines(ReadOfMemory(pid, "status", "VmRSS:"), {"RssAnon", "RssShmem", "VmSwap"});
}

// The same with shared pages divided among those that share them: dear, as the host walks the page tables.
uint64_t ExactMemory(pid_t pid) {
  return SumOfLines(ReadOfMemory(pid, "smaps_rollup", "Rss:"), {"Pss_Anon", "Pss_Shmem", "SwapPss"});
}

// Is its memory its parent's, as that of a child of vfork(2)?
bool SharesParentsMemory(pid_t pid) {
  const auto parent = platform::ReadStatusField(format("/proc/{}/status", pid).c_str(), "PPid:", 10);
  return parent && *parent > 0 && syscall(SYS_kcmp, pid, static_cast<pid_t>(*parent), KCMP_VM, 0, 0) == 0;
}

}  // namespace

uint64_t SumOfLines(const std::string& text, const std::vector<const char*>& names) {
  uint64_t sum = 0;
  size_t start = 0;
  while (start < text.size()) {
    const size_t end = std::min(text.find('\n', start), text.size());
    for (const char* name : names) {
      const size_t length = strlen(name);
      if (text.compare(start, length, name) == 0 && text[start + length] == ':') {
        sum += strtoull(text.c_str() + start + length + 1, nullptr, 10) * 1024;
      }
    }
    start = end + 1;
  }
  return sum;
}

InstanceLimits::InstanceLimits(Kernel& kernel)
    : kernel_(kernel), max_tasks_(kernel.options().max_tasks), max_memory_(kernel.options().max_memory) {}

Result<void> InstanceLimits::ChargeTask() {
  if (!max_tasks_) return {};
  if (tasks_ >= *max_tasks_) {
    // What ended since the last count makes room at once, unless a bomb has used up the time for counting.
    const Clock::time_point start = Clock::now();
    count_time_ = std::min<Clock::duration>(count_time_ + (start - last_count_) / kRestPerLook, kMaxCountTime);
    last_count_ = start;
    if (count_time_ > Clock::duration::zero()) {
      tasks_ = CountTasks(kernel_.tasks().init()->pid());
      count_time_ -= Clock::now() - start;
    }
  }
  if (tasks_ >= *max_tasks_) {
    if (!refusal_logged_) {
      kernel_.log().Add(kKernelWarning,
                        format("fork rejected: the instance has its {} processes and threads (--pids)", *max_tasks_));
    }
    refusal_logged_ = true;
    return Fail(EAGAIN);
  }
  ++tasks_;
  return {};
}

Result<void> InstanceLimits::WatchMemory() {
  timer_.Reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_) return FailErrno();
  constexpr timespec kInterval{0, kMemoryMilliseconds * 1000000L};
  const itimerspec times{kInterval, kInterval};
  if (timerfd_settime(timer_.get(), 0, &times, nullptr) < 0) return FailErrno();
  kernel_.Watch(timer_.get(), EPOLLIN, [this](uint32_t) {
    uint64_t expirations;
    if (read(timer_.get(), &expirations, sizeof expirations) == sizeof expirations) CheckMemory();
  });
  return {};
}

void InstanceLimits::CheckMemory() {
  if (victim_) {
    pollfd ended{victim_.get(), POLLIN, 0};
    if (poll(&ended, 1, 0) == 0) return;
    victim_.Reset();
  }
  const Clock::time_point start = Clock::now();
  if (start < next_check_) return;
  const pid_t init = kernel_.tasks().init()->pid();
  const std::vector<pid_t> pids = DescendantsOfInit(init);
  uint64_t rough = 0;
  for (const pid_t pid : pids) rough += RoughMemory(pid);
  if (rough > *max_memory_) {
    uint64_t total = 0, most = 0;
    pid_t largest = 0;
    for (const pid_t pid : pids) {
      const uint64_t size = SharesParentsMemory(pid) ? 0 : ExactMemory(pid);
      total += size;
      if (pid == init || size <= most) continue;
      most = size;
      largest = pid;
    }
    if (total > *max_memory_ && largest > 0) KillLargest(total, largest);
  }
  const Clock::time_point end = Clock::now();
  next_check_ = end + kRestPerLook * (end - start);
}

void InstanceLimits::KillLargest(uint64_t total, pid_t largest) {
  auto pidfd = platform::OpenPidfd(largest);
  if (!pidfd) return;
  // The number may have been used again by a process of the host's before it was opened: only what is still below init.
  const auto pids = DescendantsOfInit(kernel_.tasks().init()->pid());
  if (std::ranges::find(pids, largest) == pids.end()) return;
  if (syscall(SYS_pidfd_send_signal, pidfd->get(), SIGKILL, nullptr, 0) < 0) return;
  constexpr uint64_t kMebibyte = 1 << 20;
  const std::string line = format("Out of memory: killed process {}: the instance uses {} MiB of {} (--memory)",
                                  largest, total / kMebibyte, *max_memory_ / kMebibyte);
  kernel_.log().Add(kKernelError, line);
  Log(LogLevel::kWarning, "{}", line);
  victim_ = std::move(*pidfd);
}

}  // namespace usl::kernel
