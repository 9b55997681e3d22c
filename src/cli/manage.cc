#include <memory>

#include "base/format.h"
#include "cli/commands.h"
#include "cli/distribution_support.h"

namespace usl::cli {

Command AddManage(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("manage", "Change how a distribution is kept");
  struct Options {
    std::string name, user;
  };
  auto options = std::make_shared<Options>();
  app->add_option("name", options->name, "Which one; it must not run")->required()->type_name("NAME");
  app->add_option("--set-default-user", options->user, "Who commands run as when nobody is named; empty: root")
      ->required()
      ->type_name("USER");
  return {.app = app, .action = [options](const std::vector<std::string>&) {
            std::string why;
            const manager::Distributions distributions(manager::Registry::OfUser());
            return distributions.SetDefaultUser(options->name, options->user, &why) ? 0 : Fail(why);
          }};
}

}  // namespace usl::cli
