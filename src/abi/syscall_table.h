// Access to the system call table (syscalls.def).
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "abi/arg_types.h"

namespace usl::abi {

// How a call is executed; syscalls.def explains each.
enum class Decision : uint8_t { kNative, kGuarded, kConditional, kChecked, kServed, kRefused };

enum class Completeness : uint8_t { kFull, kPartial, kNone };

struct SyscallRow {
  uint32_t nr;
  const char* name;
  Decision decision;
  std::array<ArgType, 6> arguments;
  int error;  // errno of a refused call (positive), else 0
  Completeness completeness;
  const char* reason;  // whole sentences, for people

  constexpr int ArgumentCount() const {
    int count = 0;
    while (count < 6 && arguments[count] != ArgType::kNone) ++count;
    return count;
  }
  // True if the filter can send the call to the kernel, which then has a handler for it.
  constexpr bool MayNotify() const {
    return decision == Decision::kConditional || decision == Decision::kChecked || decision == Decision::kServed;
  }
};

// Highest number that the table knows, plus one; for arrays indexed by call number.
inline constexpr uint32_t kSyscallLimit = 471;

// All rows, in ascending order of nr.
std::span<const SyscallRow> AllSyscalls();

// The row of a call, or null for numbers that are not in the table (x32 and unknown calls). Constant time.
const SyscallRow* FindSyscall(uint32_t nr);

// "native", "guarded", "conditional", "checked", "served", "refused".
const char* DecisionName(Decision decision);

}  // namespace usl::abi
