// USL's private run-time directory of one instance: it holds the loader as a file, an empty directory that is every
// guest's native working directory, and whatever else lives as long as the instance (its control socket).
//
// $XDG_RUNTIME_DIR/usl/NAME-PID, or a private one under /tmp/usl-UID, /var/tmp/usl-UID, ~/.cache/usl. Mode 0700, owned
// by the user. The first candidate whose file system allows exec is taken. If none does, the loader is a symlink to
// /proc/PID/fd/N, a memfd of the process that made the directory, which must then outlive all guests.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace usl::platform {

struct RuntimeDirOptions {
  std::string instance_name = "usl";  // letters, digits, '.', '_', '-'; anything else is replaced by '_'
  uint64_t pico_base = 0x10000;       // becomes part of the loader's name
  // When pico processes run as another user than this one (USL started by root): directory and loader get modes that
  // let others pass and execute, but not list or write.
  bool for_other_user = false;
  // Parent directories to try, in order; empty = the ones above.
  std::vector<std::string> candidates;
};

class RuntimeDir {
 public:
  // ENOENT/EACCES: no candidate is usable, see `why` (one line for people).
  static Result<RuntimeDir> Create(const RuntimeDirOptions& options, std::string* why);
  RuntimeDir(RuntimeDir&& other) noexcept;
  RuntimeDir& operator=(RuntimeDir&&) = delete;
  // Removes everything, in the process that created it only (not in its forked children).
  ~RuntimeDir();

  // The same now. Idempotent.
  void Remove();
  // From now on the calling process is the one whose destructor removes (the supervisor hands it to the kernel, say).
  void TakeOver();

  const std::string& path() const { return path_; }
  // The directory itself, O_DIRECTORY.
  int fd() const { return dir_.get(); }
  // Absolute path of the loader, for PicoPage::Create. Ends in "loader-HEX" with the pico base.
  std::string LoaderPath() const;
  // Absolute path of the empty directory.
  std::string EmptyPath() const;
  // False when the loader is reached through /proc/PID/fd: then the Landlock wall must stay off.
  bool loader_is_file() const { return !loader_memfd_; }

 private:
  RuntimeDir(std::string path, UniqueFd dir, std::string loader_name);
  Result<void> Populate(const RuntimeDirOptions& options, bool loader_in_memory);
  static Result<RuntimeDir> CreateIn(const std::string& parent, const RuntimeDirOptions& options,
                                     bool loader_in_memory);

  std::string path_;
  UniqueFd dir_;
  std::string loader_name_;
  UniqueFd loader_memfd_;
  pid_t owner_ = 0;
  bool remove_parent_ = false;
};

// Removes directories below the default candidates whose instance is dead (killed with the supervisor, power loss).
void RemoveStaleRuntimeDirs();

}  // namespace usl::platform
