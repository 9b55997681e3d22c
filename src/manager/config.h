// The configuration of a distribution: what holds, where it comes from, and what it means for an instance.
//
// Precedence, the first wins: command line, `usl set`, the guest's usl.conf and wsl.conf, the host's config.toml, built
// in. But the guest's files are hostile: keys that open something of the host's they cannot set, or only to less than
// the host says (GuestMay in config_schema.h).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "manager/config_file.h"
#include "manager/registry.h"
#include "manager/run_options.h"

namespace usl::manager {

struct ConfigValue {
  std::string text;  // in normal form
  ConfigOrigin origin = ConfigOrigin::kBuiltIn;
  std::string where;  // "/etc/wsl.conf:3"; empty: built in
};

enum class InteropPolicy { kOff, kList, kAll };

class Config {
 public:
  // All built in.
  Config();

  // Merges; the order of `files` does not matter, their settings' origins do.
  static Config Merge(std::vector<ConfigFile> files);

  // `key` is one of ConfigKeys(), written as there.
  const ConfigValue& Of(std::string_view key) const;
  const std::string& Text(std::string_view key) const { return Of(key).text; }
  bool Flag(std::string_view key) const { return Text(key) == "true"; }
  std::vector<std::string> List(std::string_view key) const;

  mode_t umask() const;
  // Milliseconds; negative: never.
  int32_t idle_milliseconds() const;
  InteropPolicy interop() const;
  // What boot.command and automount.mountFsTab together run at boot by root's /bin/sh; `fstab` is the text of the
  // guest's. Empty: nothing.
  std::string BootCommand(std::string_view fstab) const;
  // The volumes of automount. A directory that the host does not have is left out, with a warning.
  std::vector<Volume> AutomountVolumes(std::vector<std::string>* warnings) const;

  const std::vector<ServiceSetting>& services() const { return services_; }
  // Lines for people: what is unknown, wrong, or not the guest's to say.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  void Apply(const ConfigSetting& setting, bool narrow);

  std::map<std::string, ConfigValue, std::less<>> values_;
  std::vector<ServiceSetting> services_;
  std::vector<std::string> warnings_;
};

inline constexpr char kWslConfPath[] = "/etc/wsl.conf";
inline constexpr char kUslConfPath[] = "/etc/usl.conf";

// What the guest's tree says. `read` reads a file of it (ENOENT: there is none); it is asked for both paths above.
std::vector<ConfigFile> ReadGuestConfig(const std::function<Result<std::string>(const std::string& path)>& read);

// $XDG_CONFIG_HOME/usl/config.toml, or ~/.config/usl/config.toml. Empty without a home.
std::string HostConfigPath();
// What the host's file says; nothing there is nothing said.
ConfigFile ReadHostConfig();
// What `usl set` stored. A key that this version does not know is a warning.
ConfigFile ReadStoredOptions(const Distribution& distribution);

// "built in", "/etc/wsl.conf", ... for people and for --json.
std::string_view ConfigOriginName(ConfigOrigin origin);

}  // namespace usl::manager
