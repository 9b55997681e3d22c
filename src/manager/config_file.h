// Reading configuration files: texts to checked settings. The texts may be hostile (a guest's tree); whatever is wrong
// with them is a line for people, and everything else in them still counts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace usl::manager {

// In the order of precedence.
enum class ConfigOrigin { kBuiltIn, kHostFile, kWslConf, kUslConf, kSet, kCommandLine };

struct ConfigSetting {
  std::string key;    // one of ConfigKeys()
  std::string value;  // in normal form
  ConfigOrigin origin = ConfigOrigin::kBuiltIn;
  std::string where;  // "/etc/wsl.conf:3", "usl set", "--hostname"
};

// When a service that ended is started again.
enum class ServiceRestart { kNever, kOnFailure, kAlways };

// A [[service]] of usl.conf.
struct ServiceSetting {
  std::string name;     // 1 to 64 of letters, digits, '.', '_', '-', '@', not starting with a dot
  std::string command;  // for /bin/sh -c
  std::string user;     // empty = root
  ServiceRestart restart = ServiceRestart::kNever;
};

struct ConfigFile {
  std::vector<ConfigSetting> settings;
  std::vector<ServiceSetting> services;
  std::vector<std::string> warnings;  // "/etc/usl.conf:3: ..."
};

// The most that a file may have; a larger one is not read.
inline constexpr size_t kMaxConfigSize = 256 << 10;

// WSL's format: [section], key = value with quotes, escapes, continued lines and # comments; of a key that is given
// twice the first counts. `name` is the file's for messages.
ConfigFile ParseWslConf(std::string_view text, std::string_view name);
// TOML 1.0 with the same sections and keys, of usl.conf and of config.toml (which has no services). A text that is no
// TOML gives one warning and nothing else.
ConfigFile ParseTomlConfig(std::string_view text, std::string_view name, ConfigOrigin origin);

// One setting, checked. EINVAL, with a line for people in `why`: unknown key, or wrong value.
Result<ConfigSetting> CheckSetting(std::string_view key, std::string_view value, ConfigOrigin origin,
                                   std::string_view where, std::string* why);

}  // namespace usl::manager
