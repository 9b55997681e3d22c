// Prints docs/compatibility.md from the system call table, or with `--check FILE` says whether FILE is up to date.
#include <array>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <string_view>

#include "abi/constant_names.h"
#include "abi/syscall_table.h"
#include "base/format.h"

namespace {

using usl::format;
using usl::abi::Completeness;
using usl::abi::Decision;
using usl::abi::SyscallRow;

constexpr std::string_view kHead = R"(# Compatibility: every x86-64 system call

Generated from `src/abi/syscalls.def` by `usl_compat > docs/compatibility.md`; do not edit by hand.

How a call is executed:

| | |
|---|---|
| native | by the host's kernel; USL never sees it |
| guarded | natively, but the filter refuses some register values |
| conditional | natively, by the USL kernel, or refused, as the values in registers say |
| checked | the USL kernel checks it, then the host executes it |
| served | by the USL kernel |
| refused | with the errno given |

x32 calls, i386 calls (`int 0x80`) and numbers that the table does not know give ENOSYS.
)";

constexpr std::string_view kDifferences = R"(
## Known differences from Linux

Processes and signals
- Process ids are the host's; other processes see the instance's init as pid 1, init itself sees its host pid in `getpid`.
- A signal's `si_uid` is the host user's. A signal that the USL kernel sends on behalf of a process (through a pidfd)
  has another `si_code` than SI_USER or SI_TKILL.
- A task that waits in a served call (opening a FIFO, connecting) notices a signal within 20 ms rather than at once.
- Core dumps are off. `PR_GET_AUXV` gives EINVAL.
- `clone3` gives ENOSYS: C libraries fall back to `clone`. `SIGSTOP` takes effect when a served call ends.

Privilege
- Guest root has no right over the host: no raw or packet sockets, no `SO_MARK`, no real-time scheduling, no nice value or
  hard limit beyond the host user's, no setting of the clock, no modules, no swap, no file systems on block devices.
- New namespaces other than mount, UTS and user ones are refused, as in a kernel built without them.
- A guest's seccomp filter is installed natively; a user notification listener gives EBUSY.

Files
- A file descriptor that was opened read-only before a copy-up keeps the old file, as with overlayfs.
- Set-id bits and file capabilities are cleared when a file is opened for writing by somebody without CAP_FSETID, not at
  the write.
- A `noexec` mount does not stop `mmap` with PROT_EXEC of its files. Instances that share a lower layer share `flock`
  locks on files that they have not changed.
- Leases (`F_SETLEASE`) and `F_NOTIFY` give EINVAL. File handles do not exist.

Memory
- One page at a low address (0x10000 by default) is the loader's; changing its mapping gives EPERM. Address tagging
  (`ARCH_ENABLE_TAGGED_ADDR`) gives EINVAL.

Not there, as in a kernel built without them: io_uring, bpf, perf events, userfaultfd, fanotify, keyrings, Landlock,
secret memory, and the calls of security modules.
)";

struct Counts {
  std::array<int, 6> by_decision{};
  int full = 0, partial = 0;
};

Counts Count() {
  Counts counts;
  for (const SyscallRow& row : usl::abi::AllSyscalls()) {
    ++counts.by_decision[static_cast<size_t>(row.decision)];
    counts.full += row.completeness == Completeness::kFull;
    counts.partial += row.completeness == Completeness::kPartial;
  }
  return counts;
}

std::string Summary() {
  const Counts counts = Count();
  std::string text = "\n## Summary\n\n| | calls |\n|---|---|\n";
  for (size_t i = 0; i < counts.by_decision.size(); ++i) {
    text += format("| {} | {} |\n", DecisionName(static_cast<Decision>(i)), counts.by_decision[i]);
  }
  text += format("| **all** | **{}** |\n", usl::abi::AllSyscalls().size());
  text += format("\nOf those that are not refused, {} are full and {} partial.\n", counts.full, counts.partial);
  return text;
}

std::string Completion(const SyscallRow& row) {
  switch (row.completeness) {
    case Completeness::kFull: return "full";
    case Completeness::kPartial: return "partial";
    case Completeness::kNone: break;
  }
  return usl::abi::ErrnoName(row.error);
}

std::string Page() {
  std::string text(kHead);
  text += Summary();
  text += "\n## Calls\n\n| nr | call | how | | remarks |\n|---|---|---|---|---|\n";
  for (const SyscallRow& row : usl::abi::AllSyscalls()) {
    text += format("| {} | {} | {} | {} | {} |\n", row.nr, row.name, DecisionName(row.decision), Completion(row),
                   row.reason);
  }
  text += kDifferences;
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 1) {
    std::cout << Page();
    return std::cout.flush() ? 0 : 1;
  }
  if (argc != 3 || std::string_view(argv[1]) != "--check") {
    std::cerr << "usage: usl_compat [--check FILE]\n";
    return 2;
  }
  std::ifstream file(argv[2]);
  if (std::string(std::istreambuf_iterator<char>(file), {}) == Page()) return 0;
  std::cerr << format("usl_compat: {} is missing or out of date; make it anew with: usl_compat > {}\n", argv[2],
                      argv[2]);
  return 1;
}
