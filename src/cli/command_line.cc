#include <algorithm>
#include <cstdio>

#include "cli/commands.h"
#include "cli/front_words.h"
#include "cli/wsl_words.h"
#include "manager/supervisor.h"

namespace usl::cli {
namespace {

// Whether an option takes the next word as its value, when it was written as `name` without one.
bool TakesValue(const CLI::App& app, const std::string& name) {
  const CLI::Option* option = app.get_option_no_throw(name);
  return option && option->get_items_expected_max() > 0;
}

// The same for a word like "-te": short options together, of which the first with a value takes the rest.
bool WordTakesNext(const CLI::App& app, const std::string& word) {
  if (word.starts_with("--")) return word.find('=') == word.npos && TakesValue(app, word);
  for (size_t i = 1; i < word.size(); ++i) {
    if (TakesValue(app, std::string("-") + word[i])) return i + 1 == word.size();
  }
  return false;
}

const Command* FindCommand(const CommandLine& line, const std::string& name) {
  const auto found =
      std::ranges::find_if(line.commands, [&](const Command& command) { return command.app->get_name() == name; });
  return found == line.commands.end() ? nullptr : &*found;
}

int Refuse(const CLI::App& app, const std::string& why) {
  const bool is_top = app.get_parent() == nullptr;
  fprintf(stderr, "usl: %s%s%s; `usl help%s%s` tells what there is\n", is_top ? "" : app.get_name().c_str(),
          is_top ? "" : ": ", why.c_str(), is_top ? "" : " ", is_top ? "" : app.get_name().c_str());
  return manager::kOwnFailure;
}

}  // namespace

SplitArguments SplitAtCommand(const CLI::App& app, const std::vector<std::string>& arguments) {
  SplitArguments split;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    if (word == "--") {
      split.command.assign(arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1, arguments.end());
      break;
    }
    if (word.size() < 2 || word[0] != '-') {
      split.command.assign(arguments.begin() + static_cast<std::ptrdiff_t>(i), arguments.end());
      break;
    }
    split.options.push_back(word);
    if (WordTakesNext(app, word) && i + 1 < arguments.size()) split.options.push_back(arguments[++i]);
  }
  return split;
}

CommandLine::CommandLine()
    : parser("A Linux inside your Linux, as an ordinary user: no root, no namespaces, no VM", "usl") {
  parser.set_version_flag("--version", "usl " USL_VERSION);
  parser.set_help_flag("-h,--help", "Print what there is and exit");
  parser.option_defaults()->always_capture_default(false);
  // One at most: a later word that happens to be a command's name is a value.
  parser.require_subcommand(0, 1);
  commands = {
      AddRun(parser),        AddTrace(parser),  AddInstall(parser),       AddPull(parser),     AddImages(parser),
      AddRmi(parser),        AddImport(parser), AddImportInPlace(parser), AddExport(parser),   AddList(parser),
      AddRemove(parser),     AddRename(parser), AddClone(parser),         AddSnapshot(parser), AddRollback(parser),
      AddSetDefault(parser), AddManage(parser), AddPath(parser),          AddDoctor(parser),   AddFsck(parser),
      AddConfig(parser),     AddSet(parser),    AddCompletion(parser),    AddHelp(parser),     AddVersion(parser)};
  for (Command& command : AddInstanceCommands(parser)) commands.push_back(std::move(command));
}

int Main(const std::vector<std::string>& arguments) {
  CommandLine line;
  std::vector<std::string> words = TranslateWslWords(TranslateFrontWords(arguments));
  if (words.empty()) {
    fputs(line.parser.help().c_str(), stdout);
    return 0;
  }
  std::vector<std::string> rest;
  const Command* command = FindCommand(line, words.front());
  if (!command && !words.front().starts_with('-'))
    return Refuse(line.parser, "there is no command \"" + words.front() + "\"");
  if (command && command->takes_command) {
    auto split = SplitAtCommand(*command->app, {words.begin() + 1, words.end()});
    words.resize(1);
    words.insert(words.end(), split.options.begin(), split.options.end());
    rest = std::move(split.command);
  }
  // CLI11 tells everything by exceptions; none leaves this function. It wants the words in reverse order.
  std::ranges::reverse(words);
  try {
    line.parser.parse(words);
  } catch (const CLI::Success& success) {  // --help, --version
    return line.parser.exit(success);
  } catch (const CLI::ParseError& error) {
    const int status = Refuse(command ? *command->app : line.parser, error.what());
    return command && command->usage_status ? command->usage_status : status;
  }
  if (!command) return Refuse(line.parser, "no command was given");
  return command->action(rest);
}

}  // namespace usl::cli
