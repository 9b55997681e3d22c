#include <string>

#include "cli/commands.h"

namespace usl::cli {
namespace {

// roff's own characters made plain.
std::string Escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n')) {
      out += "\\&";
      out += c;
    } else {
      out += c;
    }
  }
  return out;
}

// "\fB-e\fR, \fB--env\fR NAME[=VALUE]".
std::string OptionHead(const CLI::Option& option) {
  std::string head;
  auto add = [&head](const std::string& name) {
    head += (head.empty() ? "" : ", ") + ("\\fB" + Escape(name) + "\\fR");
  };
  for (const std::string& name : option.get_snames()) add("-" + name);
  for (const std::string& name : option.get_lnames()) add("--" + name);
  if (option.get_positional()) head = "\\fI" + Escape(option.get_name(true)) + "\\fR";
  if (option.get_items_expected_max() > 0 && !option.get_positional()) {
    head += " \\fI" + Escape(option.get_type_name()) + "\\fR";
  }
  return head;
}

std::string Options(const CLI::App& app) {
  std::string out;
  for (const CLI::Option* option : app.get_options()) {
    out += ".TP\n" + OptionHead(*option) + "\n" + Escape(option->get_description()) + ".\n";
  }
  return out;
}

}  // namespace

std::string ManPage(const CLI::App& parser) {
  std::string page =
      ".\\\" Made by `usl help --man`; do not edit.\n"
      ".TH USL 1 \"\" \"usl " USL_VERSION
      "\" \"User Commands\"\n"
      ".SH NAME\nusl \\- a User\\-mode Subsystem for Linux\n"
      ".SH SYNOPSIS\n"
      ".B usl run\n[\\fIOPTIONS\\fR] [\\fB\\-\\-\\fR] [\\fICOMMAND\\fR [\\fIARGUMENT\\fR...]]\n.br\n"
      ".B usl\n\\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n"
      ".SH DESCRIPTION\n"
      "USL runs whole, unmodified Linux programs and distributions as ordinary processes of an ordinary user: no root, "
      "no\n"
      "set\\-id helper, no user namespaces, no virtual machine. Its kernel is one process that serves the system calls "
      "which\n"
      "name files, users and privileges; all others run natively.\n"
      ".SH OPTIONS\n";
  page += Options(parser);
  page += ".SH COMMANDS\n";
  for (const CLI::App* command : parser.get_subcommands({})) {
    page += ".SS usl " + Escape(command->get_name()) + "\n" + Escape(command->get_description()) + ".\n";
    if (!command->get_footer().empty()) page += Escape(command->get_footer()) + "\n";
    page += Options(*command);
  }
  page +=
      ".SH EXIT STATUS\n"
      "That of the command; 128 + \\fIn\\fR when signal \\fIn\\fR killed it; 127 when it was not found and 126 when it "
      "could\n"
      "not be executed; 125 when USL itself failed, after a line on standard error;\n"
      "0 when a guest ended the instance by\n.BR reboot (2).\n"
      ".SH ENVIRONMENT\n"
      "The guest's environment is a clean one: PATH, HOME, USER, LOGNAME and SHELL of its user, TERM and COLORTERM "
      "where it\n"
      "has a terminal, and LANG and LC_* in the view of the host. \\fB\\-e\\fR adds to it.\n"
      ".TP\n\\fBXDG_DATA_HOME\\fR\nWhere changes are kept: its directory usl (default: ~/.local/share/usl).\n"
      ".TP\n\\fBXDG_RUNTIME_DIR\\fR\nWhere the private directory of a running instance is made.\n"
      ".TP\n\\fBUSL_LOG\\fR\nerror, warning (the default), info or debug.\n"
      ".SH SEE ALSO\n"
      ".BR proot (1),\n.BR bwrap (1),\n.BR seccomp_unotify (2)\n";
  return page;
}

}  // namespace usl::cli
