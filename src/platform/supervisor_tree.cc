#include "platform/supervisor_tree.h"

#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <unordered_map>

#include "platform/proc_status.h"

namespace usl::platform {
namespace {

struct ProcessLine {
  pid_t parent = 0;
  bool zombie = false;
};

// Of /proc/PID/stat: "PID (COMM) STATE PPID ..."; COMM may hold anything, so the last ')' counts.
bool ReadStat(pid_t pid, ProcessLine* line) {
  char path[32], text[512];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  if (!ReadSmallFile(path, text, sizeof text)) return false;
  const char* behind = strrchr(text, ')');
  char state;
  int threads;
  if (!behind || sscanf(behind + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d", &state,
                        &line->parent, &threads) != 3) {
    return false;
  }
  // A leader that has left its threads behind also looks like a zombie.
  line->zombie = (state == 'Z' || state == 'X') && threads <= 1;
  return true;
}

std::unordered_map<pid_t, ProcessLine> ReadProcesses() {
  std::unordered_map<pid_t, ProcessLine> all;
  std::unique_ptr<DIR, int (*)(DIR*)> proc(opendir("/proc"), closedir);
  while (dirent* entry = proc ? readdir(proc.get()) : nullptr) {
    ProcessLine line;
    pid_t pid = atoi(entry->d_name);
    if (pid > 0 && ReadStat(pid, &line)) all.emplace(pid, line);
  }
  return all;
}

std::vector<pid_t> Below(const std::unordered_map<pid_t, ProcessLine>& all, pid_t root) {
  std::unordered_map<pid_t, std::vector<pid_t>> children;
  for (const auto& [pid, line] : all) children[line.parent].push_back(pid);
  std::vector<pid_t> found, todo{root};
  while (!todo.empty()) {
    pid_t parent = todo.back();
    todo.pop_back();
    for (pid_t child : children[parent]) {
      found.push_back(child);
      todo.push_back(child);
    }
  }
  return found;
}

}  // namespace

Result<void> BecomeSubreaper() {
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) return FailErrno();
  return {};
}

std::vector<pid_t> DescendantsOf(pid_t root) {
  return Below(ReadProcesses(), root);
}

size_t KillDescendants() {
  std::vector<pid_t> killed;
  for (;;) {
    const auto all = ReadProcesses();
    bool living = false;
    for (pid_t pid : Below(all, getpid())) {
      if (all.at(pid).zombie) continue;
      // It cannot be another process by now: its zombie would keep the pid until its parent, a descendant of ours too
      // or this process, reaps it, and only a dying tree does that here.
      if (kill(pid, SIGKILL) == 0) {
        living = true;
        if (std::find(killed.begin(), killed.end(), pid) == killed.end()) killed.push_back(pid);
      }
    }
    // Blocks while a child is dying; orphans of dead ones come to this process, the subreaper, and are seen next time.
    pid_t reaped;
    int options = living ? 0 : WNOHANG;
    while ((reaped = waitpid(-1, nullptr, options | __WALL)) > 0 || (reaped < 0 && errno == EINTR)) options = WNOHANG;
    if (!living && reaped < 0 && errno == ECHILD) break;
    // Children that are neither living nor reapable: zombies that a tracer has not looked at.
    if (!living && reaped == 0 && waitpid(-1, nullptr, __WALL) < 0 && errno == ECHILD) break;
  }
  return killed.size();
}

}  // namespace usl::platform
