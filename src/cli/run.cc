#include "base/format.h"
#include "cli/instance_support.h"
#include "cli/run_arguments.h"
#include "manager/instance.h"
#include "manager/registry.h"

namespace usl::cli {
namespace {

// In a distribution, and nothing is asked for that is not its instance's to have: then the command joins that.
bool IsPlainSession(const RunArguments& arguments) {
  const manager::RunOptions& options = arguments.options;
  return !arguments.distribution.empty() && arguments.volumes.empty() && arguments.binds.empty() &&
         arguments.shares.empty() && options.publish.empty() && !options.here && arguments.network == "host" &&
         arguments.allow_out.empty() && arguments.allow_in.empty() && arguments.pids.empty() &&
         arguments.memory.empty() && arguments.cpus.empty() && arguments.interop.empty() && !arguments.ssh_agent &&
         options.host_name.empty() && options.name == manager::RunOptions().name;
}

int RunSession(RunArguments arguments, const std::vector<std::string>& command) {
  std::string why = CheckRunArguments(arguments);
  if (!why.empty()) return Refuse(why);
  const auto target = FindTarget(arguments.distribution, &why);
  if (!target) return Refuse(why);
  const manager::RunOptions& options = arguments.options;
  return manager::RunSession(target->key, target->Spec(),
                             {.user = options.user,
                              .directory = options.working_directory.empty() ? "~" : options.working_directory,
                              .environment = options.environment,
                              .command = command,
                              .user_shell = command.empty(),
                              .login_shell = command.empty(),
                              .terminal = options.terminal});
}

int RunDetached(const manager::RunOptions& options) {
  if (options.command.empty()) return Refuse("run: --detach wants a command");
  std::string why;
  const auto data = manager::Registry::OfUser().Read(&why);
  if (!data) return Refuse(why);
  if (data->Find(options.name) || manager::AskState(options.name)) {
    return Refuse(format("the name \"{}\" is taken; give another by --name", options.name));
  }
  manager::InstanceSpec spec{
      .key = options.name, .distribution = {}, .options = options, .must_start = true, .idle_milliseconds = 0};
  return manager::RunSession(
      spec.key, &spec,
      {.user = options.user,
       .directory = options.working_directory.empty() && !options.here ? "~" : options.working_directory,
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
      ->needs("--name")
      ->excludes("--tty");
  return {app,
          [arguments, detach](const std::vector<std::string>& rest) {
            if (!*detach && IsPlainSession(*arguments)) return RunSession(*arguments, rest);
            return RunChecked(*arguments, rest, [&](const manager::RunOptions& options) {
              return *detach ? RunDetached(options) : manager::RunInstance(options);
            });
          },
          true};
}

}  // namespace usl::cli
