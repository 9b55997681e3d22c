#include "abi/constant_names.h"

#include <signal.h>
#include <string.h>

#include <array>

#include "base/format.h"
#include "base/result.h"

namespace usl::abi {
namespace {

constexpr size_t kTypeCount = 256;  // ArgType is one byte

const ConstantTable* FindTable(ArgType type) {
  static const auto tables = [] {
    std::array<const ConstantTable*, kTypeCount> by_type{};
    for (auto group : {FileConstantTables(), ProcessConstantTables(), IoConstantTables()}) {
      for (const ConstantTable& table : group) by_type[static_cast<size_t>(table.type)] = &table;
    }
    return by_type;
  }();
  return tables[static_cast<size_t>(type)];
}

const ConstantName* FindName(uint64_t value, std::span<const ConstantName> names) {
  for (const ConstantName& name : names) {
    if (name.value == value) return &name;
  }
  return nullptr;
}

void Append(std::string& text, std::string_view part) {
  if (!text.empty()) text += '|';
  text += part;
}

// Arguments that Linux declares unsigned long; all other named values are int-sized.
bool IsWide(ArgType type) {
  return type == ArgType::kCloneFlags || type == ArgType::kUnshareFlags || type == ArgType::kMountFlags ||
         type == ArgType::kMapFlags;
}

}  // namespace

std::string FormatFlags(uint64_t value, std::span<const ConstantName> flags) {
  std::string text;
  for (const ConstantName& flag : flags) {
    if (flag.value == 0 || (value & flag.value) != flag.value) continue;
    Append(text, flag.name);
    value &= ~flag.value;
  }
  if (value != 0) Append(text, format("{:#x}", value));
  if (!text.empty()) return text;
  const ConstantName* none = FindName(0, flags);
  return none ? none->name : "0";
}

std::string FormatValue(uint64_t value, std::span<const ConstantName> values) {
  const ConstantName* found = FindName(value, values);
  return found ? found->name : format("{:#x}", value);
}

std::optional<std::string> FormatConstant(ArgType type, uint64_t value) {
  if (!IsWide(type)) value &= 0xffffffff;
  if (type == ArgType::kSignal) return FormatSignal(static_cast<int>(value));
  const ConstantTable* table = FindTable(type);
  if (table == nullptr) return std::nullopt;
  if (table->mask == 0) return FormatFlags(value, table->flags);

  const uint64_t head = value & table->mask, rest = value & ~table->mask;
  if (rest == 0 && (head != 0 || !table->flags_first)) return FormatValue(head, table->values);
  if (table->flags_first) {
    std::string text = FormatFlags(rest, table->flags);
    if (head != 0) Append(text, FormatValue(head, table->values));
    return text;
  }
  std::string text = FormatValue(head, table->values);
  Append(text, FormatFlags(rest, table->flags));
  return text;
}

std::string FormatSignal(int signal) {
  constexpr int kFirstRealTime = 32, kLast = 64;  // as the kernel counts; the C library keeps two for itself
  if (signal >= kFirstRealTime && signal <= kLast) return format("SIGRT_{}", signal - kFirstRealTime);
  const char* name = sigabbrev_np(signal);
  return name ? format("SIG{}", name) : format("{}", signal);
}

const char* ErrnoName(int error) {
  switch (error) {
    case kERESTARTSYS: return "ERESTARTSYS";
    case kERESTARTNOINTR: return "ERESTARTNOINTR";
    case kERESTARTNOHAND: return "ERESTARTNOHAND";
    case 516: return "ERESTART_RESTARTBLOCK";
    case 524: return "ENOTSUPP";
    default: break;
  }
  const char* name = strerrorname_np(error);
  return name && error != 0 ? name : "E???";
}

const char* ErrnoText(int error) {
  if (error >= kERESTARTSYS && error <= 516) return "To be restarted";
  const char* text = strerrordesc_np(error);
  return text && error != 0 ? text : "";
}

}  // namespace usl::abi
