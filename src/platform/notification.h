// One intercepted system call of a guest task, as the host kernel reports it (seccomp_unotify(2)).
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>

namespace usl::platform {

// Everything here comes from the task's registers, so it cannot change while the call is served. What the arguments
// point at can.
struct Notification {
  uint64_t id = 0;  // names this call at the listener until it is answered or the task dies
  pid_t tid = 0;    // host thread id; 0 if the task lives in a pid namespace that this process cannot see
  int nr = 0;       // x86-64 system call number
  std::array<uint64_t, 6> args{};
  uint64_t instruction_pointer = 0;  // behind the `syscall` instruction (2 bytes)
};

}  // namespace usl::platform
