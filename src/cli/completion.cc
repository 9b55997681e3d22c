#include <cstdio>
#include <memory>

#include "cli/commands.h"

namespace usl::cli {
namespace {

std::vector<std::string> OptionWords(const CLI::App& app) {
  std::vector<std::string> words;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
    for (const std::string& name : option->get_snames()) words.push_back("-" + name);
  }
  return words;
}

std::string Join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string Names(const CLI::App& parser) {
  std::vector<std::string> names;
  for (const CLI::App* command : parser.get_subcommands({})) names.push_back(command->get_name());
  return Join(names);
}

// In single quotes for a shell.
std::string Quote(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string Bash(const CLI::App& parser) {
  std::string script =
      "# Completion for bash: source it, or put it into /usr/share/bash-completion/completions/usl.\n"
      "_usl() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} words=\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
      "    words='" +
      Names(parser) + " " + Join(OptionWords(parser)) +
      "'\n"
      "  else\n"
      "    case ${COMP_WORDS[1]} in\n";
  for (const CLI::App* command : parser.get_subcommands({})) {
    script += "      " + command->get_name() + ") words='" + Join(OptionWords(*command)) + "' ;;\n";
  }
  script +=
      "    esac\n"
      "    case $word in -*) ;; *) COMPREPLY=($(compgen -f -- \"$word\")); return ;; esac\n"
      "  fi\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
      "}\n"
      "complete -o filenames -F _usl usl\n";
  return script;
}

std::string Zsh(const CLI::App& parser) {
  std::string script =
      "#compdef usl\n"
      "# Completion for zsh: put it as _usl into a directory of $fpath.\n"
      "_usl() {\n"
      "  local -a commands\n"
      "  commands=(\n";
  for (const CLI::App* command : parser.get_subcommands({})) {
    script += "    " + Quote(command->get_name() + ":" + command->get_description()) + "\n";
  }
  script += "  )\n  if (( CURRENT == 2 )); then _describe command commands; return; fi\n  case $words[2] in\n";
  for (const CLI::App* command : parser.get_subcommands({})) {
    script += "    " + command->get_name() + ") if [[ $words[CURRENT] == -* ]]; then compadd -- " +
              Join(OptionWords(*command)) + "; else _files; fi ;;\n";
  }
  return script + "  esac\n}\n_usl \"$@\"\n";
}

std::string Fish(const CLI::App& parser) {
  std::string script = "# Completion for fish: put it into ~/.config/fish/completions/usl.fish.\n";
  for (const CLI::App* command : parser.get_subcommands({})) {
    const std::string name = command->get_name();
    script +=
        "complete -c usl -n __fish_use_subcommand -f -a " + name + " -d " + Quote(command->get_description()) + "\n";
    for (const CLI::Option* option : command->get_options()) {
      if (option->get_positional()) continue;
      script += "complete -c usl -n '__fish_seen_subcommand_from " + name + "'";
      for (const std::string& text : option->get_lnames()) script += " -l " + text;
      for (const std::string& text : option->get_snames()) script += " -s " + text;
      if (option->get_items_expected_max() > 0) script += " -r";
      script += " -d " + Quote(option->get_description()) + "\n";
    }
  }
  return script;
}

}  // namespace

std::string CompletionScript(const CLI::App& parser, const std::string& shell) {
  if (shell == "bash") return Bash(parser);
  if (shell == "zsh") return Zsh(parser);
  return Fish(parser);
}

Command AddCompletion(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("completion", "Print a completion script for a shell");
  auto shell = std::make_shared<std::string>();
  app->add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->type_name("SHELL")
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  return {app, [&parser, shell](const std::vector<std::string>&) {
            fputs(CompletionScript(parser, *shell).c_str(), stdout);
            return 0;
          }};
}

}  // namespace usl::cli
