#include <cstdio>
#include <ctime>
#include <memory>

#include "base/format.h"
#include "cli/commands.h"
#include "cli/distribution_support.h"
#include "manager/distribution_lock.h"

namespace usl::cli {
namespace {

struct SnapshotOptions {
  std::string name, snapshot, drop;
  bool list = false;
};

int ListSnapshots(const manager::Distributions& distributions, const std::string& name) {
  std::string why;
  const auto data = distributions.registry().Read(&why);
  if (!data) return Fail(why);
  const manager::Distribution* distribution = data->Find(name);
  if (!distribution) return Fail(manager::ExplainNoDistribution(*data, name));
  for (const manager::Snapshot& snapshot : distribution->snapshots) {
    const time_t created = snapshot.created;
    tm parts;
    char text[32] = "";
    if (gmtime_r(&created, &parts)) strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
    printf("%s\t%s\n", snapshot.name.c_str(), text);
  }
  return 0;
}

int TakeSnapshot(const SnapshotOptions& options) {
  std::string why;
  const manager::Distributions distributions(manager::Registry::OfUser());
  if (options.list) return ListSnapshots(distributions, options.name);
  if (!options.drop.empty()) return distributions.DropSnapshot(options.name, options.drop, &why) ? 0 : Fail(why);
  const auto name = distributions.TakeSnapshot(options.name, options.snapshot, &why);
  if (!name) return Fail(why);
  puts(name->c_str());
  return 0;
}

}  // namespace

Command AddSnapshot(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("snapshot", "Keep the present state of a distribution under a name");
  auto options = std::make_shared<SnapshotOptions>();
  app->add_option("name", options->name, "Which one; it must not run")->required()->type_name("NAME");
  app->add_option("snapshot", options->snapshot, "The state's name (default: date and time)")->type_name("SNAPSHOT");
  CLI::Option* list = app->add_flag("-l,--list", options->list, "List the snapshots instead");
  app->add_option("--delete", options->drop, "Forget this snapshot instead; the distribution stays as it is")
      ->type_name("SNAPSHOT")
      ->excludes(list);
  return {.app = app, .action = [options](const std::vector<std::string>&) { return TakeSnapshot(*options); }};
}

Command AddRollback(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("rollback", "Return a distribution to a snapshot; what changed since is lost");
  struct Options {
    std::string name, snapshot;
  };
  auto options = std::make_shared<Options>();
  app->add_option("name", options->name, "Which one; it must not run")->required()->type_name("NAME");
  app->add_option("snapshot", options->snapshot, "The snapshot (default: the latest)")->type_name("SNAPSHOT");
  return {.app = app, .action = [options](const std::vector<std::string>&) {
            std::string why;
            const manager::Distributions distributions(manager::Registry::OfUser());
            const auto used = distributions.RollBack(options->name, options->snapshot, &why);
            if (!used) return Fail(why);
            puts(used->c_str());
            return 0;
          }};
}

}  // namespace usl::cli
