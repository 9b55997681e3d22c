#include "base/format.h"
#include "cli/instance_support.h"
#include "cli/run_arguments.h"
#include "manager/instance.h"
#include "manager/registry.h"

namespace usl::cli {
namespace {

int RunDetached(const manager::RunOptions& options) {
  if (options.command.empty()) return Refuse("run: --detach wants a command");
  std::string why;
  const auto data = manager::Registry::OfUser().Read(&why);
  if (!data) return Refuse(why);
  if (data->Find(options.name) || manager::AskState(options.name)) {
    return Refuse(format("the name \"{}\" is taken; give another by --name", options.name));
  }
  manager::InstanceSpec spec{.key = options.name, .distribution = {}, .options = options, .idle_milliseconds = 0};
  return manager::RunSession(
      spec.key, &spec,
      {.user = options.user,
       .directory = options.working_directory.empty() && !options.here ? "~" : options.working_directory,
       .environment = options.environment,
       .command = options.command,
       .detached = true});
}

}  // namespace

Command AddRun(CLI::App& parser) {
  CLI::App* app =
      parser.add_subcommand("run", "Run a command in a root file system, or in a copy-on-write view of this machine's");
  auto arguments = std::make_shared<RunArguments>();
  AddRunOptions(*app, *arguments);
  auto detach = std::make_shared<bool>(false);
  app->add_flag("--detach", *detach,
                "Do not wait for the command: run it in an instance that `usl exec` and `usl stop` find by --name, and "
                "that ends with it; what it prints goes to `usl logs`")
      ->needs("--name");
  return {app,
          [arguments, detach](const std::vector<std::string>& rest) {
            return RunChecked(*arguments, rest, [&](const manager::RunOptions& options) {
              return *detach ? RunDetached(options) : manager::RunInstance(options);
            });
          },
          true};
}

}  // namespace usl::cli
