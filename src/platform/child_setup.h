// What a new process does to itself between fork and the filter. Async-signal-safe: no allocation, no locks.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"

namespace usl::platform {

// Empties the capability bounding set where CAP_SETPCAP is there (so before DropUser), so that uid 0 regains nothing.
void DropBoundingSet();
// Gives up every capability: permitted, effective, inheritable, ambient. For good under no_new_privs.
Result<void> DropCapabilities();
// Becomes uid and gid for good, with no supplementary groups. EPERM.
Result<void> DropUser(uid_t uid, gid_t gid);
// Signals in `ignored` (bit N-1) are ignored, all others default; none is blocked.
void ResetSignals(uint64_t ignored);
// Closes all fds from `first` on, except `keep` (-1 = none).
void CloseFrom(int first, int keep);

// ABI version of the host's Landlock, 0 = none. landlock_create_ruleset(2).
int LandlockAbi();
// From now on this process and its descendants execute nothing but `loader_fd` (O_PATH), and signal and connect to
// abstract sockets only among themselves (ABI 6). Needs no_new_privs. Returns the ABI, 0 if the host has none.
Result<int> RestrictWithLandlock(int loader_fd);

}  // namespace usl::platform
