#include "manager/bootstrap.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <utility>
#include <vector>

#include "base/format.h"
#include "manager/host_paths.h"
#include "manager/instance.h"
#include "manager/run_options.h"

namespace usl::manager {
namespace {

// What people expect of a shell, beside the essential packages. The variants of mmdebstrap that have more bring what
// configures a network, and here that is the host's.
constexpr const char* kPackages =
    "apt-utils,bash-completion,ca-certificates,curl,dialog,iproute2,iputils-ping,less,nano,netbase,procps,sudo,vim-"
    "tiny";

// A value of os-release(5), without quotes.
std::string OsRelease(const std::string& key) {
  std::ifstream file("/etc/os-release");
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with(key + "=")) continue;
    std::string value = line.substr(key.size() + 1);
    std::erase_if(value, [](char c) { return c == '"' || c == '\''; });
    return value;
  }
  return {};
}

bool HasContent(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0;
}

// Where the packages come from: this machine's own sources for its own release, else mmdebstrap's default.
std::vector<std::string> Mirrors(const BootstrapSource& source, const std::string& suite) {
  std::vector<std::string> mirrors;
  if (OsRelease("ID") == source.distribution && OsRelease("VERSION_CODENAME") == suite) {
    for (const std::string& path :
         {std::string("/etc/apt/sources.list"), "/etc/apt/sources.list.d/" + source.distribution + ".sources"}) {
      if (HasContent(path)) mirrors.push_back(path);
    }
  }
  if (mirrors.empty() && source.distribution == "ubuntu") mirrors.push_back("http://archive.ubuntu.com/ubuntu");
  return mirrors;
}

std::string SuiteOf(const BootstrapSource& source) {
  if (!source.suite.empty()) return source.suite;
  const std::string own = OsRelease("ID") == source.distribution ? OsRelease("VERSION_CODENAME") : "";
  if (!own.empty()) return own;
  return source.distribution == "ubuntu" ? "noble" : "stable";
}

bool IsSuite(const std::string& text) {
  for (const char c : text) {
    if (!isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '.' && c != '/') return false;
  }
  return !text.starts_with('-');
}

}  // namespace

std::optional<BootstrapSource> ParseBootstrap(const std::string& text) {
  const size_t colon = text.find(':');
  BootstrapSource source{text.substr(0, colon), colon == text.npos ? "" : text.substr(colon + 1)};
  if (source.distribution != "debian" && source.distribution != "ubuntu") return std::nullopt;
  if ((colon != text.npos && source.suite.empty()) || !IsSuite(source.suite)) return std::nullopt;
  return source;
}

Result<Bootstrap> Bootstrap::Start(const BootstrapSource& source, bool quiet, std::string* why) {
  constexpr const char* kProgram = "/usr/bin/mmdebstrap";
  if (access(kProgram, X_OK) < 0) {
    *why = format(
        "{} is missing, which makes \"{}\" from packages; install the package mmdebstrap, or install from an "
        "archive",
        kProgram, source.distribution);
    return Fail(ENOENT);
  }
  const std::string suite = SuiteOf(source);
  RunOptions options;
  options.name = "bootstrap";
  // Its files are many: on the disk, not in memory.
  options.environment = {"TMPDIR=/var/tmp", "http_proxy", "https_proxy", "no_proxy"};
  options.working_directory = "/";
  options.command = {kProgram, "--mode=root", "--variant=minbase", std::string("--include=") + kPackages,
                     "--format=tar"};
  if (quiet) options.command.push_back("--quiet");
  options.command.insert(options.command.end(), {suite, "-"});
  for (const std::string& mirror : Mirrors(source, suite)) options.command.push_back(mirror);

  int pair[2];
  if (pipe2(pair, O_CLOEXEC) < 0) {
    *why = format("cannot make a pipe: {}", ErrorText(errno));
    return FailErrno();
  }
  UniqueFd output(pair[0]), input(pair[1]);
  const pid_t child = fork();
  if (child < 0) {
    *why = format("cannot fork: {}", ErrorText(errno));
    return FailErrno();
  }
  if (child == 0) {
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ}) signal(number, SIG_DFL);
    const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    if (dup2(null.get(), STDIN_FILENO) < 0 || dup2(input.get(), STDOUT_FILENO) < 0) _exit(125);
    input.Reset();
    output.Reset();
    _exit(RunInstance(options));
  }
  return Bootstrap(child, std::move(output));
}

Bootstrap::Bootstrap(Bootstrap&& other) noexcept
    : child_(std::exchange(other.child_, -1)), output_(std::move(other.output_)) {}

int Bootstrap::Wait() {
  output_.Reset();
  if (child_ < 0) return 0;
  int status = 0;
  while (waitpid(child_, &status, 0) < 0 && errno == EINTR) continue;
  child_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Bootstrap::~Bootstrap() {
  if (child_ < 0) return;
  kill(child_, SIGTERM);
  (void)Wait();
}

}  // namespace usl::manager
