#include "cli/front_words.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "manager/registry.h"

namespace usl::cli {
namespace {

bool HasDefaultDistribution() {
  std::string why;
  const auto data = manager::Registry::OfUser().Read(&why);
  // A registry that cannot be read is told of by the shell that cannot be started.
  return !data || !data->default_distribution.empty();
}

// Options of a session, and whether a value follows them.
bool IsSessionOption(std::string_view word, bool* has_value) {
  static constexpr std::array<std::string_view, 6> kWithValue{"-d",     "--distribution", "-u",
                                                              "--user", "--cd",           "--shell-type"};
  static constexpr std::array<std::string_view, 4> kAlone{"-e", "--exec", "--", "~"};
  *has_value = std::ranges::find(kWithValue, word) != kWithValue.end();
  if (*has_value || std::ranges::find(kAlone, word) != kAlone.end()) return true;
  return std::ranges::any_of(kWithValue, [&](std::string_view option) {
    return option.starts_with("--") && word.starts_with(option) && word[option.size()] == '=';
  });
}

// "shell" with its options, then "--" and the command.
std::vector<std::string> Session(const std::vector<std::string>& words) {
  std::vector<std::string> options{"shell"}, command;
  bool named = false;
  for (size_t i = 0; i < words.size(); ++i) {
    std::string word = words[i];
    bool has_value = false;
    if (word == "~") {
      options.insert(options.end(), {"--cd", "~"});
      continue;
    }
    if (word == "--" || !IsSessionOption(word, &has_value)) {
      // An option that there is not is refused by the parser; anything else begins the command.
      if (word != "--" && word.size() > 1 && word[0] == '-') {
        options.push_back(word);
        continue;
      }
      command.assign(words.begin() + static_cast<std::ptrdiff_t>(i) + (word == "--"), words.end());
      break;
    }
    named = named || word == "-d" || word.starts_with("--distribution");
    options.push_back(word);
    if (has_value && i + 1 < words.size()) options.push_back(words[++i]);
    if (word == "-e" || word == "--exec") {
      command.assign(words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end());
      if (!command.empty() && command[0] == "--") command.erase(command.begin());
      break;
    }
  }
  // With it all that follows is the command.
  if (!named) options.push_back("--distribution=");
  options.push_back("--");
  options.insert(options.end(), command.begin(), command.end());
  return options;
}

}  // namespace

std::vector<std::string> TranslateFrontWords(const std::vector<std::string>& words) {
  if (words.empty()) return HasDefaultDistribution() ? Session(words) : words;
  const std::string& first = words.front();
  const auto with = [&words](const std::string& command) {
    std::vector<std::string> translated{command};
    translated.insert(translated.end(), words.begin() + 1, words.end());
    return translated;
  };
  if (first == "--terminate" || first == "-t") return with("stop");
  if (first == "--shutdown") return with("shutdown");
  if (first == "--status") return with("status");
  if (first == "-v") return with("version");
  bool has_value = false;
  return IsSessionOption(first, &has_value) ? Session(words) : words;
}

}  // namespace usl::cli
