#include "platform/task_token.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace usl::platform {
static_assert(sizeof(rlim_t) == 8);

Result<uint64_t> ReadToken(pid_t tid) {
  rlimit limit{};
  if (prlimit(tid, RLIMIT_LOCKS, nullptr, &limit) != 0) return FailErrno();
  return limit.rlim_cur;
}

Result<void> WriteToken(pid_t tid, uint64_t token) {
  rlimit limit{};
  if (prlimit(tid, RLIMIT_LOCKS, nullptr, &limit) != 0) return FailErrno();
  limit.rlim_cur = token;
  if (prlimit(tid, RLIMIT_LOCKS, &limit, nullptr) != 0) return FailErrno();
  return {};
}

bool IsThreadOf(pid_t tgid, pid_t tid) {
  return syscall(SYS_tgkill, tgid, tid, 0) == 0;
}

}  // namespace usl::platform
