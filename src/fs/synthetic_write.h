// How a write to a synthetic file reaches the kernel.
//
// The guest's write(2) on the donated memfd is native and always succeeds. The kernel watches the memfd with inotify
// and applies what was written afterwards, on its event loop. Two consequences: errors cannot be reported to the writer
// (EINVAL of a bad sysctl value is lost; it is logged), and the effect comes slightly later than the write. The second
// is hidden by draining: the kernel calls Drain() before it serves a call while HasWatches(), so nobody sees the old
// value through a served call once the write has returned.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cred/credentials.h"
#include "vfs/context.h"

namespace usl::fs {

// Who opened the file for writing: a copy of the vfs::Context at open, as Linux's f_cred.
struct WriterContext {
  explicit WriterContext(const vfs::Context& context)
      : credentials(context.credentials), thread_group(context.thread_group), thread(context.thread) {}
  cred::Credentials credentials;
  pid_t thread_group;
  pid_t thread;
};

// Guarded by the kernel lock.
class WriteWatcher {
 public:
  using Apply = std::function<void(std::string_view data)>;
  virtual ~WriteWatcher() = default;

  // Watches the memfd that `content` (a descriptor opened O_RDONLY) shows, until the guest's last writable description
  // of it is closed. `initial` is what it holds now. `apply` gets what each write added or replaced. ENOSPC when the
  // host's inotify limit is reached.
  virtual Result<void> Watch(UniqueFd content, std::string initial, Apply apply) = 0;
  // Applies what was written up to now. Never blocks.
  virtual void Drain() = 0;
  virtual bool HasWatches() const = 0;
};

// The implementation: the kernel watches fd() for EPOLLIN and calls Drain().
class InotifyWriteWatcher final : public WriteWatcher {
 public:
  static Result<InotifyWriteWatcher> Create();

  int fd() const { return inotify_.get(); }
  Result<void> Watch(UniqueFd content, std::string initial, Apply apply) override;
  void Drain() override;
  bool HasWatches() const override { return !watches_.empty(); }

 private:
  struct Entry {
    UniqueFd content;
    std::string seen;  // content up to the last event
    Apply apply;
  };
  explicit InotifyWriteWatcher(UniqueFd inotify) : inotify_(std::move(inotify)) {}
  void ApplyChange(int watch);

  UniqueFd inotify_;
  std::unordered_map<int, Entry> watches_;
};

// What a write changed `before` into `after` by: the bytes added at the end, else the line at the first difference (a
// write at offset 0 over older content). Exposed for tests.
std::string_view WrittenPart(std::string_view before, std::string_view after);

}  // namespace usl::fs
