#include "abi/syscall_table.h"

#include <cerrno>

#include "abi/syscall_reasons.h"

namespace usl::abi {
namespace {

using enum ArgType;

// Fills up with kNone, and lets syscalls.def write arguments in parentheses.
template <typename... Types>
constexpr std::array<ArgType, 6> Arguments(Types... types) {
  return {types...};
}

constexpr SyscallRow kTable[] = {
#define USL_ROW(nr, name, decision, arguments, error, completeness, reason) \
  {nr, #name, Decision::decision, Arguments arguments, error, Completeness::completeness, reason},
#define USL_NATIVE(nr, name, arguments, completeness, reason) \
  USL_ROW(nr, name, kNative, arguments, 0, completeness, reason)
#define USL_GUARDED(nr, name, arguments, completeness, reason) \
  USL_ROW(nr, name, kGuarded, arguments, 0, completeness, reason)
#define USL_CONDITIONAL(nr, name, arguments, completeness, reason) \
  USL_ROW(nr, name, kConditional, arguments, 0, completeness, reason)
#define USL_CHECKED(nr, name, arguments, completeness, reason) \
  USL_ROW(nr, name, kChecked, arguments, 0, completeness, reason)
#define USL_SERVED(nr, name, arguments, completeness, reason) \
  USL_ROW(nr, name, kServed, arguments, 0, completeness, reason)
#define USL_REFUSED(nr, name, arguments, error, reason) USL_ROW(nr, name, kRefused, arguments, error, kNone, reason)
#include "abi/syscalls.def"
#undef USL_ROW
};

// Index + 1 into kTable for each number; 0 = not in the table. Evaluating it at compile time also proves that every
// number fits, as an access out of bounds does not compile.
constexpr auto kIndex = [] {
  std::array<uint16_t, kSyscallLimit> index{};
  for (size_t i = 0; i < std::size(kTable); ++i) index[kTable[i].nr] = static_cast<uint16_t>(i + 1);
  return index;
}();

constexpr bool IsAscending() {
  for (size_t i = 1; i < std::size(kTable); ++i) {
    if (kTable[i - 1].nr >= kTable[i].nr) return false;
  }
  return true;
}
static_assert(IsAscending(), "syscalls.def must be in ascending order, each call once");
static_assert(kTable[std::size(kTable) - 1].nr + 1 == kSyscallLimit);

}  // namespace

std::span<const SyscallRow> AllSyscalls() {
  return kTable;
}

const SyscallRow* FindSyscall(uint32_t nr) {
  if (nr >= kSyscallLimit || kIndex[nr] == 0) return nullptr;
  return &kTable[kIndex[nr] - 1];
}

const char* DecisionName(Decision decision) {
  switch (decision) {
    case Decision::kNative: return "native";
    case Decision::kGuarded: return "guarded";
    case Decision::kConditional: return "conditional";
    case Decision::kChecked: return "checked";
    case Decision::kServed: return "served";
    case Decision::kRefused: return "refused";
  }
  return "?";
}

}  // namespace usl::abi
