#include "kernel/host_proc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/format.h"
#include "base/unique_fd.h"
#include "platform/proc_status.h"
#include "platform/supervisor_tree.h"

namespace usl::kernel {
namespace {

// A small file of /proc in one read; the length, or 0.
size_t ReadSmall(const std::string& path, char* buffer, size_t size) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return 0;
  ssize_t length = read(fd.get(), buffer, size - 1);
  if (length <= 0) return 0;
  buffer[length] = '\0';
  return static_cast<size_t>(length);
}

}  // namespace

std::optional<HostStat> ReadHostStat(pid_t pid) {
  char buffer[1024];
  if (ReadSmall(format("/proc/{}/stat", pid), buffer, sizeof buffer) == 0) return std::nullopt;
  // The command name may hold anything, parentheses too; what follows its last one is fixed.
  const char* end = strrchr(buffer, ')');
  HostStat stat;
  if (!end || sscanf(end + 1, " %c %d %d %d %d", &stat.state, &stat.parent, &stat.process_group, &stat.session,
                     &stat.terminal) != 5) {
    return std::nullopt;
  }
  return stat;
}

std::vector<pid_t> DescendantsOfInit(pid_t init) {
  std::vector<pid_t> pids = platform::DescendantsOf(init);
  pids.push_back(init);
  return pids;
}

pid_t ThreadGroupOf(pid_t tid) {
  char buffer[4096];
  if (ReadSmall(format("/proc/{}/status", tid), buffer, sizeof buffer) == 0) return 0;
  const char* line = strstr(buffer, "\nTgid:");
  return line ? atoi(line + 6) : 0;
}

unsigned PersonalityOf(pid_t tid) {
  char text[16];
  auto size = platform::ReadSmallFile(format("/proc/{}/personality", tid).c_str(), text, sizeof text);
  return size ? static_cast<unsigned>(strtoul(text, nullptr, 16)) : 0;
}

}  // namespace usl::kernel
