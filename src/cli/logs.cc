// `usl logs`: what an instance's supervisor, kernel process, init and detached sessions have said.
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string_view>

#include "base/format.h"
#include "base/unique_fd.h"
#include "cli/instance_commands.h"
#include "cli/instance_support.h"
#include "manager/instance_place.h"
#include "manager/registry.h"
#include "manager/run_options.h"

namespace usl::cli {
namespace {

struct Options {
  std::string name;
  bool follow = false;
  int lines = -1;
};

// A distribution's key, or the name itself: the log outlives the instance.
Result<std::string> KeyOf(const std::string& name, std::string* why) {
  const auto data = manager::Registry::OfUser().Read(why);
  if (!data) return Fail(data.error());
  if (const manager::Distribution* distribution = data->Find(name)) return distribution->id;
  if (manager::IsValidName(name)) return name;
  *why = format("\"{}\" is no name for an instance", name);
  return Fail(EINVAL);
}

// Where the last `lines` lines begin.
off_t StartOfLines(int fd, int lines) {
  off_t at = lseek(fd, 0, SEEK_END);
  if (lines < 0) return 0;
  char c = 0;
  for (int seen = 0; at > 0; --at) {
    if (pread(fd, &c, 1, at - 1) != 1) return at;
    // The end of the last line is none to stop at.
    if (c == '\n' && seen++ == lines) return at;
  }
  return 0;
}

// Copies from `at` to the end; the new position.
off_t Copy(int fd, off_t at) {
  char buffer[16384];
  ssize_t size;
  while ((size = pread(fd, buffer, sizeof buffer, at)) > 0) {
    fwrite(buffer, 1, static_cast<size_t>(size), stdout);
    at += size;
  }
  fflush(stdout);
  return at;
}

int Logs(const Options& options) {
  std::string why;
  const auto key = KeyOf(options.name, &why);
  if (!key) return Refuse(why);
  const std::string path = manager::InstanceLogPath(*key);
  UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return Refuse(format("there is no log of \"{}\": {}: {}", options.name, path, strerror(errno)));
  off_t at = Copy(file.get(), StartOfLines(file.get(), options.lines));
  if (!options.follow) return 0;
  const UniqueFd watch(inotify_init1(IN_CLOEXEC));
  const std::string directory = path.substr(0, path.rfind('/'));
  if (!watch || inotify_add_watch(watch.get(), directory.c_str(), IN_MODIFY | IN_CREATE | IN_MOVED_FROM) < 0) {
    return Refuse(format("cannot watch \"{}\": {}", directory, strerror(errno)));
  }
  for (;;) {
    at = Copy(file.get(), at);
    if (ferror(stdout)) return 0;  // the reader is gone
    struct stat now, opened;
    if (stat(path.c_str(), &now) == 0 && fstat(file.get(), &opened) == 0 && now.st_ino != opened.st_ino) {
      // It was put aside; what was still written to it is copied already.
      file.Reset(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
      at = 0;
      continue;
    }
    alignas(inotify_event) char events[4096];
    if (read(watch.get(), events, sizeof events) < 0 && errno != EINTR) return 0;
  }
}

}  // namespace

Command AddLogs(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("logs", "Print the log of an instance, also of one that has ended");
  auto options = std::make_shared<Options>();
  app->add_option("name", options->name, "The distribution or instance")->type_name("NAME")->required();
  app->add_flag("-f,--follow", options->follow, "Go on with what comes");
  app->add_option("-n,--lines", options->lines, "The last lines only")
      ->type_name("COUNT")
      ->check(CLI::NonNegativeNumber);
  return {app, [options](const std::vector<std::string>&) { return Logs(*options); }};
}

}  // namespace usl::cli
