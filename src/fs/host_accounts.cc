#include "fs/host_accounts.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "base/format.h"

namespace usl::fs {
namespace {

// Calls `each` with the fields of every line that has `count` of them and a proper name.
template <typename Function>
void ForEachAccount(std::string_view text, size_t count, Function each) {
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    std::vector<std::string_view> fields;
    while (true) {
      size_t colon = std::min(line.find(':'), line.size());
      fields.push_back(line.substr(0, colon));
      if (colon == line.size()) break;
      line.remove_prefix(colon + 1);
    }
    // "+" and "-" lines are NIS directives, not accounts.
    if (fields.size() != count || fields[0].empty() || fields[0][0] == '+' || fields[0][0] == '-') continue;
    each(fields);
  }
}

std::optional<uint32_t> Number(std::string_view text) {
  uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string MakeShadow(std::string_view passwd) {
  std::string shadow;
  ForEachAccount(passwd, 7, [&](const auto& fields) { shadow += format("{}:*:19700:0:99999:7:::\n", fields[0]); });
  return shadow;
}

std::string MakeGshadow(std::string_view group) {
  std::string gshadow;
  ForEachAccount(group, 4, [&](const auto& fields) { gshadow += format("{}:*::{}\n", fields[0], fields[3]); });
  return gshadow;
}

std::optional<gid_t> FindGroup(std::string_view group, std::string_view name) {
  std::optional<gid_t> found;
  ForEachAccount(group, 4, [&](const auto& fields) {
    if (!found && fields[0] == name) found = Number(fields[2]);
  });
  return found;
}

std::optional<std::string> FindHome(std::string_view passwd, uid_t uid) {
  std::optional<std::string> found;
  ForEachAccount(passwd, 7, [&](const auto& fields) {
    if (!found && Number(fields[2]) == uid) found = std::string(fields[5]);
  });
  return found;
}

}  // namespace usl::fs
