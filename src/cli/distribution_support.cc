#include "cli/distribution_support.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "base/format.h"
#include "manager/host_paths.h"
#include "manager/supervisor.h"

namespace usl::cli {
namespace {

volatile sig_atomic_t caught_signal = 0;

}  // namespace

int Fail(const std::string& why) {
  fprintf(stderr, "usl: %s\n", why.c_str());
  return manager::kOwnFailure;
}

void CatchInterrupts() {
  struct sigaction action = {};
  action.sa_handler = [](int signal) { caught_signal = signal; };
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction old;
    // What was ignored (nohup) stays so.
    if (sigaction(signal, nullptr, &old) == 0 && old.sa_handler != SIG_IGN) sigaction(signal, &action, nullptr);
  }
  // A reader that went away, or a limit of sizes, is an error of the write like a full disk.
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
}

bool WasInterrupted() {
  return caught_signal != 0;
}

int StatusOfFailure() {
  return caught_signal ? 128 + caught_signal : manager::kOwnFailure;
}

bool Progress::Show(const manager::ArchiveProgress& progress) {
  using std::chrono::milliseconds;
  const bool is_terminal = isatty(STDERR_FILENO);
  const auto now = std::chrono::steady_clock::now();
  if (!quiet_ && now - last_ >= milliseconds(is_terminal ? 200 : 5000)) {
    last_ = now;
    std::string line = format("usl: {}: {} MB", what_, progress.done >> 20);
    if (progress.total) {
      line = format("usl: {}: {} %", what_, progress.done * 100 / progress.total);
    }
    if (progress.files) line += format(", {} files", progress.files);
    fprintf(stderr, is_terminal ? "\r%s\033[K" : "%s\n", line.c_str());
    shown_ = is_terminal;
  }
  return !WasInterrupted();
}

void Progress::Clear() {
  if (shown_) fputs("\r\033[K", stderr);
  shown_ = false;
}

Result<UniqueFd> OpenInput(const std::string& path, std::string* why) {
  UniqueFd fd(path == "-" ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status;
  if (!fd || fstat(fd.get(), &status) < 0) {
    const int error = errno;
    *why = format("cannot open \"{}\": {}", path, manager::ErrorText(error));
    return usl::Fail(error);
  }
  if (S_ISDIR(status.st_mode)) {
    *why = format("\"{}\" is a directory and no archive; `usl import-in-place` takes one as it is", path);
    return usl::Fail(EISDIR);
  }
  return fd;
}

std::string NameOfArchive(const std::string& path) {
  std::string name = path.substr(path.rfind('/') + 1);
  for (const std::string end : {".gz", ".xz", ".zst", ".bz2", ".tgz", ".txz", ".tzst", ".tar", ".wsl"}) {
    if (name.size() > end.size() && name.ends_with(end)) name.resize(name.size() - end.size());
  }
  for (char& c : name) {
    if (!isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_' && c != '-') c = '-';
  }
  return name;
}

}  // namespace usl::cli
