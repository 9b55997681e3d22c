// The client's side of instances that can be joined: sessions in them, their state and their end.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "manager/instance.h"
#include "manager/instance_state.h"

namespace usl::manager {

// A session that a user asks for.
struct JoinOptions {
  std::string user;                      // NAME|UID[:GROUP|GID]; empty = the distribution's default
  std::string directory;                 // empty = the current one's counterpart, or else the home; "~" = the home
  std::vector<std::string> environment;  // NAME=VALUE, or NAME for the host's value
  std::vector<std::string> command;
  bool user_shell = false;   // the command is a line for the user's shell; without a command it is that shell
  bool login_shell = false;  // as a login shell
  bool terminal = false;     // a pty even where standard input or output is none
  bool detached = false;     // goes on without this process, prints to the instance's log
};

// Runs a session in the instance `key` and returns its exit status as a shell would give it. Where the instance does
// not run it is started as `spec` says; with none that is an error. A detached session is only started: 0. USL's own
// failures are 125 after one line on standard error. Call it while the process is single-threaded.
int RunSession(const std::string& key, const InstanceSpec* spec, const JoinOptions& options);

// Starts the instance where it does not run. 0, or 125 after a line on standard error.
int EnsureStarted(const InstanceSpec& spec);

// Ends it and waits until it is gone: SIGTERM, and SIGKILL after the grace (0: at once). ENOENT: it does not run.
Result<void> StopInstance(const std::string& key, int grace_milliseconds);

// Ends it, as StopInstance, if it only waits for its idle time to pass. False: it is used, or it does not run.
bool EndIdleInstance(const std::string& key);

// ENOENT: it does not run. ETIMEDOUT, ECONNRESET, EBADMSG: its supervisor does not answer.
Result<InstanceState> AskState(const std::string& key);
// Of all that run.
std::vector<InstanceState> RunningInstances();

}  // namespace usl::manager
