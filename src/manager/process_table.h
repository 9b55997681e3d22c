// The processes of an instance as the host shows them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace usl::manager {

struct ProcessInfo {
  pid_t pid = 0;
  pid_t parent = 0;
  char state = '?';               // as in proc_pid_stat(5)
  uint64_t cpu_milliseconds = 0;  // user and system
  uint64_t resident = 0;          // bytes
  std::string command;            // its words, joined by spaces; in brackets the short name where it has none
};

// The process itself; pid 0 when it is gone.
ProcessInfo ReadProcess(pid_t pid);
// All below a kernel process: init and the guests, in the order of their numbers.
std::vector<ProcessInfo> ReadGuestProcesses(pid_t kernel);

}  // namespace usl::manager
