// Plays the USL kernel's part in an exec, by nothing but seccomp's user notification: enough to start programs through
// the real loader in a test.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "protocol/exec_plan.h"

namespace usl::loader_test {

struct Start {
  std::string program;  // host path
  std::vector<std::string> argv{"probe"};
  std::vector<std::string> envp;
  std::vector<std::string> prefix;
  uint32_t drop = 0;
  std::string execfn = "/guest/program";
  std::vector<protocol::AuxPatch> aux;
  uint64_t pico_base = protocol::kDefaultPicoBase;
  // A notified execve or execveat of the program: it is sent through the pico page's stub, which is answered so. A 0 or
  // 1 goes on to start `stub_program`.
  long stub_answer = 0;
  std::string stub_program;
  std::function<void(protocol::ExecPlan&)> change_plan;
};

struct Outcome {
  int status = -1;  // of waitpid
  std::string output;
  int hypercalls = 0;
  int stub_calls = 0;
  std::map<std::string, std::string> values;  // key=value lines of the output
};

// Runs to the end. Throws std::runtime_error if the harness itself fails.
Outcome RunGuest(const Start& start);

}  // namespace usl::loader_test
