// Starting a session: its first process, with the ids, directory, terminal and descriptors that a LaunchRequest asks
// for.
#pragma once

#include <sys/types.h>

#include <span>

#include "base/result.h"
#include "base/unique_fd.h"
#include "protocol/control.h"

namespace usl::init {

// Exit status of a session whose preparation failed (not its command): USL's own failures.
inline constexpr int kSetupFailed = 125;

// Forks the session's first process, which leads a session and a process group of its own. `stdio` are its standard
// input, output and error. Whatever fails in the child is told on its standard error and by its exit status
// (125, 126, 127). A request that wants its user found gets the account from /etc/passwd and /etc/group, in the child.
// Errors: fork(2).
Result<pid_t> StartSession(const protocol::LaunchRequest& request, std::span<const UniqueFd, 3> stdio);

}  // namespace usl::init
