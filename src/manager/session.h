// Turning the options into the one session of `usl run`: whose it is, where it starts, what it runs.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "manager/run_options.h"
#include "protocol/control.h"
#include "vfs/vfs.h"

namespace usl::manager {

// The guest's tree as its root user sees it.
struct GuestView {
  vfs::Vfs& vfs;
  vfs::Path root;

  vfs::Context Context() const;
  // A regular file's content, at most `limit` bytes. Errors of open(2); EFBIG.
  Result<std::string> ReadFile(const std::string& path, size_t limit = 1 << 20) const;
  // Makes or replaces a file, following symlinks; `mode` is a new one's. Errors of open(2), write(2).
  Result<void> WriteFile(const std::string& path, const std::string& content, mode_t mode = 0644) const;
  // Makes a directory with its missing parents, mode 0755. Errors of mkdir(2).
  Result<void> MakeDirectories(const std::string& path) const;
  bool Exists(const std::string& path) const;
};

struct SessionOptions {
  const RunOptions& options;
  const std::string& user;  // instead of options.user: the configuration may have named it
  mode_t umask = 022;
  const std::vector<std::string>& environment;  // NAME=VALUE, beside options.environment, which wins
};

// The request for init. `current_directory` is the host's, for --here. On failure `why` has a line for people.
Result<protocol::LaunchRequest> MakeSession(const SessionOptions& session, const GuestView& view, bool terminal,
                                            const std::string& current_directory, std::string* why);

}  // namespace usl::manager
