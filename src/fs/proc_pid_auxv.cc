// /proc/PID/auxv. The host keeps a copy of what it gave USL's loader, which is wrong where the loader changed it
// (AT_PHDR, AT_ENTRY, AT_BASE, ids). The guest's own is on its stack, in the place the loader moved it to, so it is
// read from there; what a guest wrote over its own stack it sees itself.
#include <elf.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "base/format.h"
#include "fs/proc_pid.h"
#include "protocol/exec_plan.h"

namespace usl::fs {
namespace {

// The loader moves the vector down by its strings and arguments and one entry of the vector at most.
constexpr uint64_t kMaxMove = protocol::kPlanStrings + (protocol::kMaxPrefixArgs + 6) * sizeof(uint64_t);
constexpr uint64_t kMaxSearch = 1 << 20;  // argv and envp pointers in between
constexpr size_t kMaxEntries = 64;

struct StackArea {
  uint64_t start = 0;      // the stack pointer that the host's exec set
  uint64_t arguments = 0;  // argv's strings: everything searched lies below
};

// Fields 28 and 48 of stat.
StackArea ReadStackArea(int host) {
  StackArea area;
  const auto stat = ReadHostFile(host, "stat");
  const size_t close = stat ? stat->rfind(')') : std::string::npos;
  if (close == std::string::npos) return area;
  const char* position = stat->c_str() + close + 1;
  for (int field = 3; position && field <= 48; ++field) {
    position = strchr(position, ' ');
    if (!position) break;
    ++position;
    if (field == 28) area.start = strtoull(position, nullptr, 10);
    if (field == 48) area.arguments = strtoull(position, nullptr, 10);
  }
  return area;
}

// The last place in `stack` where a vector starts as `native` does: its first entry, the vDSO's address, is never
// changed.
std::string FindVector(std::string_view stack, std::string_view native) {
  if (native.size() < sizeof(Elf64_auxv_t)) return {};
  const std::string_view first = native.substr(0, sizeof(Elf64_auxv_t));
  for (size_t at = stack.rfind(first); at != std::string_view::npos; at = at == 0 ? at : stack.rfind(first, at - 1)) {
    for (size_t entry = 0; entry < kMaxEntries && at % sizeof(uint64_t) == 0; ++entry) {
      const size_t offset = at + entry * sizeof(Elf64_auxv_t);
      Elf64_auxv_t pair;
      if (offset + sizeof pair > stack.size()) break;
      memcpy(&pair, stack.data() + offset, sizeof pair);
      if (pair.a_type == AT_NULL) return std::string(stack.substr(at, offset + sizeof pair - at));
    }
    if (at == 0) break;
  }
  return {};
}

}  // namespace

Result<std::string> ReadProcAuxv(const ProcRead& read) {
  std::string given = read.proc.guests().AuxiliaryVector(read.target.id.pid);
  if (!given.empty()) return given;
  const int host = read.target.host.get();
  const std::string native = USL_TRY(ReadHostFile(host, "auxv"));
  const StackArea area = ReadStackArea(host);
  if (area.start < kMaxMove || area.arguments <= area.start || area.arguments - area.start > kMaxSearch) return native;
  const UniqueFd memory(openat(host, "mem", O_RDONLY | O_CLOEXEC));
  if (!memory) return native;
  const uint64_t low = (area.start - kMaxMove) & ~uint64_t{7};
  std::string stack(area.arguments - low, '\0');
  const ssize_t size = pread(memory.get(), stack.data(), stack.size(), static_cast<off_t>(low));
  if (size <= 0) return native;
  stack.resize(static_cast<size_t>(size));
  std::string found = FindVector(stack, native);
  return found.empty() ? native : found;
}

}  // namespace usl::fs
