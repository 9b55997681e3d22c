#include "cli/run_arguments.h"
#include "manager/instance.h"

namespace usl::cli {

Command AddRun(CLI::App& parser) {
  CLI::App* app =
      parser.add_subcommand("run", "Run a command in a root file system, or in a copy-on-write view of this machine's");
  auto arguments = std::make_shared<RunArguments>();
  AddRunOptions(*app, *arguments);
  return {app,
          [arguments](const std::vector<std::string>& rest) {
            return RunChecked(*arguments, rest,
                              [](const manager::RunOptions& options) { return manager::RunInstance(options); });
          },
          true};
}

}  // namespace usl::cli
