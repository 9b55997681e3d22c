#include "cli/run_arguments.h"

#include <cstdio>

#include "manager/supervisor.h"

namespace usl::cli {
namespace {

int Fail(const std::string& why) {
  fprintf(stderr, "usl: %s\n", why.c_str());
  return manager::kOwnFailure;
}

}  // namespace

std::string CheckRunArguments(RunArguments& arguments) {
  manager::RunOptions& options = arguments.options;
  options.network = arguments.network == "host";
  if (!manager::IsValidName(options.name)) {
    return "\"" + options.name + "\" is no name for an instance: use letters, digits, '.', '_' and '-'";
  }
  if (!options.keep.empty() && !manager::IsValidName(options.keep)) {
    return "\"" + options.keep + "\" is no name for --keep: use letters, digits, '.', '_' and '-'";
  }
  if (!options.host_name.empty() && !manager::IsValidHostName(options.host_name)) {
    return "\"" + options.host_name + "\" is no host name: use letters, digits, '.' and '-'";
  }
  if (!options.working_directory.empty() && options.working_directory.front() != '/') {
    return "the working directory \"" + options.working_directory + "\" is not absolute";
  }
  for (const std::string& entry : options.environment) {
    if (entry.empty() || entry.front() == '=') return "\"" + entry + "\" is not NAME=VALUE";
  }
  std::string why;
  for (const auto* texts : {&arguments.volumes, &arguments.binds}) {
    for (const std::string& text : *texts) {
      manager::Volume volume;
      volume.options.host_modes = texts == &arguments.volumes;
      if (!manager::ParseVolume(text, &volume, &why)) return why;
      options.volumes.push_back(volume);
    }
  }
  for (const std::string& text : arguments.shares) {
    manager::Share share;
    if (!manager::ParseShare(text, &share, &why)) return "--drvfs: " + why;
    options.shares.push_back(share);
  }
  for (const std::string& text : options.publish) {
    if (!manager::CheckPublish(text, options.network, &why)) return why;
  }
  if (!options.network && !(arguments.allow_out.empty() && arguments.allow_in.empty())) {
    return "--allow-out and --allow-in make no sense with --network none, which allows nothing";
  }
  for (const std::string& text : arguments.allow_out) {
    if (!manager::ParseAllow(text, &options.allow_out, &why)) return "--allow-out: " + why;
  }
  for (const std::string& text : arguments.allow_in) {
    if (!manager::ParseAllow(text, &options.allow_in, &why)) return "--allow-in: " + why;
  }
  if (!arguments.pids.empty() && !manager::ParseTasks(arguments.pids, &options.max_tasks, &why))
    return "--pids: " + why;
  if (!arguments.memory.empty() && !manager::ParseMemory(arguments.memory, &options.max_memory, &why)) {
    return "--memory: " + why;
  }
  if (!arguments.cpus.empty() && !manager::ParseCpus(arguments.cpus, &options.cpus, &why)) return "--cpus: " + why;
  options.restrict_out = !arguments.allow_out.empty();
  options.restrict_in = !arguments.allow_in.empty();
  return {};
}

void AddTreeOptions(CLI::App& app, RunArguments& arguments) {
  manager::RunOptions& options = arguments.options;
  app.add_option("--rootfs", options.rootfs, "Run in the tree below DIR and keep what changes there")->type_name("DIR");
  app.add_flag("--here", options.here, "Bind the current directory at the same path, and start there");
  app.add_option("-v,--volume", arguments.volumes,
                 "Bind a directory or file of the host, with the host's permission bits; may be repeated")
      ->type_name("HOST:GUEST[:OPTIONS]")
      ->allow_extra_args(false);
  app.add_option("--bind", arguments.binds,
                 "The same as WSL shows a Windows drive: everything is the user's and 0777; with the option metadata "
                 "owners, modes and special files are kept")
      ->type_name("HOST:GUEST[:OPTIONS]")
      ->allow_extra_args(false);
}

void AddRunOptions(CLI::App& app, RunArguments& arguments) {
  manager::RunOptions& options = arguments.options;
  AddTreeOptions(app, arguments);
  CLI::Option* keep = app.add_option("--keep", options.keep,
                                     "Keep the changes to the view of this machine under NAME, and use them again")
                          ->type_name("NAME");
  app.get_option("--rootfs")->excludes(keep);
  app.add_option(
         "--drvfs", arguments.shares,
         "Let the guest mount this directory of the host, or one below it, by mount -t drvfs; what is bound it may "
         "mount anyway; may be repeated")
      ->type_name("HOST[:ro]")
      ->allow_extra_args(false);
  app.add_option("-e,--env", options.environment, "Set a variable, or pass the host's; may be repeated")
      ->type_name("NAME[=VALUE]")
      ->allow_extra_args(false);
  app.add_option("-w,--workdir,--cd", options.working_directory, "Start in this directory")->type_name("DIR");
  app.add_option("-u,--user", options.user, "Run as this user of the guest (default: root)")
      ->type_name("NAME|UID[:GROUP]");
  app.add_flag("-t,--tty", options.terminal, "Give it a terminal even where standard input or output is none");
  app.add_option("--name", options.name, "Name of the instance")->type_name("NAME");
  app.add_option("--hostname", options.host_name, "Host name inside (default: the instance's name)")->type_name("NAME");
  app.add_option("--network", arguments.network, "host: the host's network; none: no network at all, not even loopback")
      ->type_name("host|none")
      ->check(CLI::IsMember({"host", "none"}));
  app.add_option("-p,--publish", options.publish, "Make the guest's port GUEST the host's port HOST")
      ->type_name("[ADDRESS:]HOST:GUEST[/udp]")
      ->allow_extra_args(false);
  app.add_option("--allow-out", arguments.allow_out,
                 "Let the guest reach these addresses and ports, and no others; may be repeated")
      ->type_name("RULE")
      ->allow_extra_args(false);
  app.add_option("--allow-in", arguments.allow_in,
                 "Let the guest listen on these addresses and ports, and on no others but published ones; may be "
                 "repeated")
      ->type_name("RULE")
      ->allow_extra_args(false);
  app.add_option("--pids", arguments.pids, "Let the guest have so many processes and threads")->type_name("N");
  app.add_option(
         "-m,--memory", arguments.memory,
         "Let the guest use so much memory: each process by a resource limit, all together by killing the largest")
      ->type_name("SIZE");
  app.add_option("--cpus", arguments.cpus, "Let the guest use so many processors")->type_name("N");
  app.footer(
      "Behind the options stands the command with its arguments, after -- where it starts with a dash.\n"
      "Without one it is the user's shell as a login shell.\n"
      "OPTIONS of -v and --bind, with commas: ro, noatime, noexec, uid=, gid=, umask=, fmask=, dmask=, metadata,\n"
      "case=off|dir|force, modes=host|wsl. HOST may be a path with a drive of Wine (C:, D:\\Music).\n"
      "RULE is WHERE[:PORT[-PORT][,...]][/tcp|/udp]; WHERE is an address, a network (10.0.0.0/8), an IPv6 one in\n"
      "brackets where ports follow ([2001:db8::/32]:443), or any, loopback, private, dns or none.");
}

int RunChecked(RunArguments arguments, const std::vector<std::string>& command,
               const std::function<int(const manager::RunOptions&)>& run) {
  const std::string why = CheckRunArguments(arguments);
  if (!why.empty()) return Fail(why);
  arguments.options.command = command;
  return run(arguments.options);
}

}  // namespace usl::cli
