// The copy-on-write view of the host's own root: what `usl run` shows when no distribution is installed.
//
// The lower layer is the host's "/" with the host's owners and modes; changes go to a private upper tree. What a guest
// must not have is not in it: the user's home is an empty directory, /run, /tmp and what is mounted from elsewhere too,
// USL's own directories are absent, password hashes are replaced (host_view_rules.cc lists all of it). Everything else
// that the host user may read, the guest may read: the same rights, no more.
#pragma once

#include <string>
#include <vector>

#include "base/ref.h"
#include "base/result.h"
#include "vfs/file_system.h"

namespace usl::fs {

struct HostViewOptions {
  std::string upper_directory;       // made (0700) when it is missing; the upper tree is `tree` in it
  std::vector<std::string> hidden;   // host paths that are absent in the view: USL's state and run-time directories
  std::vector<std::string> emptied;  // host directories that are shown empty, beside the home directories
  // The user's home; empty: $HOME and the one in the host's /etc/passwd. Shown empty wherever it is reached.
  std::string home;
  bool keep = false;            // the view outlives the kernel: copy-ups are synced, attributes must be stored on disk
  std::string host_root = "/";  // another tree instead of the host's root (tests)
};

// Errors of VolFs::Open, and EINVAL for a relative path.
Result<Ref<vfs::FileSystem>> MakeHostView(HostViewOptions options);

}  // namespace usl::fs
