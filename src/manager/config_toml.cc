#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <algorithm>

#include "base/format.h"
#include "manager/config_file.h"
#include "manager/config_schema.h"

namespace usl::manager {
namespace {

constexpr size_t kMostWarnings = 20;
constexpr size_t kMostServices = 256;
constexpr size_t kLongestCommand = 65536;

bool IsServiceName(std::string_view name) {
  constexpr size_t kLongest = 64;
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@";
  return !name.empty() && name.size() <= kLongest && name.front() != '.' &&
         name.find_first_not_of(kAllowed) == name.npos;
}

class TomlReader {
 public:
  TomlReader(std::string_view name, ConfigOrigin origin) : name_(name), origin_(origin) {}

  ConfigFile Read(std::string_view text) {
    const toml::parse_result parsed = toml::parse(text);
    if (!parsed) {
      const toml::parse_error& error = parsed.error();
      Warn(error.source().begin.line, format("this is no TOML: {}", PrintableConfig(error.description())));
      return std::move(result_);
    }
    for (const auto& [key, node] : parsed.table()) {
      if (key == "service" && origin_ == ConfigOrigin::kUslConf) {
        ReadServices(node);
      } else if (const toml::table* section = node.as_table()) {
        ReadSection(key.str(), *section);
      } else {
        Warn(Line(node), format("{} stands in no section", PrintableConfig(key.str())));
      }
    }
    if (dropped_) result_.warnings.push_back(format("{}: {} more mistakes", name_, dropped_));
    return std::move(result_);
  }

 private:
  static unsigned Line(const toml::node& node) { return node.source().begin.line; }

  void Warn(unsigned line, std::string_view what) {
    if (result_.warnings.size() >= kMostWarnings) {
      ++dropped_;
      return;
    }
    result_.warnings.push_back(format("{}:{}: {}", name_, line, what));
  }

  // The text of a value as wsl.conf would have it. False for a type that no key has.
  static bool Text(const toml::node& node, std::string* text) {
    if (const auto* string = node.as_string()) {
      *text = string->get();
    } else if (const auto* number = node.as_integer()) {
      *text = std::to_string(number->get());
    } else if (const auto* boolean = node.as_boolean()) {
      *text = boolean->get() ? "true" : "false";
    } else if (const auto* list = node.as_array()) {
      for (const toml::node& part : *list) {
        const auto* word = part.as_string();
        if (!word || word->get().empty() || word->get().find(',') != std::string::npos) return false;
        if (!text->empty()) *text += ',';
        *text += word->get();
      }
    } else {
      return false;
    }
    return true;
  }

  void ReadSection(std::string_view section, const toml::table& table) {
    for (const auto& [key, node] : table) {
      const std::string name = std::string(section) + "." + std::string(key.str());
      const unsigned line = Line(node);
      std::string text, why;
      // An octal number reads as it is written only as a text.
      if (FindConfigKey(name) && (!Text(node, &text) || IsPlainMode(name, node))) {
        Warn(line, format("{} has a value of a wrong kind: write a text in quotes, a number, true or false", name));
        continue;
      }
      auto setting = CheckSetting(name, text, origin_, format("{}:{}", name_, line), &why);
      if (!setting) {
        Warn(line, why);
      } else if (std::ranges::find(result_.settings, setting->key, &ConfigSetting::key) != result_.settings.end()) {
        Warn(line, format("{} is given a second time", setting->key));
      } else {
        result_.settings.push_back(std::move(*setting));
      }
    }
  }

  static bool IsPlainMode(const std::string& name, const toml::node& node) {
    return FindConfigKey(name)->type == ConfigType::kMode && node.is_integer();
  }

  void ReadServices(const toml::node& node) {
    const toml::array* list = node.as_array();
    if (!list || !list->is_array_of_tables()) {
      return Warn(Line(node), "service: write [[service]] with name and command below it");
    }
    for (const toml::node& each : *list) {
      if (result_.services.size() == kMostServices) {
        return Warn(Line(each), format("there are more than {} services", kMostServices));
      }
      ReadService(*each.as_table(), Line(each));
    }
  }

  void ReadService(const toml::table& table, unsigned line) {
    ServiceSetting service;
    std::string restart;
    for (const auto& [key, node] : table) {
      std::string* place = key == "name"      ? &service.name
                           : key == "command" ? &service.command
                           : key == "user"    ? &service.user
                           : key == "restart" ? &restart
                                              : nullptr;
      if (!place) {
        Warn(Line(node), format("unknown key service.{}", PrintableConfig(key.str())));
      } else if (const auto* text = node.as_string()) {
        *place = text->get();
      } else {
        return Warn(Line(node), format("service.{} must be a text in quotes", key.str()));
      }
    }
    if (!IsServiceName(service.name)) {
      return Warn(line, "service.name must be 1 to 64 letters, digits, '.', '_', '-' and '@'; the service is left out");
    }
    const auto same = std::ranges::find(result_.services, service.name, &ServiceSetting::name);
    if (same != result_.services.end()) return Warn(line, format("service {} is given a second time", service.name));
    if (service.command.empty() || service.command.size() > kLongestCommand ||
        service.command.find('\0') != std::string::npos) {
      return Warn(line, format("service {} has no command that could be run", service.name));
    }
    std::string allowed;
    if (!service.user.empty() && !NormalConfigValue(*FindConfigKey("user.default"), service.user, &allowed)) {
      return Warn(line, format("service {}: user must be {}", service.name, allowed));
    }
    if (restart == "always") {
      service.restart = ServiceRestart::kAlways;
    } else if (restart == "on-failure") {
      service.restart = ServiceRestart::kOnFailure;
    } else if (!restart.empty() && restart != "never") {
      Warn(line, format("service {}: restart must be always, on-failure or never", service.name));
    }
    result_.services.push_back(std::move(service));
  }

  std::string_view name_;
  ConfigOrigin origin_;
  size_t dropped_ = 0;
  ConfigFile result_;
};

}  // namespace

ConfigFile ParseTomlConfig(std::string_view text, std::string_view name, ConfigOrigin origin) {
  return TomlReader(name, origin).Read(text);
}

}  // namespace usl::manager
