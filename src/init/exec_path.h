// Executing a command by name as a shell does.
#pragma once

#include <string>
#include <vector>

namespace usl::init {

// How a command that could not be executed ends: shells' exit statuses and the message without "usl: ".
struct ExecFailure {
  int exit_status = 127;  // 127: not found; 126: found, but it cannot be executed
  std::string message;
};

// Replaces the process with `argv` (at least one element) and the environment `env`. A name without a slash is searched
// in the PATH of `env` (without one: the usual six directories); a file that is neither ELF nor has a "#!" line is
// given to /bin/sh, as execvp(3) does. With `login_shell` argv[0] becomes "-NAME". Returns only on failure.
ExecFailure ExecuteCommand(const std::vector<std::string>& argv, const std::vector<std::string>& env, bool login_shell);

}  // namespace usl::init
