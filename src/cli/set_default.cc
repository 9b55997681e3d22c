#include <memory>

#include "cli/commands.h"
#include "cli/distribution_support.h"

namespace usl::cli {

Command AddSetDefault(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("set-default", "Make a distribution the one that is used when none is named");
  auto name = std::make_shared<std::string>();
  app->add_option("name", *name, "Which one")->required()->type_name("NAME");
  return {.app = app, .action = [name](const std::vector<std::string>&) {
            std::string why;
            const manager::Distributions distributions(manager::Registry::OfUser());
            return distributions.SetDefault(*name, &why) ? 0 : Fail(why);
          }};
}

}  // namespace usl::cli
