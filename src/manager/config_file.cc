#include "manager/config_file.h"

#include <algorithm>

#include "base/format.h"
#include "manager/config_schema.h"

namespace usl::manager {
namespace {

constexpr size_t kMostWarnings = 20;

bool IsLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool IsLetterOrDigit(char c) {
  return IsLetter(c) || (c >= '0' && c <= '9');
}

bool IsBlank(char c) {
  return c == ' ' || c == '\t';
}

class WslConfParser {
 public:
  WslConfParser(std::string_view text, std::string_view name) : text_(text), name_(name) {
    if (text_.starts_with("\xEF\xBB\xBF")) text_.remove_prefix(3);
  }

  ConfigFile Parse() {
    while (!AtEnd()) {
      const unsigned line = line_;
      if (!ParseLine()) {
        Warn(line, wrong_);
      }
      SkipLine();
    }
    if (dropped_) result_.warnings.push_back(format("{}: {} more mistakes", name_, dropped_));
    return std::move(result_);
  }

 private:
  bool AtEnd() const { return at_ == text_.size(); }
  // A line ends at CR too.
  bool AtLineEnd() const { return AtEnd() || text_[at_] == '\n' || text_[at_] == '\r'; }
  bool AtLineEndOrComment() const { return AtLineEnd() || text_[at_] == '#'; }

  void SkipBlanks() {
    while (!AtEnd() && IsBlank(text_[at_])) ++at_;
  }

  void SkipLine() {
    while (!AtLineEnd()) ++at_;
    SkipNewline();
  }

  void SkipNewline() {
    if (AtEnd()) return;
    at_ += text_.substr(at_).starts_with("\r\n") ? 2 : 1;
    ++line_;
  }

  bool Wrong(std::string what) {
    wrong_ = std::move(what);
    return false;
  }

  void Warn(unsigned line, std::string_view what) {
    if (result_.warnings.size() >= kMostWarnings) {
      ++dropped_;
      return;
    }
    result_.warnings.push_back(format("{}:{}: {}", name_, line, what));
  }

  std::string Word() {
    const size_t start = at_;
    while (!AtEnd() && IsLetterOrDigit(text_[at_])) ++at_;
    return std::string(text_.substr(start, at_ - start));
  }

  bool ParseLine() {
    SkipBlanks();
    if (AtLineEndOrComment()) return true;
    if (text_[at_] == '[') return ParseSection();
    if (!IsLetter(text_[at_])) return Wrong("a key starts with a letter");
    return ParseKeyValue();
  }

  bool ParseSection() {
    ++at_;
    if (AtEnd() || !IsLetter(text_[at_])) return Wrong("the name of a section starts with a letter");
    std::string section = Word();
    if (AtEnd() || text_[at_] != ']') return Wrong("\"]\" is missing");
    ++at_;
    SkipBlanks();
    if (!AtLineEndOrComment()) return Wrong("there is something behind \"]\"");
    section_ = std::move(section);
    return true;
  }

  bool ParseKeyValue() {
    const unsigned line = line_;
    std::string key = section_.empty() ? Word() : section_ + "." + Word();
    SkipBlanks();
    if (AtEnd() || text_[at_] != '=') return Wrong(format("\"=\" is missing behind {}", PrintableConfig(key)));
    ++at_;
    SkipBlanks();
    std::string value;
    if (!ParseValue(&value)) return false;
    Take(key, value, line);
    return true;
  }

  // Up to the end of the line or a comment, without blanks at the end that stand outside of quotes.
  bool ParseValue(std::string* value) {
    bool quoted = false;
    size_t kept = 0;
    while (!AtLineEnd()) {
      const char c = text_[at_];
      if (c == '#' && !quoted) break;
      ++at_;
      if (c == '"') {
        quoted = !quoted;
      } else if (c == '\\') {
        if (!ParseEscape(value)) return false;
      } else {
        value->push_back(c);
      }
      if (!IsBlank(c)) kept = value->size();
    }
    if (quoted) return Wrong("the closing '\"' is missing");
    value->resize(kept);
    return true;
  }

  bool ParseEscape(std::string* value) {
    if (AtLineEnd()) {
      SkipNewline();
      return true;
    }
    switch (text_[at_]) {
      case '\\':
      case '"': value->push_back(text_[at_]); break;
      case 'b': value->push_back('\b'); break;
      case 'n': value->push_back('\n'); break;
      case 't': value->push_back('\t'); break;
      default: return Wrong(format("\"\\{}\" is no escape", PrintableConfig(text_.substr(at_, 1))));
    }
    ++at_;
    return true;
  }

  void Take(const std::string& key, const std::string& value, unsigned line) {
    std::string why;
    auto setting = CheckSetting(key, value, ConfigOrigin::kWslConf, format("{}:{}", name_, line), &why);
    if (!setting) return Warn(line, why);
    const auto same = std::ranges::find(result_.settings, setting->key, &ConfigSetting::key);
    if (same != result_.settings.end()) {
      return Warn(line, format("{} is given a second time ({} counts)", setting->key, same->where));
    }
    result_.settings.push_back(std::move(*setting));
  }

  std::string_view text_;
  std::string_view name_;
  size_t at_ = 0;
  unsigned line_ = 1;
  std::string section_;
  std::string wrong_;
  size_t dropped_ = 0;
  ConfigFile result_;
};

}  // namespace

ConfigFile ParseWslConf(std::string_view text, std::string_view name) {
  return WslConfParser(text, name).Parse();
}

Result<ConfigSetting> CheckSetting(std::string_view key, std::string_view value, ConfigOrigin origin,
                                   std::string_view where, std::string* why) {
  const ConfigKey* known = FindConfigKey(key);
  if (!known) {
    *why = format("unknown key {}", PrintableConfig(key));
    return Fail(EINVAL);
  }
  std::string allowed;
  auto normal = NormalConfigValue(*known, value, &allowed);
  if (!normal) {
    *why = format("{} cannot be \"{}\": {}", known->name, PrintableConfig(value), allowed);
    return Fail(EINVAL);
  }
  return ConfigSetting{std::string(known->name), std::move(*normal), origin, std::string(where)};
}

}  // namespace usl::manager
