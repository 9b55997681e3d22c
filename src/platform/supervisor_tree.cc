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

// Does the host list the children of each thread (CONFIG_PROC_CHILDREN)? Far cheaper than looking at every process.
bool HostListsChildren() {
  static const bool lists = access("/proc/thread-self/children", F_OK) == 0;
  return lists;
}

void AddChildren(pid_t pid, std::vector<pid_t>* found) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  std::unique_ptr<DIR, int (*)(DIR*)> threads(opendir(path), closedir);
  while (dirent* entry = threads ? readdir(threads.get()) : nullptr) {
    const int tid = atoi(entry->d_name);
    if (tid <= 0) continue;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, tid);
    std::unique_ptr<FILE, int (*)(FILE*)> children(fopen(path, "re"), fclose);
    pid_t child;
    while (children && fscanf(children.get(), "%d", &child) == 1) found->push_back(child);
  }
}

// The same as Below. Not exact: a child that ends while its siblings are listed may hide the next one.
std::vector<pid_t> BelowByLists(pid_t root) {
  std::vector<pid_t> found;
  AddChildren(root, &found);
  for (size_t i = 0; i < found.size(); ++i) AddChildren(found[i], &found);
  return found;
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
  if (!HostListsChildren()) return Below(ReadProcesses(), root);
  std::vector<pid_t> found = BelowByLists(root);
  // What one look missed, the second sees, unless a sibling ended in both.
  for (pid_t pid : BelowByLists(root)) {
    if (std::find(found.begin(), found.end(), pid) == found.end()) found.push_back(pid);
  }
  return found;
}

size_t KillDescendants() {
  std::vector<pid_t> killed;
  // The rule: no child, no descendant, as orphans come to this process. Then no look at all processes is needed.
  while (waitpid(-1, nullptr, WNOHANG | __WALL) > 0) {
  }
  if (waitpid(-1, nullptr, WNOHANG | __WALL) < 0 && errno == ECHILD) return 0;
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
