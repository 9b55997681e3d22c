// What a distribution's configuration starts at boot: boot.command, then scripts of /etc/init.d, then services that
// init watches itself. All of it goes on beside the sessions; nothing here waits.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "protocol/boot_plan.h"

namespace usl::init {

inline constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

class Services {
 public:
  // `log_directory`: where each one's output is appended to NAME.log; made when it is missing.
  explicit Services(std::string log_directory = "/var/log/usl", std::string script_directory = "/etc/init.d")
      : log_directory_(std::move(log_directory)), script_directory_(std::move(script_directory)) {}

  // Takes the plan over; Advance starts the first step.
  void Begin(protocol::BootPlan plan);
  // Starts what is due at `now` (milliseconds of CLOCK_MONOTONIC).
  void Advance(int64_t now);
  // Is this child one of ours? Then it was noted how it ended.
  bool OnExit(pid_t pid, int status, int64_t now);
  // When Advance is to be called at the latest; kNever.
  int64_t WakeTime() const;
  // Is something being started, or waiting for its restart?
  bool busy() const { return step_ != Step::kDone || WakeTime() != kNever; }

  // From now on nothing is started again; Advance stops one after the other, in the reverse order of their start.
  void BeginStop();
  // Is something still to be stopped?
  bool stopping() const { return step_ == Step::kStopping; }

 private:
  enum class Step { kDone, kCommand, kScripts, kServices, kStopping };
  struct State {
    pid_t pid = 0;
    int64_t started = 0;
    int64_t restart_at = kNever;
    int64_t delay = 0;  // before the next restart
    bool told_to_end = false;
  };
  // Something to stop: a script (index < scripts) or a service.
  struct Started {
    bool script = false;
    size_t index = 0;
  };

  void StartNextStep(int64_t now);
  void StartService(size_t index, int64_t now);
  void StopNext();
  pid_t Run(const std::string& name, const std::vector<std::string>& argv, const std::string& user);

  std::string log_directory_;
  std::string script_directory_;
  protocol::BootPlan plan_;
  Step step_ = Step::kDone;
  pid_t step_pid_ = 0;  // of the command or script that is running
  size_t next_script_ = 0;
  std::vector<State> states_;  // of plan_.services
  std::vector<Started> started_;
};

}  // namespace usl::init
