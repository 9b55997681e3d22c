// The seccomp filter of pico processes, made from the system call table and the rules of filter_rules.h.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <vector>

namespace usl::platform {

struct FilterOptions {
  // The sealed page with the loader's path (design: exec). Page-aligned, and it must end below 4 GiB.
  uint64_t pico_base = 0x10000;
  uint64_t pico_size = 0x1000;
  // Calls that would be native notify too, for `usl trace`; they are then to be continued. Not rt_sigreturn, exit,
  // exit_group, restart_syscall, the uprobe calls and the exec of the loader. As a row can be native for some register
  // values only, the one who answers asks the plain filter: RunCheckedBpf(BuildFilter(options without trace_all), data)
  // gives SECCOMP_RET_ALLOW for what is to be continued. What the filter refuses it refuses here as well.
  bool trace_all = false;
  // No inet sockets at all, loopback included: EAFNOSUPPORT, as in a kernel without them.
  bool network_none = false;
  // Addresses are checked against a list: no multipath TCP, whose peer names further addresses to connect to.
  bool network_listed = false;
};

// The program for seccomp(SECCOMP_SET_MODE_FILTER): ALLOW, USER_NOTIF or ERRNO for each call. The architecture is
// looked at first; i386, x32 and unknown calls give ENOSYS. Always-native calls are allowed on their number alone, so
// the kernel's cache takes them. Empty if the pico page does not fit the rules above.
std::vector<sock_filter> BuildFilter(const FilterOptions& options);

}  // namespace usl::platform
