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
#include "protocol/accounts.h"

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

// A regular file's text, cut at what no sane account file reaches; empty where it cannot be read.
std::string ReadText(const char* path) {
  constexpr size_t kLimit = 16 << 20;
  const UniqueFd fd(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  std::string text;
  char buffer[8192];
  ssize_t size;
  while (text.size() < kLimit && (size = read(fd.get(), buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<size_t>(size));
  }
  return text;
}

void SetDefault(std::vector<std::string>& environment, const std::string& entry) {
  const std::string_view name(entry.data(), entry.find('=') + 1);
  for (const std::string& set : environment) {
    if (set.starts_with(name)) return;
  }
  environment.push_back(entry);
}

// The account's ids, environment, directory and shell, where the request leaves them to it.
void FindUser(protocol::LaunchRequest& request) {
  protocol::Account account;
  std::string why;
  if (!protocol::ResolveAccount(request.user, ReadText("/etc/passwd"), ReadText("/etc/group"), &account, &why)) {
    Die(kSetupFailed, why);
  }
  request.uid = account.uid;
  request.gid = account.gid;
  request.groups = account.groups;
  for (const std::string& entry : protocol::AccountEnvironment(account)) SetDefault(request.env, entry);
  if (request.cwd.empty()) {
    request.cwd = account.home;
    request.flags |= protocol::kLaunchHostDirectory;  // a home that is missing is no reason not to log in
  }
  if (!(request.flags & protocol::kLaunchUserShell)) return;
  const std::string shell = access(account.shell.c_str(), F_OK) == 0 ? account.shell : "/bin/sh";
  if (request.argv.empty()) {
    request.argv = {shell};
    return;
  }
  std::string line;
  for (const std::string& word : request.argv) line += (line.empty() ? "" : " ") + word;
  request.argv = {shell, "-c", line};
}

void EnterDirectory(const protocol::LaunchRequest& request) {
  if (chdir(request.cwd.c_str()) == 0) return;
  if (!(request.flags & protocol::kLaunchHostDirectory)) {
    DieOf("cannot enter the working directory \"" + request.cwd + "\"");
  }
  for (const std::string& entry : request.env) {
    if (entry.starts_with("HOME=") && chdir(entry.c_str() + 5) == 0) return;
  }
  if (chdir("/") < 0) DieOf("cannot enter \"/\"");
}

[[noreturn]] void RunChild(protocol::LaunchRequest request, std::span<const UniqueFd, 3> stdio) {
  ResetSignals();
  PlaceStdio(stdio);
  if (setsid() < 0) DieOf("cannot start a session");
  if ((request.flags & protocol::kLaunchControllingTerminal) && ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0) {
    DieOf("cannot make the terminal the session's own");
  }
  umask(request.umask);
  if (request.flags & protocol::kLaunchFindUser) {
    FindUser(request);
    // As login(1) does. Not worth a session: the user's own programs have the terminal open anyway.
    if (request.flags & protocol::kLaunchControllingTerminal) {
      [[maybe_unused]] const int given = fchown(STDIN_FILENO, request.uid, static_cast<gid_t>(-1));
    }
  }
  BecomeUser(request);
  EnterDirectory(request);
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
