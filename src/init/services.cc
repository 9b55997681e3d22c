#include "init/services.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "init/session.h"

namespace usl::init {
namespace {

// A service that ends at once is started again after this long, doubled each time, up to the second.
constexpr int64_t kFirstDelay = 500;
constexpr int64_t kLastDelay = 60'000;
// One that ran this long is a healthy one: the next restart is quick again.
constexpr int64_t kHealthy = 30'000;
// A log that is larger when its service starts is put aside as NAME.log.1.
constexpr off_t kLogLimit = 4 << 20;

void Say(const std::string& text) {
  const std::string line = "usl: init: " + text + "\n";
  // The instance's log; nothing is left to tell it to if that fails.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

std::string Ending(int status) {
  if (WIFSIGNALED(status)) return "was killed by signal " + std::to_string(WTERMSIG(status));
  return "ended with status " + std::to_string(WEXITSTATUS(status));
}

UniqueFd OpenLog(const std::string& directory, const std::string& name) {
  mkdir("/var", 0755);
  mkdir("/var/log", 0755);
  mkdir(directory.c_str(), 0755);
  const std::string path = directory + "/" + name + ".log";
  struct stat status;
  if (stat(path.c_str(), &status) == 0 && status.st_size > kLogLimit) rename(path.c_str(), (path + ".1").c_str());
  UniqueFd log(open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640));
  if (!log) Say("cannot write " + path + "; what \"" + name + "\" prints goes to the instance's log");
  return log;
}

}  // namespace

void Services::Begin(protocol::BootPlan plan) {
  plan_ = std::move(plan);
  states_.resize(plan_.services.size());
  const bool nothing = plan_.command.empty() && plan_.scripts.empty() && plan_.services.empty();
  step_ = nothing ? Step::kDone : Step::kCommand;
}

pid_t Services::Run(const std::string& name, const std::vector<std::string>& argv, const std::string& user) {
  protocol::LaunchRequest request;
  request.flags = protocol::kLaunchFindUser;
  request.user = user;
  request.cwd = "/";
  request.argv = argv;
  const UniqueFd log = OpenLog(log_directory_, name);
  const int output = log ? log.get() : STDERR_FILENO;
  const UniqueFd stdio[3] = {UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)),
                             UniqueFd(fcntl(output, F_DUPFD_CLOEXEC, 3)), UniqueFd(fcntl(output, F_DUPFD_CLOEXEC, 3))};
  const auto pid = StartSession(request, stdio);
  if (pid) return *pid;
  Say("cannot fork for \"" + name + "\"");
  return 0;
}

void Services::Advance(int64_t now) {
  if (step_ == Step::kStopping) return StopNext();
  if (step_ != Step::kDone && step_pid_ == 0) StartNextStep(now);
  for (size_t i = 0; i < states_.size(); ++i) {
    if (states_[i].restart_at <= now) StartService(i, now);
  }
}

void Services::StartNextStep(int64_t now) {
  if (step_ == Step::kCommand) {
    step_ = Step::kScripts;
    if (!plan_.command.empty()) step_pid_ = Run("boot", {"/bin/sh", "-c", plan_.command}, "0");
  }
  while (step_ == Step::kScripts && step_pid_ == 0 && next_script_ < plan_.scripts.size()) {
    const std::string& name = plan_.scripts[next_script_];
    step_pid_ = Run(name, {script_directory_ + "/" + name, "start"}, "0");
    started_.push_back({true, next_script_++});
  }
  if (step_pid_ != 0) return;
  step_ = Step::kDone;
  for (size_t i = 0; i < states_.size(); ++i) {
    started_.push_back({false, i});
    StartService(i, now);
  }
}

void Services::StartService(size_t index, int64_t now) {
  const protocol::Service& service = plan_.services[index];
  State& state = states_[index];
  state.restart_at = kNever;
  state.started = now;
  state.pid = Run(service.name, {"/bin/sh", "-c", service.command}, service.user.empty() ? "0" : service.user);
  if (state.pid != 0 || service.restart == protocol::Restart::kNever) return;
  // It could not be forked: later, like one that ended badly.
  state.delay = state.delay == 0 ? kFirstDelay : std::min(state.delay * 2, kLastDelay);
  state.restart_at = now + state.delay;
}

bool Services::OnExit(pid_t pid, int status, int64_t now) {
  const bool bad = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
  if (pid == step_pid_) {
    const std::string name = next_script_ == 0 ? "the boot command" : "\"" + plan_.scripts[next_script_ - 1] + "\"";
    if (bad && step_ != Step::kStopping) Say(name + " " + Ending(status));
    step_pid_ = 0;
    return true;
  }
  const auto found = std::ranges::find(states_, pid, &State::pid);
  if (found == states_.end()) return false;
  found->pid = 0;
  if (step_ == Step::kStopping) return true;
  const protocol::Service& service = plan_.services[static_cast<size_t>(found - states_.begin())];
  const bool again =
      service.restart == protocol::Restart::kAlways || (service.restart == protocol::Restart::kOnFailure && bad);
  if (again) {
    const bool healthy = now - found->started >= kHealthy;
    found->delay = healthy || found->delay == 0 ? kFirstDelay : std::min(found->delay * 2, kLastDelay);
    found->restart_at = now + found->delay;
  }
  Say("the service \"" + service.name + "\" " + Ending(status) +
      (again ? "; it is started again in " + std::to_string(found->delay) + " ms" : ""));
  return true;
}

int64_t Services::WakeTime() const {
  int64_t wake = kNever;
  if (step_ != Step::kStopping) {
    for (const State& state : states_) wake = std::min(wake, state.restart_at);
  }
  return wake;
}

void Services::BeginStop() {
  if (step_ == Step::kStopping) return;
  for (State& state : states_) state.restart_at = kNever;
  if (step_pid_ != 0) kill(-step_pid_, SIGTERM);  // what was just being started
  step_ = Step::kStopping;
}

void Services::StopNext() {
  while (step_pid_ == 0 && !started_.empty()) {
    const Started last = started_.back();
    if (!last.script) {
      State& state = states_[last.index];
      if (state.pid != 0) {
        // Once: the deadline of the whole shutdown is for those that do not listen.
        if (!state.told_to_end) kill(-state.pid, SIGTERM), kill(-state.pid, SIGCONT);
        state.told_to_end = true;
        return;
      }
      started_.pop_back();
      continue;
    }
    started_.pop_back();
    const std::string& name = plan_.scripts[last.index];
    step_pid_ = Run(name, {script_directory_ + "/" + name, "stop"}, "0");
  }
  if (step_pid_ == 0 && started_.empty()) step_ = Step::kDone;
}

}  // namespace usl::init
