#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "manager/supervisor.h"

namespace usl::cli {

Command AddHelp(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("help", "Print help on USL or on one of its commands");
  auto man = std::make_shared<bool>(false);
  app->add_flag("--man", *man, "Print the manual page in roff");
  app->footer("Behind it stands the command to tell about.");
  // The topic is taken as a command is: CLI11 would take it for a second subcommand to run.
  return {app,
          [&parser, man](const std::vector<std::string>& rest) {
            if (*man) {
              fputs(ManPage(parser).c_str(), stdout);
              return 0;
            }
            if (rest.empty()) {
              fputs(CommandLine().parser.help().c_str(), stdout);
              return 0;
            }
            const auto found =
                parser.get_subcommands([&](CLI::App* command) { return command->get_name() == rest[0]; });
            if (found.empty()) {
              fprintf(stderr, "usl: there is no command \"%s\"; `usl help` lists them\n", rest[0].c_str());
              return manager::kOwnFailure;
            }
            fputs(found.front()->help("usl").c_str(), stdout);
            return 0;
          },
          true};
}

}  // namespace usl::cli
