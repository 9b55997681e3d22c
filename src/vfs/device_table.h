// The drivers behind device nodes: which host object stands for (type, number). Guarded by the kernel lock.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vfs/path.h"

namespace usl::vfs {

struct Context;

class DeviceTable {
 public:
  // Opens the device for donation with the access mode and status flags of `flags`. `path` is the node (its mount tells
  // a devpts instance). Permission and nodev are checked before.
  using OpenFunction = std::function<Result<UniqueFd>(const Path& path, int flags, const Context& context)>;

  // `type` is S_IFCHR or S_IFBLK. Replaces what was there; an empty function removes it.
  void Register(uint32_t type, dev_t device, OpenFunction open);
  // ENXIO when no driver has that number.
  Result<UniqueFd> Open(uint32_t type, dev_t device, const Path& path, int flags, const Context& context);

  // All nodes of a device share one host object, which is taken for the node in `home` (/dev). Of the memory devices,
  // which nothing notices to be open, those that were opened by nodes elsewhere (in a tree for chroot, say) are
  // remembered, the latest of them and until something is unmounted: the node by which the descriptor's description was
  // opened, or null.
  void SetHome(const FileSystem* home) { home_ = home; }
  const Path* FindOpened(int fd) const;
  // Before file systems are let go: all, or those that were opened through a mount that is no more.
  void ForgetOpened() { opened_.clear(); }
  void ForgetUnmounted();

 private:
  struct Opened {
    UniqueFd fd;
    Path path;
  };
  void Remember(int fd, const Path& path);

  std::map<std::pair<uint32_t, dev_t>, OpenFunction> drivers_;
  const FileSystem* home_ = nullptr;
  std::deque<Opened> opened_;
};

}  // namespace usl::vfs
