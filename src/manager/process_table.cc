#include "manager/process_table.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "base/format.h"
#include "platform/supervisor_tree.h"

namespace usl::manager {
namespace {

std::string ReadProc(pid_t pid, const char* name) {
  std::ifstream file(format("/proc/{}/{}", pid, name));
  return {std::istreambuf_iterator<char>(file), {}};
}

// What a terminal would take for a command of its own is shown as a question mark.
std::string Printable(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return text;
}

}  // namespace

ProcessInfo ReadProcess(pid_t pid) {
  const std::string stat = ReadProc(pid, "stat");
  const size_t open = stat.find('('), close = stat.rfind(')');
  if (open == stat.npos || close == stat.npos) return {};
  ProcessInfo info{.pid = pid};
  unsigned long user = 0, system = 0;
  long pages = 0;
  if (sscanf(stat.c_str() + close + 1,
             " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %*u "
             "%*u %ld",
             &info.state, &info.parent, &user, &system, &pages) != 5) {
    return {};
  }
  info.cpu_milliseconds = (user + system) * 1000 / static_cast<unsigned long>(sysconf(_SC_CLK_TCK));
  info.resident = static_cast<uint64_t>(pages) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  std::string words = ReadProc(pid, "cmdline");
  while (!words.empty() && words.back() == '\0') words.pop_back();
  std::ranges::replace(words, '\0', ' ');
  info.command = Printable(words.empty() ? "[" + stat.substr(open + 1, close - open - 1) + "]" : words);
  return info;
}

std::vector<ProcessInfo> ReadGuestProcesses(pid_t kernel) {
  std::vector<ProcessInfo> all;
  for (const pid_t pid : platform::DescendantsOf(kernel)) {
    ProcessInfo info = ReadProcess(pid);
    if (info.pid != 0) all.push_back(std::move(info));
  }
  std::ranges::sort(all, {}, &ProcessInfo::pid);
  return all;
}

}  // namespace usl::manager
