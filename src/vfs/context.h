// On whose behalf a path is walked: credentials, root, working directory, umask and who asks (for /proc/self).
#pragma once

#include <sys/types.h>

#include "cred/credentials.h"
#include "vfs/path.h"

namespace usl::vfs {

struct Context {
  const cred::Credentials& credentials;
  Path root;
  Path cwd;
  mode_t umask = 022;
  pid_t thread_group = 0;  // host numbers; what /proc/self and /proc/thread-self mean
  pid_t thread = 0;
  // The caller's pidfd or -1: the way to its own descriptors through /proc/self/fd and /dev/fd.
  int pidfd = -1;
};

}  // namespace usl::vfs
