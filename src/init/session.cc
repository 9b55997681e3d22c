#include "init/session.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <string>

#include "init/exec_path.h"

namespace usl::init {
namespace {

[[noreturn]] void Die(int exit_status, const std::string& message) {
  const std::string line = "usl: " + message + "\n";
  // Nothing is left to tell it to if that fails.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  _exit(exit_status);
}

[[noreturn]] void DieOf(const std::string& what) {
  const int error = errno;
  Die(kSetupFailed, what + ": " + strerror(error));
}

// Puts the three descriptors at 0, 1, 2, whatever their numbers are now.
void PlaceStdio(std::span<const UniqueFd, 3> stdio) {
  int high[3];
  for (int i = 0; i < 3; ++i) {
    high[i] = fcntl(stdio[i].get(), F_DUPFD_CLOEXEC, 3);
    if (high[i] < 0) DieOf("cannot duplicate a standard descriptor");
  }
  for (int i = 0; i < 3; ++i) {
    if (dup2(high[i], i) < 0) DieOf("cannot place a standard descriptor");
  }
}

void ResetSignals() {
  for (int signal = 1; signal < NSIG; ++signal) {
    if (signal != SIGKILL && signal != SIGSTOP) std::signal(signal, SIG_DFL);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

void BecomeUser(const protocol::LaunchRequest& request) {
  const std::string who = std::to_string(request.uid) + ":" + std::to_string(request.gid);
  if (setgroups(request.groups.size(), request.groups.data()) < 0) DieOf("cannot set the groups of user " + who);
  if (setresgid(request.gid, request.gid, request.gid) < 0) DieOf("cannot become group of user " + who);
  if (setresuid(request.uid, request.uid, request.uid) < 0) DieOf("cannot become user " + who);
}

[[noreturn]] void RunChild(const protocol::LaunchRequest& request, std::span<const UniqueFd, 3> stdio) {
  ResetSignals();
  PlaceStdio(stdio);
  if (setsid() < 0) DieOf("cannot start a session");
  if ((request.flags & protocol::kLaunchControllingTerminal) && ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0) {
    DieOf("cannot make the terminal the session's own");
  }
  umask(request.umask);
  BecomeUser(request);
  if (chdir(request.cwd.c_str()) < 0) DieOf("cannot enter the working directory \"" + request.cwd + "\"");
  const ExecFailure failure =
      ExecuteCommand(request.argv, request.env, (request.flags & protocol::kLaunchLoginShell) != 0);
  Die(failure.exit_status, failure.message);
}

}  // namespace

Result<pid_t> StartSession(const protocol::LaunchRequest& request, std::span<const UniqueFd, 3> stdio) {
  const pid_t pid = fork();
  if (pid < 0) return FailErrno();
  if (pid == 0) RunChild(request, stdio);
  return pid;
}

}  // namespace usl::init
