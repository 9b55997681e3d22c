// The keys of the configuration: of the guest's /etc/wsl.conf and /etc/usl.conf, of the host's config.toml and of
// `usl set`, which all know the same ones (docs/configuration.md).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace usl::manager {

enum class ConfigType {
  kBoolean,       // true, false; also 1 and 0
  kUser,          // a name or a uid
  kHostName,      // hostname(7)
  kGuestPath,     // absolute
  kHostPaths,     // a list of absolute host paths, "~" being the home, with ":ro" behind what is read only
  kDrvFsOptions,  // as mount -o
  kMode,          // octal, at most 0777
  kDuration,      // "15s", "500ms", "2m", "1h", a number of seconds, "never"; normal form: milliseconds, or "never"
  kSize,          // bytes, or with K, M, G, T; 0 = no limit; normal form: bytes
  kCount,         // 0 = no limit
  kPolicy,        // off, list, all
  kNames,         // a list of names of programs or services
  kCommand,       // for /bin/sh -c
  kIgnored,       // WSL's, with no meaning here: any value is accepted
};

// What the guest's own files may do to a key. The guest is hostile: what opens something of the host's is the host
// user's to say, and the guest can give up some of it at most.
enum class GuestMay { kSet, kNarrow, kNothing };

struct ConfigKey {
  std::string_view name;  // "section.key"
  ConfigType type;
  std::string_view builtin;  // in normal form
  GuestMay guest;
  std::string_view effect;  // one line for people; of an ignored one: why
};

std::span<const ConfigKey> ConfigKeys();
// Null when there is none. Case does not matter, as in WSL; other names of WSL's lead to the same key.
const ConfigKey* FindConfigKey(std::string_view name);

// A value in its normal form; lists are joined by commas. EINVAL: `allowed` says what would have been right.
Result<std::string> NormalConfigValue(const ConfigKey& key, std::string_view text, std::string* allowed);

// The parts of a list in normal form.
std::vector<std::string> ConfigList(std::string_view text);

// Whether `value` allows less than `other`, both in normal form, of a key that guests may narrow.
bool IsNarrower(ConfigType type, std::string_view value, std::string_view other);

// For messages: a hostile text without control characters, cut to a length that fits a line.
std::string PrintableConfig(std::string_view text);

}  // namespace usl::manager
