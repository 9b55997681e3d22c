#include <cstdio>

#include "cli/commands.h"

namespace usl::cli {

Command AddVersion(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("version", "Print the version and exit");
  return {app, [](const std::vector<std::string>&) {
            puts("usl " USL_VERSION);
            return 0;
          }};
}

}  // namespace usl::cli
