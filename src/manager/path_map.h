// Which host path a guest path is, and the reverse: for `usl path` and its other name, wslpath.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "manager/run_options.h"

namespace usl::manager {

class PathMap {
 public:
  // What `usl run` with these options shows. In the view of the host's root a guest path that no volume covers is the
  // same host path, but for what is the instance's own (/proc, /sys, /dev, /run, /tmp, the user's home).
  static PathMap Of(const RunOptions& options, const std::string& current_directory);
  // The same, but a tree's own files have no host paths: its kernel alone may change them.
  static PathMap OfShared(const RunOptions& options, const std::string& current_directory);
  // Inside a guest: the DrvFs mounts in the text of /proc/self/mountinfo.
  static PathMap OfMounts(std::string_view mountinfo);
  // Is the text that of a guest (its root is none of a Linux host's)?
  static bool IsGuest(std::string_view mountinfo);

  // Absolute paths without "." and "..". ENOENT for what the other side does not see.
  Result<std::string> ToGuest(std::string_view host) const;
  Result<std::string> ToHost(std::string_view guest) const;

 private:
  static PathMap Of(const RunOptions& options, const std::string& current_directory, const std::string& root);
  struct Mount {
    std::string guest;  // "/" or without a slash at its end
    std::string host;   // the same; empty: the instance's own. In a guest also "C:\x": as the mount was asked for.
    bool is_dos = false;
  };
  void Add(std::string guest, std::string host);
  const Mount* Covering(std::string_view guest) const;

  std::vector<Mount> mounts_;  // a later one lies upon earlier ones
};

// "a//b/./c/.." to "a/b" by the text alone (".." of a root is the root).
std::string NormalPath(std::string_view path);

}  // namespace usl::manager
