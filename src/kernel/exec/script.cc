#include "kernel/exec/script.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace usl::kernel::exec {
namespace {

constexpr std::string_view kBlanks = " \t";
constexpr std::string_view kTerminators(" \t\0", 3);

std::string UpToNul(std::string_view text) {
  return std::string(text.substr(0, text.find('\0')));
}

}  // namespace

Result<ScriptLine> ParseScript(std::span<const std::byte> first_bytes) {
  std::array<char, kScriptLine> buffer{};
  const auto start = first_bytes.first(std::min(first_bytes.size(), buffer.size()));
  std::ranges::copy(start, std::as_writable_bytes(std::span(buffer)).begin());
  std::string_view line(buffer.data(), buffer.size());
  if (!line.starts_with("#!")) return Fail(ENOEXEC);
  line.remove_prefix(2);

  const size_t end = line.find_first_of(std::string_view("\n\0", 2));
  if (end != line.npos && line[end] == '\n') {
    line = line.substr(0, end);
  } else {
    // No line end: what is at hand may be cut, which only the argument may be.
    const size_t name = line.find_first_not_of(kBlanks);
    if (name == line.npos || line.find_first_of(kTerminators, name) == line.npos) return Fail(ENOEXEC);
    line.remove_suffix(1);  // Linux puts its NUL there
  }
  const size_t name = line.find_first_not_of(kBlanks);
  if (name == line.npos) return Fail(ENOEXEC);
  line = line.substr(name, line.find_last_not_of(kBlanks) + 1 - name);

  const size_t separator = line.find_first_of(kTerminators);
  ScriptLine result{.interpreter = std::string(line.substr(0, separator)), .argument = {}};
  if (result.interpreter.empty()) return Fail(EACCES);
  if (separator != line.npos && line[separator] != '\0') {
    const size_t argument = line.find_first_not_of(kBlanks, separator);
    if (argument != line.npos) result.argument = UpToNul(line.substr(argument));
  }
  return result;
}

}  // namespace usl::kernel::exec
