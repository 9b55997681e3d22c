// What fsopen(2) and fspick(2) make: a file system that is being configured. The guest's descriptor is one end of a
// socket pair, from which the log is read natively, message by message; the inode number of that end names the context.
// Guarded by the kernel lock.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vfs/context.h"
#include "vfs/file_system.h"

namespace usl::kernel {

class Kernel;

// One context, with the phases of enum fs_context_phase of Linux.
class MountContext {
 public:
  MountContext(std::string type, Ref<vfs::FileSystem> picked, UniqueFd log);

  // fsconfig(2) with FSCONFIG_SET_FLAG (`value` null) or FSCONFIG_SET_STRING. EBUSY out of turn, EINVAL for what the
  // type does not know (the log says why).
  Result<void> SetParameter(Kernel& kernel, const std::string& key, const std::string* value);
  // FSCONFIG_CMD_CREATE, FSCONFIG_CMD_RECONFIGURE. EBUSY out of turn and, for a file system that is to be read-only,
  // while somebody writes; else the errors of the file system.
  Result<void> Create(Kernel& kernel, const vfs::Context& view, bool exclusive);
  Result<void> Reconfigure(Kernel& kernel);
  // fsmount(2): the file system to mount. EINVAL when none was made, EBUSY when it was taken already.
  Result<Ref<vfs::FileSystem>> TakeForMount();

 private:
  enum class Phase { kCreateParameters, kAwaitingMount, kAwaitingReconfigure, kReconfigureParameters, kFailed };
  void LeaveClean();
  Result<void> Refuse(const std::string& message);

  const std::string type_;
  Phase phase_;
  std::string source_;
  std::string options_;
  std::optional<bool> read_only_;
  Ref<vfs::FileSystem> file_system_;
  UniqueFd log_;
};

class MountContexts {
 public:
  explicit MountContexts(Kernel& kernel) : kernel_(kernel) {}

  // A descriptor for donation. `picked` is the file system of fspick(2), or null for a new one of `type`.
  Result<UniqueFd> Open(std::string type, Ref<vfs::FileSystem> picked);
  // The context behind a duplicate of such a descriptor; null when it is none.
  std::shared_ptr<MountContext> Find(int fd) const;

 private:
  Kernel& kernel_;
  std::unordered_map<ino_t, std::shared_ptr<MountContext>> contexts_;
};

}  // namespace usl::kernel
