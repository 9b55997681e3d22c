#include "cli/wsl_words.h"

#include <algorithm>
#include <map>

namespace usl::cli {
namespace {

using Words = std::vector<std::string>;

// Removes an option, and its value where it has one.
void Drop(Words& words, const std::string& option, bool has_value) {
  const auto found = std::ranges::find(words, option);
  if (found == words.end()) return;
  const auto count = has_value && found + 1 != words.end() ? 2 : 1;
  words.erase(found, found + count);
}

Words Import(Words words) {
  Drop(words, "--version", true);
  if (words.size() < 3 || words[1].starts_with("--")) return words;
  const std::string location = words[1];
  words.erase(words.begin() + 1);
  words.insert(words.end(), {"--location", location});
  return words;
}

Words Install(Words words) {
  for (const char* flag : {"--web-download", "--enable-wsl1", "--fixed-vhd", "--legacy", "--pre-release"}) {
    Drop(words, flag, false);
  }
  Drop(words, "--version", true);
  Drop(words, "--vhd-size", true);
  for (const char* option : {"-d", "--distribution"}) {
    const auto found = std::ranges::find(words, option);
    if (found != words.end()) words.erase(found);  // its value is what is installed
  }
  return words;
}

}  // namespace

Words TranslateWslWords(const Words& words) {
  static const std::map<std::string, std::string> kCommands = {
      {"--install", "install"},         {"--import", "import"}, {"--import-in-place", "import-in-place"},
      {"--export", "export"},           {"--list", "list"},     {"-l", "list"},
      {"--set-default", "set-default"}, {"-s", "set-default"},  {"--setdefault", "set-default"},
      {"--unregister", "remove"},       {"--manage", "manage"},
  };
  if (words.empty()) return words;
  const auto found = kCommands.find(words.front());
  if (found == kCommands.end()) return words;
  Words rest(words.begin() + 1, words.end());
  if (found->second == "import") rest = Import(std::move(rest));
  if (found->second == "install") rest = Install(std::move(rest));
  rest.insert(rest.begin(), found->second);
  return rest;
}

}  // namespace usl::cli
