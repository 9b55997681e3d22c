// `usl shell` and `usl exec`: sessions in instances.
#include "cli/commands.h"
#include "cli/instance_commands.h"
#include "cli/instance_support.h"

namespace usl::cli {
namespace {

struct ShellArguments {
  std::string distribution;
  std::string shell_type = "standard";
  bool exec = false;
  manager::JoinOptions session;
};

std::string CheckSession(const manager::JoinOptions& session) {
  const std::string& directory = session.directory;
  if (!directory.empty() && directory != "~" && directory[0] != '/') {
    return "the directory \"" + directory + "\" is neither absolute nor \"~\"";
  }
  for (const std::string& entry : session.environment) {
    if (entry.empty() || entry.front() == '=') return "\"" + entry + "\" is not NAME=VALUE";
  }
  return {};
}

int RunIn(const std::string& name, const manager::JoinOptions& session) {
  std::string why = CheckSession(session);
  if (!why.empty()) return Refuse(why);
  const auto target = FindTarget(name, &why);
  if (!target) return Refuse(why);
  return manager::RunSession(target->key, target->Spec(), session);
}

void AddSessionOptions(CLI::App& app, manager::JoinOptions& session) {
  app.add_option("-u,--user", session.user, "As this user of the guest (default: the distribution's)")
      ->type_name("NAME|UID[:GROUP]");
  app.add_option(
         "-w,--workdir,--cd", session.directory,
         "Start in this directory, \"~\" being the home (default: what the current one is called inside, or else "
         "the home)")
      ->type_name("DIR");
}

}  // namespace

Command AddShell(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("shell", "Open a shell in a distribution, or run a command line by it");
  auto arguments = std::make_shared<ShellArguments>();
  CLI::Option* distribution =
      app->add_option("-d,--distribution", arguments->distribution, "The distribution (default: the first word)")
          ->type_name("NAME");
  AddSessionOptions(*app, arguments->session);
  app->add_option("--shell-type", arguments->shell_type,
                  "standard: a login shell, but for a command line; login: always; none: the command without a shell")
      ->type_name("standard|login|none")
      ->check(CLI::IsMember({"standard", "login", "none"}));
  app->add_flag("-e,--exec", arguments->exec, "The same as --shell-type none");
  app->footer(
      "Behind the options stand the distribution, unless -d names it, and a command line for the user's shell.\n"
      "`usl` alone, and `usl` with these options, is this command in the default distribution.");
  return {app,
          [arguments, distribution](const std::vector<std::string>& rest) {
            manager::JoinOptions session = arguments->session;
            std::string name = arguments->distribution;
            session.command = rest;
            if (distribution->count() == 0 && !rest.empty()) {
              name = rest.front();
              session.command.erase(session.command.begin());
              if (!session.command.empty() && session.command.front() == "--") {
                session.command.erase(session.command.begin());
              }
            }
            const bool none = arguments->exec || arguments->shell_type == "none";
            session.user_shell = session.command.empty() || !none;
            session.login_shell = session.user_shell && (session.command.empty() || arguments->shell_type == "login");
            return RunIn(name, session);
          },
          true};
}

Command AddExec(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("exec", "Run a command in a distribution or a running instance");
  auto session = std::make_shared<manager::JoinOptions>();
  AddSessionOptions(*app, *session);
  app->add_option("-e,--env", session->environment, "Set a variable, or pass the host's; may be repeated")
      ->type_name("NAME[=VALUE]")
      ->allow_extra_args(false);
  CLI::Option* terminal =
      app->add_flag("-t,--tty", session->terminal, "Give it a terminal even where standard input or output is none");
  app->add_flag("--detach", session->detached, "Do not wait for it; what it prints goes to the instance's log")
      ->excludes(terminal);
  app->footer("Behind the options stand NAME, the command and its arguments. No shell is between.");
  return {app,
          [session](const std::vector<std::string>& rest) {
            if (rest.empty()) return Refuse("exec: NAME and a command are missing");
            manager::JoinOptions options = *session;
            options.command.assign(rest.begin() + 1, rest.end());
            if (!options.command.empty() && options.command.front() == "--") {
              options.command.erase(options.command.begin());
            }
            if (options.command.empty()) return Refuse("exec: a command is missing; `usl shell` opens a shell");
            return RunIn(rest.front(), options);
          },
          true};
}

}  // namespace usl::cli
