// usl-fetch: downloads for usl (see fetch_messages.h). Not for people; nothing of it is set-id or privileged.
#include <curl/curl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>

#include "fetch/download.h"
#include "fetch/fetch_messages.h"

namespace usl::fetch {
namespace {

constexpr size_t kMaxLine = 1 << 20;

// Writes all or ends: nobody is left to tell.
void Say(const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t written = write(STDOUT_FILENO, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) _exit(1);
    done += static_cast<size_t>(written);
  }
}

// False at the end of the input, or when a line has no end.
bool NextLine(std::string* pending, std::string* line) {
  while (true) {
    if (const size_t end = pending->find('\n'); end != std::string::npos) {
      *line = pending->substr(0, end);
      pending->erase(0, end + 1);
      return true;
    }
    char buffer[8192];
    if (pending->size() > kMaxLine) return false;
    const ssize_t size = read(STDIN_FILENO, buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return false;
    pending->append(buffer, static_cast<size_t>(size));
  }
}

int Serve() {
  HttpClient client;
  std::string pending, line;
  while (NextLine(&pending, &line)) {
    const auto request = DecodeRequest(line);
    if (!request) {
      Say(EncodeReply({.error = EPROTO, .message = "usl-fetch is of another version than usl"}));
      continue;
    }
    Outcome outcome = CarryOut(client, *request, [](const Progress& progress) { Say(EncodeProgress(progress)); });
    Say(EncodeReply(outcome.reply) + outcome.body);
  }
  return 0;
}

}  // namespace
}  // namespace usl::fetch

int main(int argc, char** argv) {
  if (argc != 2 || strcmp(argv[1], "--serve") != 0) {
    fputs("usl-fetch is the part of usl that downloads; usl starts it\n", stderr);
    return 2;
  }
  // What comes from the network is parsed here: nothing can be gained by it that the user does not have.
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  signal(SIGPIPE, SIG_IGN);
  curl_global_init(CURL_GLOBAL_DEFAULT);
  return usl::fetch::Serve();
}
