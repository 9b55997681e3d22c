#include <memory>

#include "cli/commands.h"
#include "cli/distribution_support.h"

namespace usl::cli {
namespace {

struct Names {
  std::string name, new_name;
};

std::shared_ptr<Names> AddNames(CLI::App& app) {
  auto names = std::make_shared<Names>();
  app.add_option("name", names->name, "Which one; it must not run")->required()->type_name("NAME");
  app.add_option("new-name", names->new_name, "The new name")->required()->type_name("NEW");
  return names;
}

}  // namespace

Command AddRename(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("rename", "Give a distribution another name");
  const auto names = AddNames(*app);
  return {.app = app, .action = [names](const std::vector<std::string>&) {
            std::string why;
            const manager::Distributions distributions(manager::Registry::OfUser());
            return distributions.Rename(names->name, names->new_name, &why) ? 0 : Fail(why);
          }};
}

Command AddClone(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("clone", "Make a second distribution like one, at once and without copying");
  const auto names = AddNames(*app);
  return {.app = app, .action = [names](const std::vector<std::string>&) {
            std::string why;
            const manager::Distributions distributions(manager::Registry::OfUser());
            return distributions.Clone(names->name, names->new_name, &why) ? 0 : Fail(why);
          }};
}

}  // namespace usl::cli
