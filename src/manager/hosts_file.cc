#include "manager/hosts_file.h"

#include <algorithm>

namespace usl::manager {
namespace {

constexpr std::string_view kMark = "# usl";
constexpr std::string_view kBlanks = " \t\r";

bool HasWord(std::string_view line, std::string_view word) {
  line = line.substr(0, line.find('#'));
  while (!line.empty()) {
    const size_t start = std::min(line.find_first_not_of(kBlanks), line.size());
    line.remove_prefix(start);
    const size_t end = std::min(line.find_first_of(kBlanks), line.size());
    if (line.substr(0, end) == word) return true;
    line.remove_prefix(end);
  }
  return false;
}

}  // namespace

std::string HostsWithName(std::string_view text, std::string_view name, bool marked) {
  std::string out;
  bool has_name = false;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const bool names_it = HasWord(line, name);
    if (line.ends_with(kMark) && !names_it) continue;
    has_name |= names_it;
    out.append(line) += '\n';
  }
  if (has_name || name.empty()) return out;
  out.append("127.0.1.1\t").append(name);
  if (marked) out.append("\t").append(kMark);
  return out + '\n';
}

}  // namespace usl::manager
