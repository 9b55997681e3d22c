#include "manager/environment.h"

#include <algorithm>
#include <string_view>

namespace usl::manager {
namespace {

std::string_view NameOf(std::string_view entry) {
  return entry.substr(0, entry.find('='));
}

// Replaces the entry of the same name or adds one.
void Set(std::vector<std::string>& environment, std::string entry) {
  const auto old = std::ranges::find(environment, NameOf(entry), [](const std::string& e) { return NameOf(e); });
  if (old != environment.end()) {
    *old = std::move(entry);
  } else {
    environment.push_back(std::move(entry));
  }
}

}  // namespace

std::vector<std::string> MakeEnvironment(const protocol::Account& account, const std::vector<std::string>& requested,
                                         bool terminal, bool same_files, char* const* host_environment) {
  std::vector<std::string> environment = protocol::AccountEnvironment(account);
  for (std::string& entry : HostEnvironment(requested, terminal, same_files, host_environment)) {
    Set(environment, std::move(entry));
  }
  return environment;
}

std::vector<std::string> HostEnvironment(const std::vector<std::string>& requested, bool terminal, bool same_files,
                                         char* const* host_environment) {
  std::vector<std::string> environment;
  for (char* const* entry = host_environment; *entry; ++entry) {
    const std::string_view variable = NameOf(*entry);
    const bool wanted = (terminal && (variable == "TERM" || variable == "COLORTERM")) ||
                        (same_files && (variable == "LANG" || variable == "LANGUAGE" || variable.starts_with("LC_")));
    if (wanted) Set(environment, *entry);
  }
  for (const std::string& entry : requested) {
    if (entry.find('=') != entry.npos) {
      Set(environment, entry);
      continue;
    }
    for (char* const* host = host_environment; *host; ++host) {
      if (NameOf(*host) == entry) Set(environment, *host);
    }
  }
  return environment;
}

}  // namespace usl::manager
