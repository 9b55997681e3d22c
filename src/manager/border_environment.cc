#include "manager/border_environment.h"

#include <strings.h>

#include <algorithm>
#include <optional>
#include <string_view>

namespace usl::manager {
namespace {

// The value, or nothing where the variable is not set.
std::optional<std::string_view> Find(const std::vector<std::string>& environment, std::string_view name) {
  for (const std::string_view entry : environment) {
    if (entry.size() > name.size() && entry[name.size()] == '=' && entry.starts_with(name)) {
      return entry.substr(name.size() + 1);
    }
  }
  return std::nullopt;
}

std::optional<std::string> Translate(std::string_view path, Border border, const PathMap& map) {
  if (!path.starts_with('/')) return std::nullopt;
  const std::string normal = NormalPath(path);
  auto translated = border == Border::kToGuest ? map.ToGuest(normal) : map.ToHost(normal);
  if (!translated) return std::nullopt;
  return std::move(*translated);
}

// Calls `each` with every part between the separators.
template <typename F>
void ForEachPart(std::string_view text, char separator, F each) {
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    if (end > 0) each(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

struct List {
  std::string_view variable;  // USLENV or WSLENV; empty: there is none
  std::string_view text;
};

List FindList(const std::vector<std::string>& environment) {
  for (const std::string_view variable : {"USLENV", "WSLENV"}) {
    if (const auto text = Find(environment, variable)) return {variable, *text};
  }
  return {};
}

// Calls `each` with name, flags and value of every variable in the list that is set.
template <typename F>
void ForEachListed(const std::vector<std::string>& environment, const List& list, F each) {
  ForEachPart(list.text, ':', [&](std::string_view word) {
    const size_t slash = std::min(word.find('/'), word.size());
    const std::string_view name = word.substr(0, slash);
    const auto value = name.empty() || name == list.variable ? std::nullopt : Find(environment, name);
    if (value) each(name, word.substr(slash), *value);
  });
}

std::optional<std::string> Value(std::string_view value, std::string_view flags, Border border, const PathMap& map) {
  const auto has = [flags](char flag) { return flags.find(flag) != flags.npos; };
  if ((has('u') && border == Border::kToHost) || (has('w') && border == Border::kToGuest)) return std::nullopt;
  if (has('l')) {
    std::string list;
    ForEachPart(value, ':', [&](std::string_view part) {
      if (const auto path = Translate(part, border, map)) list += (list.empty() ? "" : ":") + *path;
    });
    return list.empty() ? std::nullopt : std::optional(list);
  }
  if (has('p')) return Translate(value, border, map);
  return std::string(value);
}

}  // namespace

std::vector<std::string> SharedEnvironment(const std::vector<std::string>& environment, Border border,
                                           const PathMap& map) {
  std::vector<std::string> shared;
  const List list = FindList(environment);
  if (list.variable.empty()) return shared;
  ForEachListed(environment, list, [&](std::string_view name, std::string_view flags, std::string_view value) {
    if (auto crossed = Value(value, flags, border, map)) shared.push_back(std::string(name) + "=" + *crossed);
  });
  shared.push_back(std::string(list.variable) + "=" + std::string(list.text));
  return shared;
}

std::vector<std::string> ListedEnvironment(const std::vector<std::string>& environment) {
  std::vector<std::string> listed;
  const List list = FindList(environment);
  if (list.variable.empty()) return listed;
  ForEachListed(environment, list, [&](std::string_view name, std::string_view flags, std::string_view value) {
    if (flags.find('w') == flags.npos) listed.push_back(std::string(name) + "=" + std::string(value));
  });
  listed.push_back(std::string(list.variable) + "=" + std::string(list.text));
  return listed;
}

std::vector<std::string> TranslateListed(const std::vector<std::string>& environment, const PathMap& map) {
  std::vector<std::string> translated = SharedEnvironment(environment, Border::kToGuest, map);
  const List list = FindList(environment);
  std::vector<std::string_view> names{list.variable};
  ForEachListed(environment, list, [&](std::string_view name, auto, auto) { names.push_back(name); });
  for (const std::string& entry : environment) {
    if (!std::ranges::count(names, std::string_view(entry).substr(0, entry.find('=')))) translated.push_back(entry);
  }
  return translated;
}

std::vector<std::string> ProxyEnvironment(const std::vector<std::string>& environment) {
  std::vector<std::string> proxies;
  for (const std::string& entry : environment) {
    const std::string name = entry.substr(0, entry.find('='));
    for (const char* proxy : {"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"}) {
      if (strcasecmp(name.c_str(), proxy) == 0) proxies.push_back(entry);
    }
  }
  return proxies;
}

std::vector<std::string> EnvironmentOf(char* const* environment) {
  std::vector<std::string> all;
  for (; *environment; ++environment) all.emplace_back(*environment);
  return all;
}

}  // namespace usl::manager
