// Starting instances: one run of `usl run`, from the options to the exit status, and those that can be joined.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "manager/instance_place.h"
#include "manager/run_options.h"

namespace usl::manager {

// Starts an instance, runs the one session in it and tears everything down again. Returns the exit status of the
// command (128 + n for signals; 126 and 127 as shells), or 125 after one line on standard error that says what USL
// could not do. Call it while the process is single-threaded.
int RunInstance(const RunOptions& options);

// Daemons in a tree that is kept get this long to end after SIGTERM; a view that is thrown away needs no such care.
inline constexpr int kGraceMilliseconds = 2000;

// Opens /dev/null until three descriptors are open at least, so that none of ours takes the place of a closed standard
// one.
void FillStandardDescriptors();

// An instance that can be joined: what runs, and under which key it is found.
struct InstanceSpec {
  std::string key;  // IsValidName; a distribution's id, or the name of what runs without one
  // A distribution's name: its trees and defaults are put into the options under its lock, when the instance starts.
  std::string distribution;
  // Its command, user and working directory mean nothing; its environment is what each session gets before its own.
  RunOptions options;
  bool must_start = false;                   // it is an error if one of that key runs already
  std::optional<int32_t> idle_milliseconds;  // instead of the configuration's; negative: never ends by itself
};

// Forks the supervisor of the instance into a session of its own, with no hold on the caller's descriptors, and waits
// until clients can connect. The caller holds both locks of `place`; the life lock goes on with the supervisor. False
// after the lines that say why it failed are on standard error. Call it while the process is single-threaded.
bool StartInstance(const InstanceSpec& spec, const InstancePlace& place);

}  // namespace usl::manager
