// `usl start`, `stop`, `kill`, `shutdown`: the life of instances.
#include <cstring>

#include "base/format.h"
#include "cli/instance_commands.h"
#include "cli/instance_support.h"

namespace usl::cli {
namespace {

constexpr int kDefaultGraceSeconds = 10;
constexpr int kLongestGraceSeconds = 3600;

// Ends those that run under the names; what does not run is told, and is no failure.
int Stop(const std::vector<std::string>& names, int grace_milliseconds) {
  int status = 0;
  for (const std::string& name : names) {
    std::string why;
    const auto target = FindTarget(name, &why);
    if (!target) {
      status = Refuse(why);
      continue;
    }
    const auto stopped = manager::StopInstance(target->key, grace_milliseconds);
    if (!stopped && stopped.error().code() == ENOENT) {
      fprintf(stderr, "usl: \"%s\" is not running\n", target->name.c_str());
    } else if (!stopped) {
      status = Refuse(format("cannot stop \"{}\": {}", target->name, strerror(stopped.error().code())));
    }
  }
  return status;
}

Command AddEnd(CLI::App& parser, const char* name, const char* what, bool with_grace) {
  CLI::App* app = parser.add_subcommand(name, what);
  struct Options {
    std::vector<std::string> names;
    int seconds = 0;
  };
  auto options = std::make_shared<Options>();
  if (with_grace) {
    options->seconds = kDefaultGraceSeconds;
    app->add_option("-t,--time", options->seconds, "Seconds between SIGTERM and SIGKILL (default: 10)")
        ->type_name("SECONDS")
        ->check(CLI::Range(0, kLongestGraceSeconds));
  }
  app->add_option("names", options->names, "Distributions or instances")->type_name("NAME")->required();
  return {app, [options](const std::vector<std::string>&) { return Stop(options->names, options->seconds * 1000); }};
}

}  // namespace

Command AddStart(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("start", "Start a distribution and its services; it runs until it is stopped");
  auto name = std::make_shared<std::string>();
  app->add_option("name", *name, "The distribution (default: the default one)")->type_name("NAME");
  return {app, [name](const std::vector<std::string>&) {
            std::string why;
            auto target = FindTarget(*name, &why);
            if (!target) return Refuse(why);
            if (!target->spec) return 0;  // it runs
            target->spec->idle_milliseconds = -1;
            return manager::EnsureStarted(*target->spec);
          }};
}

Command AddStop(CLI::App& parser) {
  return AddEnd(parser, "stop", "End instances: SIGTERM, a while later SIGKILL", true);
}

Command AddKill(CLI::App& parser) {
  return AddEnd(parser, "kill", "End instances at once", false);
}

Command AddShutdown(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("shutdown", "End all instances of this user");
  auto force = std::make_shared<bool>(false);
  app->add_flag("--force", *force, "At once");
  return {app, [force](const std::vector<std::string>&) {
            int status = 0;
            for (const manager::InstanceState& state : manager::RunningInstances()) {
              const auto stopped = manager::StopInstance(state.key, *force ? 0 : kDefaultGraceSeconds * 1000);
              if (!stopped && stopped.error().code() != ENOENT) {
                status = Refuse(format("cannot stop \"{}\": {}", state.name, strerror(stopped.error().code())));
              }
            }
            return status;
          }};
}

std::vector<Command> AddInstanceCommands(CLI::App& parser) {
  return {AddShell(parser),  AddExec(parser), AddStart(parser), AddStop(parser), AddKill(parser), AddShutdown(parser),
          AddStatus(parser), AddPs(parser),   AddStats(parser), AddTop(parser),  AddLogs(parser)};
}

}  // namespace usl::cli
