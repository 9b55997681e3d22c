#include <memory>

#include "cli/commands.h"
#include "cli/distribution_support.h"

namespace usl::cli {

Command AddRemove(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("remove", "Remove a distribution with all its files, without asking");
  auto name = std::make_shared<std::string>();
  app->add_option("name", *name, "Which one; it must not run")->required()->type_name("NAME");
  return {.app = app, .action = [name](const std::vector<std::string>&) {
            std::string why;
            const manager::Distributions distributions(manager::Registry::OfUser());
            return distributions.Remove(*name, &why) ? 0 : Fail(why);
          }};
}

}  // namespace usl::cli
