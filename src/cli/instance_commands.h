// The commands on instances, one function for each; AddInstanceCommands adds them all.
#pragma once

#include "cli/commands.h"

namespace usl::cli {

Command AddShell(CLI::App& parser);
Command AddExec(CLI::App& parser);
Command AddStart(CLI::App& parser);
Command AddStop(CLI::App& parser);
Command AddKill(CLI::App& parser);
Command AddShutdown(CLI::App& parser);
Command AddStatus(CLI::App& parser);
Command AddPs(CLI::App& parser);
Command AddStats(CLI::App& parser);
Command AddTop(CLI::App& parser);
Command AddLogs(CLI::App& parser);

}  // namespace usl::cli
