// Starting the first pico process of an instance.
#pragma once

#include <linux/filter.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "platform/listener.h"
#include "platform/pico_page.h"

namespace usl::platform {

struct LaunchOptions {
  const PicoPage* pico = nullptr;
  std::vector<sock_filter> filter;   // see filter.h
  bool filter_notifies_all = false;  // it was built with FilterOptions::trace_all
  std::vector<std::string> argv;     // handed to the loader; the kernel's exec plan may change them
  std::vector<std::string> envp;
  std::array<int, 3> stdio{0, 1, 2};  // host fds that become 0, 1, 2; -1 = /dev/null
  std::string empty_dir = "/";        // native working directory (RuntimeDir::EmptyPath)
  // With a terminal at stdio[0] that should become the controlling one of the new session (a pty of USL's own).
  bool controlling_terminal = false;
  // Off: the process stays in the caller's session and process group (the user's terminal is passed through).
  bool new_session = true;
  bool die_with_parent = true;   // PR_SET_PDEATHSIG(SIGKILL): when the THREAD that launches ends
  uint64_t token = 0;            // its task token (task_token.h), set before it runs
  std::optional<rlimit> nofile;  // RLIMIT_NOFILE of the guest, see RaiseFileLimit; none = as it is
  std::optional<uint64_t> data;  // RLIMIT_DATA in bytes, soft and hard; none = as it is
  uint64_t ignored_signals = 0;  // bit N-1: signal N stays ignored (nohup); all others start with their default
  std::optional<uid_t> uid;      // for a USL that root started: the user to become (with gid and no groups)
  std::optional<gid_t> gid;
  bool landlock = true;     // extra wall where the host has it: EXECUTE on the loader only, scopes
  std::string loader_path;  // for that; must be a file (RuntimeDir::loader_is_file)
};

struct LaunchedInit {
  pid_t pid = 0;  // a child of the caller: reap it
  UniqueFd pidfd;
  Listener listener;
  int landlock_abi = 0;  // 0: the extra wall is not there
};

// Forks and starts it, up to and including its native execve of the pico page: when this returns, the loader runs or
// has already asked for its plan, so register a pending exec for `pid` before receiving. Call it while the process is
// still single-threaded, from a thread that lives as long as the instance. Errors, told in `why` as one line for
// people: EBUSY: under another seccomp notifier (USL inside USL); EINVAL: no WAIT_KILLABLE_RECV (before Linux 5.19);
// EACCES: the loader cannot be executed; EEXIST/EPERM: the pico base is taken or below vm.mmap_min_addr; others as of
// the failing call.
Result<LaunchedInit> LaunchFirstProcess(const LaunchOptions& options, std::string* why);

// Raises this process's RLIMIT_NOFILE to its hard limit and returns what it was.
Result<rlimit> RaiseFileLimit();

}  // namespace usl::platform
