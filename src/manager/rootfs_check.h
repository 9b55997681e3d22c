// Whether a host directory can be a guest's root, before anything is started in it.
#pragma once

#include <string>

namespace usl::manager {

// Empty when `path` will do; else why not and what to do, to follow after `its root "PATH" `: missing, no directory,
// not readable or writable for this user, on a read-only or noexec file system, empty, or of another architecture.
std::string ExplainBadRootfs(const std::string& path);

}  // namespace usl::manager
