// POSIX message queues (mq_overview(7)) of the instance. Names, owners and modes are kept here; each queue is a host
// queue whose host name was removed at once, so that only donated descriptors lead to it. Guarded by the kernel lock.
#pragma once

#include <mqueue.h>
#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cred/credentials.h"
#include "fs/mqueuefs.h"

namespace usl::kernel {

class MessageQueues : public fs::QueueSource {
 public:
  // mq_open(2): a descriptor for donation. `name` as the system call has it, without the slash in front; `mode` less
  // the umask. ENOENT, EEXIST, EACCES, ENAMETOOLONG, and the host's EINVAL, EMFILE (RLIMIT_MSGQUEUE) and ENOSPC.
  Result<UniqueFd> Open(std::string_view name, int flags, mode_t mode, const std::optional<mq_attr>& attributes,
                        const cred::Credentials& credentials);
  // mq_unlink(2). The queue lives on with those who have it open. ENOENT, EPERM.
  Result<void> Unlink(std::string_view name, const cred::Credentials& credentials);

  // As files of the message queue file system.
  std::vector<std::string> Names() const override;
  std::optional<fs::QueueSource::Queue> Find(std::string_view name) const override;
  Result<UniqueFd> OpenFile(std::string_view name, int flags) override;
  Result<void> Make(std::string_view name, const fs::QueueSource::Queue& queue) override;
  Result<void> Remove(std::string_view name) override;

 private:
  struct HostQueue {
    UniqueFd fd;
    uid_t uid = 0;
    gid_t gid = 0;
    mode_t mode = 0;
  };
  static bool MayOpen(const HostQueue& queue, int flags, const cred::Credentials& credentials);
  static Result<UniqueFd> Reopen(const HostQueue& queue, int flags);

  std::map<std::string, HostQueue, std::less<>> queues_;
};

}  // namespace usl::kernel
