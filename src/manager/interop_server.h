// Programs of the host for a guest that may have them (docs/interop.md). What runs is the host user's, outside of the
// sandbox: a hole that the user opens by interop.policy, which no file of the guest can widen (config.h).
//
// The server is a child of the kernel process, in it no guest code ever runs. Each connection has a process of its own.
// Its packets are a hostile guest's.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "manager/config.h"
#include "manager/path_map.h"

namespace usl::manager {

struct InteropOptions {
  InteropPolicy policy = InteropPolicy::kOff;
  std::vector<std::string> allow;  // of the policy "list"
  std::string directory;           // private, of the host, that the guest sees as /run/usl/interop
  PathMap paths;                   // of guest and host directories
  std::string ssh_agent;           // the host's agent's socket; empty: none is passed on
  mode_t umask = 022;              // the host user's
};

// What of the host's environment, and of the guest's, a host program gets. Only with kAll a guest's variables count
// (those of USLENV), as one like LD_PRELOAD makes any program another; its terminal's kind counts always.
std::vector<std::string> InteropEnvironment(const std::vector<std::string>& host, const std::vector<std::string>& guest,
                                            const InteropOptions& options);

// The host file to execute for a guest's argv[0]: found in `path` (PATH; parts that are not absolute are passed over),
// or with kAll as it stands when it has a slash. EACCES: the policy does not allow it; ENOENT.
Result<std::string> FindInteropProgram(const std::string& program, const std::string& path,
                                       const InteropOptions& options);

// Listens and forks the server, which ends with its parent's KillDescendants or when the parent dies. Errors of
// bind(2), fork(2), with a line in `why`. Call it while the process is single-threaded.
Result<pid_t> StartInteropServer(const InteropOptions& options, std::string* why);

}  // namespace usl::manager
