#include "cli/run_arguments.h"
#include "manager/instance.h"

namespace usl::cli {

Command AddTrace(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("trace", "Like run, and print each system call that USL sees");
  auto arguments = std::make_shared<RunArguments>();
  AddRunOptions(*app, *arguments);
  app->add_option("-o,--output", arguments->options.trace_file, "Write the lines to FILE instead of standard error")
      ->type_name("FILE");
  arguments->options.trace = true;
  return {app,
          [arguments](const std::vector<std::string>& rest) {
            return RunChecked(*arguments, rest,
                              [](const manager::RunOptions& options) { return manager::RunInstance(options); });
          },
          true};
}

}  // namespace usl::cli
