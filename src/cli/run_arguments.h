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
  std::string distribution;
  std::vector<std::string> volumes;
  std::vector<std::string> binds;
  std::vector<std::string> shares;
  std::string network = "host";
  std::string interop;  // off|all|PROGRAM,...; empty: the configuration's
  bool ssh_agent = false;
};

void AddRunOptions(CLI::App& app, RunArguments& arguments);
// Those of them that say where the guest's files are: --rootfs, -d, -v, --bind, --here.
void AddTreeOptions(CLI::App& app, RunArguments& arguments);
// Checks the texts and fills the options from them. An empty line when all is well, else why not.
std::string CheckRunArguments(RunArguments& arguments);

// Checks the texts, locks the distribution while it runs, puts the command in and calls `run` with the result; 125
// after a line on standard error.
int RunChecked(RunArguments arguments, const std::vector<std::string>& command,
               const std::function<int(const manager::RunOptions&)>& run);

}  // namespace usl::cli
