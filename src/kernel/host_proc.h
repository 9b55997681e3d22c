// What the host's /proc tells of guest processes.
#pragma once

#include <sys/types.h>

#include <optional>
#include <vector>

namespace usl::kernel {

// From /proc/PID/stat (proc_pid_stat(5)).
struct HostStat {
  char state = '?';
  pid_t parent = 0;
  pid_t process_group = 0;
  pid_t session = 0;
  int terminal = 0;
};

// Nothing for a process that is gone.
std::optional<HostStat> ReadHostStat(pid_t pid);
// All processes below `init`, itself included: a snapshot.
std::vector<pid_t> DescendantsOfInit(pid_t init);
// personality(2) of a thread; 0 when it is gone.
unsigned PersonalityOf(pid_t tid);
// The thread group of a thread; 0 when it is gone.
pid_t ThreadGroupOf(pid_t tid);

}  // namespace usl::kernel
