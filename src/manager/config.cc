#include "manager/config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/format.h"
#include "base/unique_fd.h"
#include "manager/config_schema.h"
#include "manager/host_paths.h"

namespace usl::manager {
namespace {

bool IsOfGuest(ConfigOrigin origin) {
  return origin == ConfigOrigin::kWslConf || origin == ConfigOrigin::kUslConf;
}

Result<std::string> ReadHostText(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return FailErrno();
  struct stat status;
  if (fstat(fd.get(), &status) < 0) return FailErrno();
  if (!S_ISREG(status.st_mode)) return Fail(EINVAL);
  std::string text;
  char buffer[16384];
  ssize_t size;
  while ((size = read(fd.get(), buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<size_t>(size));
    if (text.size() > kMaxConfigSize) return Fail(EFBIG);
  }
  if (size < 0) return FailErrno();
  return text;
}

std::string Unreadable(const std::string& path, Error error) {
  if (error.code() == EFBIG) return format("{}: larger than {} KiB, so it is not read", path, kMaxConfigSize >> 10);
  return format("{}: cannot be read: {}", path, ErrorText(error.code()));
}

// Whether fstab(5) has an entry at all; distributions ship one of comments.
bool HasEntries(std::string_view fstab) {
  while (!fstab.empty()) {
    const std::string_view line = fstab.substr(0, fstab.find('\n'));
    const size_t start = line.find_first_not_of(" \t\r");
    if (start != line.npos && line[start] != '#') return true;
    fstab.remove_prefix(std::min(line.size() + 1, fstab.size()));
  }
  return false;
}

bool IsReadOnly(const std::string& volume_options) {
  Volume volume;
  std::string bad;
  return ParseVolumeOptions(volume_options, &volume, &bad) && volume.options.read_only;
}

}  // namespace

Config::Config() {
  for (const ConfigKey& key : ConfigKeys()) {
    values_.emplace(key.name, ConfigValue{std::string(key.builtin), ConfigOrigin::kBuiltIn, {}});
  }
}

Config Config::Merge(std::vector<ConfigFile> files) {
  Config config;
  std::vector<ConfigSetting> settings;
  for (ConfigFile& file : files) {
    std::ranges::move(file.settings, std::back_inserter(settings));
    std::ranges::move(file.services, std::back_inserter(config.services_));
    std::ranges::move(file.warnings, std::back_inserter(config.warnings_));
  }
  std::ranges::stable_sort(settings, {}, &ConfigSetting::origin);
  // What guests may only narrow is narrowed at last, when it is known what the host says.
  for (const bool narrow : {false, true}) {
    for (const ConfigSetting& setting : settings) config.Apply(setting, narrow);
  }
  return config;
}

void Config::Apply(const ConfigSetting& setting, bool narrow) {
  const ConfigKey* key = FindConfigKey(setting.key);
  const auto value = values_.find(setting.key);
  if (!key || value == values_.end()) return;
  const bool is_guests = IsOfGuest(setting.origin);
  if ((is_guests && key->guest == GuestMay::kNarrow) != narrow) return;
  if (is_guests && key->guest == GuestMay::kNothing) {
    warnings_.push_back(format("{}: {} is the host's to say: config.toml or `usl set`", setting.where, setting.key));
    return;
  }
  if (narrow && !IsNarrower(key->type, setting.value, value->second.text)) {
    if (setting.value == value->second.text) return;
    warnings_.push_back(format("{}: {} stays \"{}\", as the host says: a distribution can take away from it only",
                               setting.where, setting.key, value->second.text));
    return;
  }
  const bool stays_read_only = is_guests && key->type == ConfigType::kDrvFsOptions && IsReadOnly(value->second.text);
  value->second = {setting.value, setting.origin, setting.where};
  if (stays_read_only) value->second.text += value->second.text.empty() ? "ro" : ",ro";
}

const ConfigValue& Config::Of(std::string_view key) const {
  static const ConfigValue kNone;
  const auto found = values_.find(key);
  return found == values_.end() ? kNone : found->second;
}

std::vector<std::string> Config::List(std::string_view key) const {
  return ConfigList(Text(key));
}

mode_t Config::umask() const {
  return static_cast<mode_t>(strtoul(Text("filesystem.umask").c_str(), nullptr, 8));
}

int32_t Config::idle_milliseconds() const {
  const std::string& text = Text("instance.idle_timeout");
  return text == "never" ? -1 : static_cast<int32_t>(strtol(text.c_str(), nullptr, 10));
}

InteropPolicy Config::interop() const {
  if (!Flag("interop.enabled")) return InteropPolicy::kOff;
  const std::string& policy = Text("interop.policy");
  return policy == "all" ? InteropPolicy::kAll : policy == "list" ? InteropPolicy::kList : InteropPolicy::kOff;
}

std::string Config::BootCommand(std::string_view fstab) const {
  const std::string& command = Text("boot.command");
  if (!Flag("automount.mountFsTab") || !HasEntries(fstab)) return command;
  return command.empty() ? "mount -a" : "mount -a\n" + command;
}

std::vector<Volume> Config::AutomountVolumes(std::vector<std::string>* warnings) const {
  std::vector<Volume> volumes;
  if (!Flag("automount.enabled")) return volumes;
  const std::string root = Text("automount.root") == "/" ? "" : Text("automount.root");
  for (const std::string& directory : List("automount.directories")) {
    std::string why;
    Share share;
    if (!ParseShare(directory, &share, &why)) {
      warnings->push_back(format("{}: {}", Of("automount.directories").where, why));
      continue;
    }
    Volume volume{.host_path = share.host_path, .alias = share.alias};
    const std::string& shown = share.alias.empty() ? share.host_path : share.alias;
    volume.guest_path = root + "/host" + (shown == "/" ? "" : shown);
    // The host's permission bits, as -v has them, unless the options say otherwise.
    volume.options.host_modes = true;
    std::string bad;
    if (!ParseVolumeOptions(Text("automount.options"), &volume, &bad)) warnings->push_back(bad);
    volume.options.read_only |= share.read_only;
    volumes.push_back(std::move(volume));
  }
  return volumes;
}

std::vector<ConfigFile> ReadGuestConfig(const std::function<Result<std::string>(const std::string&)>& read) {
  std::vector<ConfigFile> files;
  for (const char* path : {kWslConfPath, kUslConfPath}) {
    const auto text = read(path);
    if (!text) {
      if (text.error().code() == ENOENT || text.error().code() == ENOTDIR) continue;
      files.push_back({.warnings = {Unreadable(path, text.error())}});
    } else if (path == kWslConfPath) {
      files.push_back(ParseWslConf(*text, path));
    } else {
      files.push_back(ParseTomlConfig(*text, path, ConfigOrigin::kUslConf));
    }
  }
  return files;
}

std::string HostConfigPath() {
  if (const char* home = getenv("XDG_CONFIG_HOME"); home && home[0] == '/') {
    return std::string(home) + "/usl/config.toml";
  }
  const std::string home = HostHome();
  return home.empty() ? std::string() : home + "/.config/usl/config.toml";
}

ConfigFile ReadHostConfig() {
  const std::string path = HostConfigPath();
  if (path.empty()) return {};
  const auto text = ReadHostText(path);
  if (text) return ParseTomlConfig(*text, path, ConfigOrigin::kHostFile);
  if (text.error().code() == ENOENT || text.error().code() == ENOTDIR) return {};
  return {.warnings = {Unreadable(path, text.error())}};
}

ConfigFile ReadStoredOptions(const Distribution& distribution) {
  ConfigFile file;
  for (const auto& [key, value] : distribution.options) {
    std::string why;
    auto setting = CheckSetting(key, value, ConfigOrigin::kSet, "usl set", &why);
    if (setting) {
      file.settings.push_back(std::move(*setting));
    } else {
      file.warnings.push_back(format("{}: {}; `usl set {} {} --unset` removes it", distribution.name, why,
                                     distribution.name, PrintableConfig(key)));
    }
  }
  if (!distribution.default_user.empty()) {
    std::string why;
    auto setting = CheckSetting("user.default", distribution.default_user, ConfigOrigin::kSet, "usl set", &why);
    if (setting) {
      file.settings.push_back(std::move(*setting));
    } else {
      file.warnings.push_back(format("{}: {}", distribution.name, why));
    }
  }
  return file;
}

std::string_view ConfigOriginName(ConfigOrigin origin) {
  switch (origin) {
    case ConfigOrigin::kBuiltIn: return "built in";
    case ConfigOrigin::kHostFile: return "config.toml";
    case ConfigOrigin::kWslConf: return "wsl.conf";
    case ConfigOrigin::kUslConf: return "usl.conf";
    case ConfigOrigin::kSet: return "usl set";
    case ConfigOrigin::kCommandLine: return "command line";
  }
  return "";
}

}  // namespace usl::manager
