#include "attack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <thread>

namespace escape {
namespace {

std::vector<Attack>& Attacks() {
  static std::vector<Attack> attacks;
  return attacks;
}

std::map<std::string, std::string>& Facts() {
  static std::map<std::string, std::string> facts;
  return facts;
}

int64_t Milliseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

const char* ControlName(Control control) {
  switch (control) {
    case Control::kEscapes: return "escapes";
    case Control::kDepends: return "depends";
    case Control::kNone: break;
  }
  return "none";
}

// As root of a fresh guest tree: modes that the ordinary user could not give.
int SetUpTree() {
  const std::pair<const char*, mode_t> modes[] = {
      {"/bin/suid", 04755},   {"/bin/unreadable", 0711}, {"/etc/shadow", 0600},   {"/etc/gshadow", 0600},
      {"/etc/private", 0600}, {"/root", 0700},           {"/root/private", 0600}, {"/etc/target", 0644}};
  for (const auto& [path, mode] : modes) {
    if (chown(path, 0, 0) < 0 || chmod(path, mode) < 0) {
      perror(path);
      return 1;
    }
  }
  return 0;
}

}  // namespace

Outcome Held(std::string how) {
  return {false, std::move(how)};
}
Outcome HeldErrno(const std::string& call) {
  return {false, call + ": " + strerror(errno)};
}
Outcome Escaped(std::string how) {
  return {true, std::move(how)};
}

Register::Register(const Attack& attack) {
  Attacks().push_back(attack);
}

const std::string& Fact(const std::string& name) {
  auto found = Facts().find(name);
  if (found == Facts().end()) {
    fprintf(stderr, "the driver gave no %s=...\n", name.c_str());
    _exit(3);
  }
  return found->second;
}

long FactNumber(const std::string& name) {
  return strtol(Fact(name).c_str(), nullptr, 0);
}

bool IsNative() {
  return Fact("native") == "1";
}

std::string EnterWorkDirectory() {
  std::string path = Fact("work") + "/attack-XXXXXX";
  if (mkdtemp(path.data()) == nullptr || chdir(path.c_str()) < 0) {
    fprintf(stderr, "cannot work in %s: %s\n", path.c_str(), strerror(errno));
    _exit(3);
  }
  return path;
}

std::string Climb(const std::string& path) {
  std::string up;
  for (int i = 0; i < 24; ++i) up += "../";
  return up + path.substr(1);
}

std::string ReadAll(int fd) {
  std::string text;
  char buffer[4096];
  ssize_t size;
  while (text.size() < 65536 && (size = read(fd, buffer, sizeof buffer)) > 0)
    text.append(buffer, static_cast<size_t>(size));
  return text;
}

bool HasMarker(const std::string& text) {
  return text.find(kMarker) != std::string::npos;
}

Outcome JudgeFd(int fd, const std::string& call) {
  if (fd < 0) return HeldErrno(call);
  std::string text = ReadAll(fd);
  close(fd);
  return HasMarker(text) ? Escaped(call + " gave the secret") : Held(call + " gave something else");
}

Outcome TryOpen(const std::string& path) {
  return JudgeFd(open(path.c_str(), O_RDONLY | O_NONBLOCK), "open " + path);
}

Outcome FirstEscape(const std::vector<std::function<Outcome()>>& tries) {
  Outcome last = Held();
  for (const auto& attempt : tries) {
    last = attempt();
    if (last.escaped) return last;
  }
  return last;
}

int WaitStatus(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int InChild(const std::function<int()>& body) {
  pid_t child = fork();
  if (child == 0) _exit(body());
  return child < 0 ? -1 : WaitStatus(child);
}

bool WriteFile(const std::string& path, const std::string& text, mode_t mode) {
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, mode);
  if (fd < 0) return false;
  bool complete = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  close(fd);
  return complete;
}

Outcome Race(const std::string& what, const std::function<void(unsigned)>& disturb,
             const std::function<bool()>& attempt, int tries) {
  std::atomic<bool> stop{false};
  std::thread second([&] {
    for (unsigned round = 0; !stop.load(std::memory_order_relaxed); ++round) disturb(round);
  });
  const int64_t end = Milliseconds() + 2000;
  int done = 0;
  bool escaped = false;
  for (; done < tries && !escaped && Milliseconds() < end; ++done) escaped = attempt();
  stop = true;
  second.join();
  const std::string count = std::to_string(done) + " tries";
  return escaped ? Escaped(what + " after " + count) : Held(what + ": " + count);
}

}  // namespace escape

int main(int argc, char** argv) {
  using namespace escape;
  setvbuf(stdout, nullptr, _IOLBF, 0);
  if (argc == 2 && strcmp(argv[1], "--list") == 0) {
    for (const Attack& attack : Attacks()) printf("%s %s %s\n", attack.name, ControlName(attack.control), attack.needs);
    return 0;
  }
  if (argc == 2 && strcmp(argv[1], "exit") == 0) return 0;
  if (argc == 2 && strcmp(argv[1], "wait") == 0) return poll(nullptr, 0, 20000);
  if (argc == 2 && strcmp(argv[1], "--setup") == 0) return SetUpTree();
  if (argc < 2) {
    fprintf(stderr, "usage: escape_attacks --list | ATTACK [FACT=VALUE...]\n");
    return 2;
  }
  for (int i = 2; i < argc; ++i) {
    const char* equals = strchr(argv[i], '=');
    if (equals) Facts()[std::string(argv[i], static_cast<size_t>(equals - argv[i]))] = equals + 1;
  }
  for (const Attack& attack : Attacks()) {
    if (strcmp(attack.name, argv[1]) != 0) continue;
    Outcome outcome = attack.run();
    printf("%s: %s: %s\n", outcome.escaped ? "escaped" : "held", attack.name, outcome.how.c_str());
    return outcome.escaped ? 1 : 0;
  }
  fprintf(stderr, "there is no attack %s\n", argv[1]);
  return 2;
}
