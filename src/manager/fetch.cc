#include "manager/fetch.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "base/format.h"
#include "fetch/fetch_messages.h"
#include "manager/host_paths.h"

namespace usl::manager {
namespace {

constexpr size_t kMaxLine = 4 << 20;

std::string OwnDirectory() {
  char path[4096];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof path);
  if (size <= 0 || static_cast<size_t>(size) >= sizeof path) return {};
  const std::string text(path, static_cast<size_t>(size));
  return text.substr(0, text.rfind('/'));
}

// What a shell would call a program's end.
std::string EndOf(int status) {
  if (WIFSIGNALED(status)) return format("was ended by signal {}", WTERMSIG(status));
  return format("ended with status {}", WEXITSTATUS(status));
}

// The helper's own signal state, whatever that of usl is.
void ResetSignals() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGCHLD}) {
    struct sigaction action;
    if (sigaction(signal, nullptr, &action) == 0 && action.sa_handler != SIG_IGN) std::signal(signal, SIG_DFL);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace

std::string Fetcher::FindHelper() {
  const std::string own = OwnDirectory();
  if (own.empty()) return {};
  for (const char* place : {"/usl-fetch", "/../libexec/usl/usl-fetch", "/../lib/usl/usl-fetch"}) {
    if (access((own + place).c_str(), X_OK) == 0) return own + place;
  }
  return {};
}

Fetcher::Fetcher(TransferCallback callback) : callback_(std::move(callback)) {
  const char* text = getenv("USL_DOWNLOAD_TIMEOUT");
  if (!text) return;
  int seconds = 0;
  const auto [end, error] = std::from_chars(text, text + strlen(text), seconds);
  if (error == std::errc{} && *end == '\0' && seconds > 0 && seconds <= 86400) stall_seconds = seconds;
}

Fetcher::~Fetcher() {
  Stop();
}

void Fetcher::Stop() {
  input_.Reset();
  output_.Reset();
  pending_.clear();
  if (helper_ < 0) return;
  // It has no state of its own to lose: what it has written stays.
  kill(helper_, SIGKILL);
  while (waitpid(helper_, nullptr, 0) < 0 && errno == EINTR) {
  }
  helper_ = -1;
}

Result<void> Fetcher::Start(std::string* why) {
  if (helper_ >= 0) return {};
  const std::string path = FindHelper();
  if (path.empty()) {
    *why = format(
        "the program usl-fetch, which downloads, is not installed: it belongs beside usl (in \"{}\") or into "
        "../libexec/usl from there",
        OwnDirectory());
    return Fail(ENOEXEC);
  }
  int to_helper[2], from_helper[2];
  // A socket, which can be written to without SIGPIPE.
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, to_helper) < 0) return FailErrno();
  input_.Reset(to_helper[1]);
  const UniqueFd its_input(to_helper[0]);
  if (pipe2(from_helper, O_CLOEXEC) < 0) return FailErrno();
  output_.Reset(from_helper[0]);
  const UniqueFd its_output(from_helper[1]);
  const pid_t parent = getpid();
  helper_ = fork();
  if (helper_ < 0) return FailErrno();
  if (helper_ == 0) {
    ResetSignals();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    if (dup2(its_input.get(), STDIN_FILENO) < 0 || dup2(its_output.get(), STDOUT_FILENO) < 0) _exit(1);
    execl(path.c_str(), "usl-fetch", "--serve", nullptr);
    _exit(127);
  }
  return {};
}

// Waits with a look at the caller's wishes in between.
Result<void> Fetcher::Fill() {
  while (true) {
    pollfd wait{output_.get(), POLLIN, 0};
    const int ready = poll(&wait, 1, 1000);
    if (ready < 0 && errno != EINTR) return FailErrno();
    if (ready <= 0) {
      if (callback_ && !callback_(progress_)) return Fail(ECANCELED);
      continue;
    }
    char buffer[65536];
    const ssize_t size = read(output_.get(), buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return FailErrno();
    if (size == 0) return Fail(EPIPE);
    pending_.append(buffer, static_cast<size_t>(size));
    return {};
  }
}

Result<std::string> Fetcher::ReadLine() {
  while (true) {
    if (const size_t end = pending_.find('\n'); end != std::string::npos) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      return line;
    }
    if (pending_.size() > kMaxLine) return Fail(EPROTO);
    USL_TRY_VOID(Fill());
  }
}

Result<std::string> Fetcher::ReadBytes(size_t size) {
  while (pending_.size() < size) USL_TRY_VOID(Fill());
  std::string bytes = pending_.substr(0, size);
  pending_.erase(0, size);
  return bytes;
}

Result<HttpReply> Fetcher::Transfer(const std::string& request_line, uint64_t max_body, const std::string& what,
                                    std::string* why) {
  if (auto started = Start(why); !started) {
    if (why->empty()) *why = format("cannot start usl-fetch: {}", ErrorText(started.error().code()));
    return Fail(started.error());
  }
  progress_ = {};
  const auto talk = [&]() -> Result<HttpReply> {
    size_t sent = 0;
    while (sent < request_line.size()) {
      const ssize_t written = send(input_.get(), request_line.data() + sent, request_line.size() - sent, MSG_NOSIGNAL);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) break;  // it is gone, as reading will tell
      sent += static_cast<size_t>(written);
    }
    while (true) {
      const auto answer = fetch::DecodeAnswer(USL_TRY(ReadLine()));
      if (!answer) return Fail(EPROTO);
      if (answer->progress) {
        progress_ = {answer->progress->done, answer->progress->total, answer->progress->note};
        if (callback_ && !callback_(progress_)) return Fail(ECANCELED);
        continue;
      }
      const fetch::Reply& reply = *answer->reply;
      if (reply.body_size > max_body) return Fail(EPROTO);
      HttpReply result{reply.status, reply.headers, USL_TRY(ReadBytes(reply.body_size)), reply.url};
      if (!reply.error) return result;
      *why = format("cannot download {}: {}", what, reply.message);
      return Fail(reply.error);
    }
  };
  why->clear();
  auto result = talk();
  if (result || !why->empty()) return result;
  // The helper is gone or talks nonsense, or the caller wants no more.
  int status = 0;
  const bool is_dead = result.error().code() == EPIPE && waitpid(helper_, &status, 0) == helper_;
  if (is_dead) helper_ = -1;
  Stop();
  if (result.error().code() == ECANCELED) {
    *why = format("the download of {} was interrupted; what has come stays for the next time", what);
  } else if (is_dead) {
    *why = WIFEXITED(status) && WEXITSTATUS(status) == 127
               ? format("cannot start \"{}\"; are the libraries that it needs (libcurl) there?", FindHelper())
               : format("usl-fetch {} while it downloaded {}", EndOf(status), what);
  } else {
    *why = format("usl-fetch gives no sensible answer ({}); is it of the same version as usl?",
                  ErrorText(result.error().code()));
  }
  return result;
}

Result<void> Fetcher::Download(const DownloadRequest& request, std::string* why) {
  const HttpRequest& http = request.http;
  const std::string line = fetch::EncodeRequest({.url = http.url,
                                                 .headers = http.headers,
                                                 .authorization = http.authorization,
                                                 .path = request.path,
                                                 .sha256 = request.sha256,
                                                 .max_size = http.max_size,
                                                 .size = request.size,
                                                 .stall_seconds = stall_seconds});
  USL_TRY(Transfer(line, 1 << 20, request.what.empty() ? "\"" + http.url + "\"" : request.what, why));
  return {};
}

Result<HttpReply> Fetcher::Get(const HttpRequest& request, std::string* why) {
  const std::string line = fetch::EncodeRequest({.url = request.url,
                                                 .headers = request.headers,
                                                 .authorization = request.authorization,
                                                 .path = {},
                                                 .sha256 = {},
                                                 .max_size = request.max_size,
                                                 .size = -1,
                                                 .stall_seconds = stall_seconds});
  return Transfer(line, request.max_size, "\"" + request.url + "\"", why);
}

}  // namespace usl::manager
