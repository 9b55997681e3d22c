#include "cli/run_arguments.h"

#include <optional>

#include "cli/distribution_support.h"
#include "cli/fetch_display.h"
#include "manager/image_config.h"
#include "manager/image_run.h"

namespace usl::cli {
namespace {

// The files and defaults of the distribution that was named.
Result<manager::DistributionLock> UseDistribution(RunArguments& arguments, std::string* why) {
  const manager::Registry registry = manager::Registry::OfUser();
  auto lock = USL_TRY(manager::DistributionLock::Take(registry, arguments.distribution, why));
  const manager::Distribution& distribution = lock.distribution();
  manager::RunOptions& options = arguments.options;
  manager::UseDistribution(registry, distribution, options);
  if (options.name == manager::RunOptions().name) options.name = distribution.name;
  if (options.user.empty()) options.user = distribution.default_user;
  // One that was made of an image: its programs may need them. The rest of its configuration is for one program only.
  manager::AddImageEnvironment(distribution.config, &options);
  return lock;
}

// The layers stay for as long as the instance runs.
int RunImage(RunArguments arguments, const std::function<int(const manager::RunOptions&)>& run) {
  std::string why;
  std::optional<std::string> entrypoint;
  if (!arguments.entrypoint.empty()) entrypoint = arguments.entrypoint.front();
  FetchDisplay display(false);
  // An image that is here needs no word.
  const manager::FetchOptions fetch{.plain_http = arguments.plain_http,
                                    .progress = [&](const manager::FetchStep& step) { return display.Show(step); }};
  const auto hold =
      manager::UseImage(manager::Registry::OfUser(), arguments.image, entrypoint, fetch, &arguments.options, &why);
  display.Finish();
  if (!hold) return Fail(why);
  arguments.options.held.push_back(hold->fd());
  return run(arguments.options);
}

// The switches become settings, which win.
std::string CheckInterop(RunArguments& arguments) {
  manager::ConfigFile switches;
  const auto add = [&](std::string_view key, std::string_view value, std::string_view where) {
    std::string why;
    auto setting = manager::CheckSetting(key, value, manager::ConfigOrigin::kCommandLine, where, &why);
    if (!setting) return why;
    switches.settings.push_back(std::move(*setting));
    return why;
  };
  std::string why;
  if (arguments.interop == "off" || arguments.interop == "all") {
    why = add("interop.policy", arguments.interop, "--interop");
  } else if (!arguments.interop.empty()) {
    why = add("interop.allow", arguments.interop, "--interop");
    if (why.empty()) why = add("interop.policy", "list", "--interop");
  }
  if (why.empty() && arguments.ssh_agent) why = add("interop.sshAgent", "true", "--ssh-agent");
  if (!switches.settings.empty()) arguments.options.host_config.push_back(std::move(switches));
  return why;
}

}  // namespace

std::string CheckRunArguments(RunArguments& arguments) {
  manager::RunOptions& options = arguments.options;
  options.network = arguments.network == "host";
  // Both now: whoever uses them has left this directory.
  std::error_code error;
  options.current_directory = std::filesystem::current_path(error).string();
  if (options.here && error) return "--here: cannot tell the current directory: " + error.message();
  if (options.current_directory.empty()) options.current_directory = "/";
  if (!options.rootfs.empty()) options.rootfs = std::filesystem::absolute(options.rootfs, error).string();
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
  if (why = CheckInterop(arguments); !why.empty()) return why;
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
  app.add_option("-d,--distribution", arguments.distribution, "Run in an installed distribution")
      ->type_name("NAME")
      ->excludes("--rootfs");
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
  app.get_option("--distribution")->excludes(keep);
  CLI::Option* image =
      app.add_option("--image", arguments.image,
                     "Run in a container image, which is fetched if it is not here, and throw away what changes: "
                     "[docker://][REGISTRY/]NAME[:TAG], oci:DIR, docker-archive:FILE and the like")
          ->type_name("IMAGE")
          ->excludes(keep)
          ->excludes(app.get_option("--rootfs"))
          ->excludes(app.get_option("--distribution"));
  app.add_option("--entrypoint", arguments.entrypoint, "Run this program of the image instead of its own")
      ->type_name("PROGRAM")
      ->expected(1)
      ->allow_extra_args(false)
      ->needs(image);
  app.add_flag("--plain-http", arguments.plain_http, "Fetch the image without encryption from a registry without TLS")
      ->needs(image);
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
  app.add_option("--interop", arguments.interop,
                 "Let the guest run these programs of the host by usl-host, outside of the sandbox; all: any program")
      ->type_name("off|all|PROGRAM[,PROGRAM]");
  app.add_flag("--ssh-agent", arguments.ssh_agent, "Pass the host's ssh-agent on");
  app.footer(
      "Behind the options stands the command with its arguments, after -- where it starts with a dash.\n"
      "Without one it is the user's shell as a login shell, or what the image says. -u, -w and -e win over the\n"
      "image's user, working directory and environment.\n"
      "OPTIONS of -v and --bind, with commas: ro, noatime, noexec, uid=, gid=, umask=, fmask=, dmask=, metadata,\n"
      "case=off|dir|force, modes=host|wsl. HOST may be a path with a drive of Wine (C:, D:\\Music).\n"
      "RULE is WHERE[:PORT[-PORT][,...]][/tcp|/udp]; WHERE is an address, a network (10.0.0.0/8), an IPv6 one in\n"
      "brackets where ports follow ([2001:db8::/32]:443), or any, loopback, private, dns or none.");
}

int RunChecked(RunArguments arguments, const std::vector<std::string>& command,
               const std::function<int(const manager::RunOptions&)>& run) {
  std::string why = CheckRunArguments(arguments);
  if (!why.empty()) return Fail(why);
  std::optional<manager::DistributionLock> lock;
  if (!arguments.distribution.empty()) {
    auto taken = UseDistribution(arguments, &why);
    if (!taken) return Fail(why);
    lock.emplace(std::move(*taken));
    arguments.options.held.push_back(lock->fd());
  }
  arguments.options.command = command;
  return arguments.image.empty() ? run(arguments.options) : RunImage(std::move(arguments), run);
}

}  // namespace usl::cli
