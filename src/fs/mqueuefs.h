// The POSIX message queue file system (mq_overview(7), "Mounting the message queue filesystem"): one file for each
// queue of the instance, which reads as its state and can be removed. One instance of it exists.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "fs/synthetic.h"

namespace usl::fs {

// What it asks of the kernel, which keeps the queues. Guarded by the kernel lock, as Vfs.
class QueueSource {
 public:
  virtual ~QueueSource() = default;
  struct Queue {
    uid_t uid = 0;
    gid_t gid = 0;
    mode_t mode = 0;
  };
  virtual std::vector<std::string> Names() const = 0;
  virtual std::optional<Queue> Find(std::string_view name) const = 0;
  // A descriptor of the queue for donation, as open(2) of its file gives it; permission was checked. ENOENT.
  virtual Result<UniqueFd> OpenFile(std::string_view name, int flags) = 0;
  // A new queue with the default sizes. EEXIST, EMFILE, ENOSPC.
  virtual Result<void> Make(std::string_view name, const Queue& queue) = 0;
  virtual Result<void> Remove(std::string_view name) = 0;
};

// `source` and `instance` outlive the file system.
Ref<SyntheticFileSystem> MakeMessageQueueFs(QueueSource& source, const SyntheticInstance& instance);

}  // namespace usl::fs
