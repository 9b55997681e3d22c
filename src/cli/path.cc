#include "cli/path.h"

#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>

#include "cli/commands.h"
#include "cli/run_arguments.h"

namespace usl::cli {
namespace {

std::string WithSeparators(std::string path, char from, char to) {
  std::ranges::replace(path, from, to);
  return path;
}

std::string Absolute(const std::string& path, const std::string& current_directory) {
  return manager::NormalPath(path.starts_with('/') ? path : current_directory + "/" + path);
}

// The real path of the longest part that exists, and the rest as it stands.
std::string RealPath(const std::string& path) {
  for (size_t end = path.size();; end = path.rfind('/', end - 1)) {
    const std::string start = end == 0 ? "/" : path.substr(0, end);
    const std::unique_ptr<char, decltype(&free)> real(realpath(start.c_str(), nullptr), &free);
    if (real) {
      const std::string found = real.get();
      return (found == "/" && end < path.size() ? "" : found) + path.substr(end);
    }
    if (end == 0) return path;
  }
}

}  // namespace

Result<std::string> TranslatePath(const manager::PathMap& map, const manager::WineDrives& drives, std::string_view text,
                                  const PathRequest& request) {
  if (text.empty()) return Fail(ENOENT);
  if (request.form == PathForm::kGuest) {
    const bool is_dos = manager::WineDrives::IsDosPath(text);
    if (!is_dos && !text.starts_with('/') && !request.absolute) {
      return manager::NormalPath(WithSeparators(std::string(text), '\\', '/'));
    }
    std::string host(text);
    if (is_dos) {
      if (request.in_guest) return map.ToGuest(text);
      host = USL_TRY(drives.ToHost(text));
    } else {
      const std::string slashes = text.starts_with('/') ? host : WithSeparators(host, '\\', '/');
      host = Absolute(slashes, request.current_directory);
      if (request.in_guest && !text.starts_with('/')) return host;
    }
    if (!request.in_guest) host = RealPath(host);
    return map.ToGuest(host);
  }
  if (!text.starts_with('/') && !request.absolute) {
    const std::string relative = manager::NormalPath(text);
    return request.form == PathForm::kHost ? WithSeparators(relative, '/', '\\') : relative;
  }
  std::string guest = Absolute(std::string(text), request.current_directory);
  if (request.in_guest) guest = RealPath(guest);
  std::string host = USL_TRY(map.ToHost(guest));
  const char separator = request.form == PathForm::kHost ? '\\' : '/';
  if (manager::WineDrives::IsDosPath(host)) {
    if (host.size() == 2) host += '/';
    return WithSeparators(host, '/', separator);
  }
  if (request.form == PathForm::kPosix) return host;
  auto with_drive = drives.FromHost(host, separator);
  return with_drive ? with_drive : host;
}

namespace {

struct PathArguments {
  RunArguments run;
  bool to_guest = false, to_host = false, mixed = false, posix = false, absolute = false;
  std::vector<std::string> paths;
};

int TranslateAll(const PathArguments& arguments, const manager::PathMap& map, bool in_guest, const char* program) {
  PathRequest request{.absolute = arguments.absolute, .in_guest = in_guest};
  if (arguments.to_host) request.form = PathForm::kHost;
  if (arguments.mixed) request.form = PathForm::kMixed;
  if (arguments.posix) request.form = PathForm::kPosix;
  char* directory = get_current_dir_name();
  request.current_directory = directory ? directory : "/";
  free(directory);
  const manager::WineDrives drives = manager::WineDrives::OfUser();
  int status = 0;
  for (const std::string& path : arguments.paths) {
    const auto translated = TranslatePath(map, drives, path, request);
    if (translated) {
      printf("%s\n", translated->c_str());
    } else {
      const bool no_drive = translated.error().code() == ENODEV;
      fprintf(stderr, "%s: %s: %s\n", program, path.c_str(),
              no_drive                           ? "there is no such drive"
              : request.form == PathForm::kGuest ? "the guest does not see it"
                                                 : "it is not one of the host's");
      status = 1;
    }
  }
  return status;
}

int RunPath(PathArguments arguments, const char* program) {
  const int forms = arguments.to_guest + arguments.to_host + arguments.mixed + arguments.posix;
  if (forms > 1 || arguments.paths.empty()) {
    fprintf(stderr, "%s: give one of -u, -w, -m and -p, and at least one path\n", program);
    return 1;
  }
  std::ifstream file("/proc/self/mountinfo");
  const std::string mountinfo{std::istreambuf_iterator<char>(file), {}};
  if (manager::PathMap::IsGuest(mountinfo)) {
    return TranslateAll(arguments, manager::PathMap::OfMounts(mountinfo), true, program);
  }
  const std::string why = CheckRunArguments(arguments.run);
  if (!why.empty()) {
    fprintf(stderr, "%s: %s\n", program, why.c_str());
    return 1;
  }
  manager::RunOptions& options = arguments.run.options;
  char* directory = get_current_dir_name();
  const std::string current = directory ? directory : "/";
  free(directory);
  if (!options.rootfs.empty()) options.rootfs = Absolute(options.rootfs, current);
  return TranslateAll(arguments, manager::PathMap::Of(options, current), false, program);
}

}  // namespace

Command AddPath(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("path", "Translate paths between the host and the guest (wslpath)");
  auto arguments = std::make_shared<PathArguments>();
  app->add_flag("-u,--guest", arguments->to_guest,
                "The guest's path for a path of the host or with a drive (the default)");
  app->add_flag("-w,--windows", arguments->to_host,
                "The host's path for a path of the guest: with a drive of Wine where one leads there");
  app->add_flag("-m,--mixed", arguments->mixed, "The same with slashes instead of backslashes");
  app->add_flag("-p,--posix", arguments->posix, "The host's own path, without a drive");
  app->add_flag("-a,--absolute", arguments->absolute, "Make relative paths absolute");
  AddTreeOptions(*app, arguments->run);
  app->add_option("PATH", arguments->paths, "The paths to translate");
  app->footer(
      "The options say how the guest is started: give those of `usl run`. Inside a guest its mounts tell everything; "
      "called\n"
      "by the name wslpath it is WSL's program. The exit status is 1 where a path has no counterpart.");
  return {app, [arguments](const std::vector<std::string>&) { return RunPath(*arguments, "usl path"); }};
}

int WslPathMain(const std::vector<std::string>& arguments) {
  PathArguments parsed;
  bool options = true;
  for (const std::string& word : arguments) {
    if (options && word == "--") {
      options = false;
      continue;
    }
    if (!options || word.size() < 2 || word[0] != '-') {
      parsed.paths.push_back(word);
      continue;
    }
    for (const char letter : word.substr(1)) {
      switch (letter) {
        case 'u': parsed.to_guest = true; break;
        case 'w': parsed.to_host = true; break;
        case 'm': parsed.mixed = true; break;
        case 'a': parsed.absolute = true; break;
        default:
          fprintf(stderr, "Usage: wslpath [-u | -w | -m] [-a] PATH\n");
          return letter == 'h' || word == "--help" ? 0 : 1;
      }
    }
  }
  return RunPath(std::move(parsed), "wslpath");
}

}  // namespace usl::cli
