// The options that `run` and `trace` share.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "manager/run_options.h"

namespace usl::cli {

// What the parser fills: the options, and texts that are checked afterwards.
struct RunArguments {
  manager::RunOptions options;
  std::vector<std::string> volumes;
  std::string network = "host";
};

void AddRunOptions(CLI::App& app, RunArguments& arguments);

// Checks the texts, puts the command in and calls `run` with the result; 125 after a line on standard error.
int RunChecked(RunArguments arguments, const std::vector<std::string>& command,
               const std::function<int(const manager::RunOptions&)>& run);

}  // namespace usl::cli
