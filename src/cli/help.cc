#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "manager/supervisor.h"

namespace usl::cli {

Command AddHelp(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("help", "Print help on USL or on one of its commands");
  auto topic = std::make_shared<std::string>();
  auto man = std::make_shared<bool>(false);
  app->add_option("command", *topic, "The command to tell about")->type_name("COMMAND");
  app->add_flag("--man", *man, "Print the manual page in roff");
  return {app, [&parser, topic, man](const std::vector<std::string>&) {
            if (*man) {
              fputs(ManPage(parser).c_str(), stdout);
              return 0;
            }
            const auto known = parser.get_subcommands([&](CLI::App* command) { return command->get_name() == *topic; });
            const CLI::App* about = topic->empty() ? &parser : known.empty() ? nullptr : known.front();
            if (!about) {
              fprintf(stderr, "usl: there is no command \"%s\"; `usl help` lists them\n", topic->c_str());
              return manager::kOwnFailure;
            }
            // The formatter puts the name of what was parsed in front; help's own topics need it spelled.
            fputs(about->help(topic->empty() ? "usl" : "usl " + *topic).c_str(), stdout);
            return 0;
          }};
}

}  // namespace usl::cli
