#include "kernel/message_queues.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/format.h"

namespace usl::kernel {
namespace {

Result<void> CheckName(std::string_view name) {
  if (name.empty()) return Fail(ENOENT);
  if (name.size() > NAME_MAX) return Fail(ENAMETOOLONG);
  if (name == "." || name == ".." || name.find('/') != name.npos) return Fail(EACCES);
  return {};
}

Result<UniqueFd> MakeHostQueue(const std::optional<mq_attr>& attributes) {
  uint64_t number = 0;
  if (getrandom(&number, sizeof number, 0) != sizeof number) return FailErrno();
  const std::string name = format("usl-{:016x}", number);
  UniqueFd fd(static_cast<int>(syscall(SYS_mq_open, name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_NONBLOCK, 0600,
                                       attributes ? &*attributes : nullptr)));
  if (!fd) return FailErrno();
  if (syscall(SYS_mq_unlink, name.c_str()) < 0) return FailErrno();
  return fd;
}

}  // namespace

bool MessageQueues::MayOpen(const HostQueue& queue, int flags, const cred::Credentials& credentials) {
  const int access = flags & O_ACCMODE;
  const unsigned wanted = access == O_RDONLY ? 4 : access == O_WRONLY ? 2 : 6;
  unsigned granted = queue.mode;
  if (credentials.fsuid == queue.uid) {
    granted >>= 6;
  } else if (credentials.InGroup(queue.gid)) {
    granted >>= 3;
  }
  return (wanted & ~granted & 7) == 0 || credentials.Has(CAP_DAC_OVERRIDE);
}

Result<UniqueFd> MessageQueues::Reopen(const HostQueue& queue, int flags) {
  const std::string path = format("/proc/self/fd/{}", queue.fd.get());
  UniqueFd fd(open(path.c_str(), (flags & (O_ACCMODE | O_NONBLOCK)) | O_CLOEXEC));
  if (!fd) return FailErrno();
  return fd;
}

Result<UniqueFd> MessageQueues::Open(std::string_view name, int flags, mode_t mode,
                                     const std::optional<mq_attr>& attributes, const cred::Credentials& credentials) {
  USL_TRY_VOID(CheckName(name));
  if ((flags & O_ACCMODE) == O_ACCMODE) return Fail(EINVAL);
  auto found = queues_.find(name);
  if (found != queues_.end()) {
    if ((flags & O_CREAT) && (flags & O_EXCL)) return Fail(EEXIST);
    if (!MayOpen(found->second, flags, credentials)) return Fail(EACCES);
    return Reopen(found->second, flags);
  }
  if (!(flags & O_CREAT)) return Fail(ENOENT);
  // The creator gets what it asked for, whatever the mode says.
  HostQueue queue{USL_TRY(MakeHostQueue(attributes)), credentials.fsuid, credentials.fsgid, mode & 0777};
  UniqueFd fd = USL_TRY(Reopen(queue, flags));
  queues_.emplace(name, std::move(queue));
  return fd;
}

Result<void> MessageQueues::Unlink(std::string_view name, const cred::Credentials& credentials) {
  USL_TRY_VOID(CheckName(name));
  const auto found = queues_.find(name);
  if (found == queues_.end()) return Fail(ENOENT);
  // The queues' directory is sticky and root's.
  if (credentials.fsuid != found->second.uid && credentials.fsuid != 0 && !credentials.Has(CAP_FOWNER))
    return Fail(EPERM);
  queues_.erase(found);
  return {};
}

std::vector<std::string> MessageQueues::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, queue] : queues_) names.push_back(name);
  return names;
}

std::optional<fs::QueueSource::Queue> MessageQueues::Find(std::string_view name) const {
  const auto found = queues_.find(name);
  if (found == queues_.end()) return std::nullopt;
  return fs::QueueSource::Queue{found->second.uid, found->second.gid, found->second.mode};
}

Result<UniqueFd> MessageQueues::OpenFile(std::string_view name, int flags) {
  const auto found = queues_.find(name);
  if (found == queues_.end()) return Fail(ENOENT);
  return Reopen(found->second, flags);
}

Result<void> MessageQueues::Make(std::string_view name, const fs::QueueSource::Queue& queue) {
  if (queues_.contains(name)) return Fail(EEXIST);
  queues_.emplace(std::string(name), HostQueue{USL_TRY(MakeHostQueue(std::nullopt)), queue.uid, queue.gid, queue.mode});
  return {};
}

Result<void> MessageQueues::Remove(std::string_view name) {
  const auto found = queues_.find(name);
  if (found == queues_.end()) return Fail(ENOENT);
  queues_.erase(found);
  return {};
}

}  // namespace usl::kernel
