// The host directory that holds an instance's changes: thrown away at the end, or kept under a name.
#pragma once

#include <unistd.h>

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace usl::manager {

// A directory below DataDirectory() that one instance uses at a time. While it lives it holds a lock on it, so that
// another `usl` neither uses it nor sweeps it away.
class ChangeTree {
 public:
  // A fresh one, removed with the object (by the process that made it only). Removes those of dead instances on the
  // way.
  static Result<ChangeTree> MakeTemporary(std::string* why);
  // The one kept under `name`, made when it is not there yet. EBUSY: another instance uses it.
  static Result<ChangeTree> OpenKept(const std::string& name, std::string* why);

  ChangeTree(ChangeTree&& other) noexcept;
  ChangeTree& operator=(ChangeTree&&) = delete;
  ~ChangeTree();
  // Removes a temporary one now.
  void Remove();
  // From now on the calling process is the one that removes it.
  void TakeOver() { owner_ = getpid(); }

  // The directory for the changed files, below the locked one.
  std::string UpperPath() const { return path_ + "/upper"; }
  const std::string& path() const { return path_; }

 private:
  ChangeTree(std::string path, UniqueFd lock, bool temporary);
  static Result<ChangeTree> Open(const std::string& path, bool temporary, std::string* why);

  std::string path_;
  UniqueFd lock_;
  bool temporary_;
  pid_t owner_;
};

// Removes a tree whose directories may have lost their permission bits; what cannot be removed is left. Never follows
// symlinks and never leaves the tree.
void RemoveTree(int parent, const char* name);

}  // namespace usl::manager
