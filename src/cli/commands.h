// The subcommands of `usl`: each adds itself to the parser and says what to do when it was chosen.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

namespace usl::cli {

struct Command {
  CLI::App* app = nullptr;
  // Runs it and returns the exit status. `rest` is what stands behind the options of a command that takes another one.
  std::function<int(const std::vector<std::string>& rest)> action;
  bool takes_command = false;
  // The exit status for words that the parser refuses; 0: USL's own (125).
  int usage_status = 0;
};

Command AddRun(CLI::App& parser);
Command AddTrace(CLI::App& parser);
Command AddInstall(CLI::App& parser);
Command AddImport(CLI::App& parser);
Command AddImportInPlace(CLI::App& parser);
Command AddExport(CLI::App& parser);
Command AddList(CLI::App& parser);
Command AddRemove(CLI::App& parser);
Command AddRename(CLI::App& parser);
Command AddClone(CLI::App& parser);
Command AddSnapshot(CLI::App& parser);
Command AddRollback(CLI::App& parser);
Command AddSetDefault(CLI::App& parser);
Command AddManage(CLI::App& parser);
Command AddPath(CLI::App& parser);
Command AddDoctor(CLI::App& parser);
Command AddFsck(CLI::App& parser);
Command AddConfig(CLI::App& parser);
Command AddSet(CLI::App& parser);
Command AddCompletion(CLI::App& parser);
Command AddHelp(CLI::App& parser);
Command AddVersion(CLI::App& parser);

// Those on instances that can be joined: shell, exec, start, stop, kill, shutdown, status, ps, stats, top, logs.
std::vector<Command> AddInstanceCommands(CLI::App& parser);

// The parser with all subcommands, and the list of them in the order of the help text.
struct CommandLine {
  CommandLine();
  CLI::App parser;
  std::vector<Command> commands;
};

// Splits argv behind the name of a subcommand that takes a command of its own into that subcommand's options and the
// command: at "--" (dropped), or at the first word that is neither an option nor the value of one.
struct SplitArguments {
  std::vector<std::string> options;
  std::vector<std::string> command;
};
SplitArguments SplitAtCommand(const CLI::App& app, const std::vector<std::string>& arguments);

// usl.1 in roff, made from the parser.
std::string ManPage(const CLI::App& parser);
// A completion script for "bash", "zsh" or "fish", made from the parser.
std::string CompletionScript(const CLI::App& parser, const std::string& shell);

// wslpath: `usl` called by that name. The exit status.
int WslPathMain(const std::vector<std::string>& arguments);

// Parses and runs. The exit status of the process.
int Main(const std::vector<std::string>& arguments);

}  // namespace usl::cli
