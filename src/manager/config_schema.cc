#include "manager/config_schema.h"

#include <strings.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>

#include "base/format.h"
#include "manager/host_paths.h"
#include "manager/path_map.h"
#include "manager/run_options.h"

namespace usl::manager {
namespace {

using enum ConfigType;
using enum GuestMay;

constexpr ConfigKey kKeys[] = {
    {"automount.enabled", kBoolean, "true", kNarrow, "whether automount.directories are shown"},
    {"automount.root", kGuestPath, "/mnt", kSet, "where: HOST-PATH is ROOT/host/HOST-PATH"},
    {"automount.options", kDrvFsOptions, "", kSet, "their options, as of mount -t drvfs -o"},
    {"automount.directories", kHostPaths, "", kNothing, "the host's directories that are shown; none by default"},
    {"automount.mountFsTab", kBoolean, "true", kSet, "whether mount -a runs at boot where /etc/fstab has entries"},
    {"boot.command", kCommand, "", kSet, "run by root's /bin/sh at boot"},
    {"filesystem.umask", kMode, "0022", kSet, "of the sessions"},
    {"instance.idle_timeout", kDuration, "15000", kSet, "from the last session's end to the instance's"},
    {"instance.keep_alive", kBoolean, "false", kSet, "whether daemons keep it alive too"},
    {"instance.memory", kSize, "0", kNarrow, "the most that it may use; 0: no limit (not enforced yet)"},
    {"instance.pids", kCount, "0", kNarrow, "the most processes; 0: no limit (not enforced yet)"},
    {"interop.enabled", kBoolean, "true", kNarrow, "false: interop.policy is off, whatever it says"},
    {"interop.policy", kPolicy, "off", kNarrow, "which host programs usl-host runs: none, interop.allow, all"},
    {"interop.allow", kNames, "", kNothing, "those of the policy \"list\": names found in the host's PATH, or paths"},
    {"interop.sshAgent", kBoolean, "false", kNothing, "whether the host's ssh-agent is passed on"},
    {"network.hostname", kHostName, "", kSet, "the host name; empty: the instance's name"},
    {"network.generateHosts", kBoolean, "true", kSet, "whether /etc/hosts gets the host name's line"},
    {"network.generateResolvConf", kBoolean, "true", kSet, "whether /etc/resolv.conf is made where it is missing"},
    {"network.proxy", kBoolean, "false", kNothing, "whether http_proxy and the like are passed on"},
    {"services.enabled", kNames, "", kSet, "scripts of /etc/init.d to start at boot, in this order"},
    {"user.default", kUser, "", kSet, "of sessions that name none; empty: root"},
    // WSL's own.
    {"automount.cgroups", kIgnored, "", kSet, "the instance has cgroup2"},
    {"automount.ldconfig", kIgnored, "", kSet, "there are no libraries of the host to announce"},
    {"boot.initTimeout", kIgnored, "", kSet, "there is no systemd to wait for"},
    {"boot.protectBinfmt", kIgnored, "", kSet, "there is no systemd that could clear binfmt_misc"},
    {"boot.systemd", kIgnored, "", kSet, "systemd is not run; services.enabled and [[service]] start services"},
    {"fileServer.enabled", kIgnored, "", kSet, "there is no 9P server"},
    {"fileServer.logFile", kIgnored, "", kSet, "there is no 9P server"},
    {"fileServer.logLevel", kIgnored, "", kSet, "there is no 9P server"},
    {"fileServer.logTruncate", kIgnored, "", kSet, "there is no 9P server"},
    {"general.guiApplications", kIgnored, "", kSet, "there is no WSLg"},
    {"gpu.appendLibPath", kIgnored, "", kSet, "there is no /dev/dxg"},
    {"gpu.enabled", kIgnored, "", kSet, "there is no /dev/dxg"},
    {"interop.appendHostPath", kIgnored, "", kSet, "host programs are run by usl-host only"},
    {"time.useWindowsTimezone", kIgnored, "", kSet, "the distribution keeps its own time zone"},
};

constexpr struct {
  std::string_view alias, name;
} kAliases[] = {{"interop.appendWindowsPath", "interop.appendHostPath"}};

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

bool HasControlCharacters(std::string_view text) {
  return std::ranges::any_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7F; });
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

using Value = std::optional<std::string>;  // nothing: not allowed

Value Boolean(std::string_view text) {
  if (text == "1" || EqualsIgnoringCase(text, "true")) return "true";
  if (text == "0" || EqualsIgnoringCase(text, "false")) return "false";
  return std::nullopt;
}

// A number and the text behind it.
std::optional<uint64_t> Number(std::string_view text, std::string_view* rest) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  *rest = Trim(text.substr(static_cast<size_t>(end - text.data())));
  return number;
}

struct Unit {
  std::string_view name;
  uint64_t factor;
};

// NUMBER[UNIT], multiplied; at most `limit`.
Value WithUnit(std::string_view text, std::span<const Unit> units, uint64_t limit) {
  std::string_view rest;
  const auto number = Number(text, &rest);
  if (!number) return std::nullopt;
  const auto unit = std::ranges::find_if(units, [&](const Unit& each) { return EqualsIgnoringCase(each.name, rest); });
  if (unit == units.end() || *number > limit / unit->factor) return std::nullopt;
  return std::to_string(*number * unit->factor);
}

Value Duration(std::string_view text) {
  static constexpr Unit kUnits[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};
  if (EqualsIgnoringCase(text, "never")) return "never";
  return WithUnit(text, kUnits, std::numeric_limits<int32_t>::max());
}

Value Size(std::string_view text) {
  static constexpr Unit kUnits[] = {{"", 1},           {"B", 1},          {"K", 1 << 10},    {"KB", 1 << 10},
                                    {"M", 1 << 20},    {"MB", 1 << 20},   {"G", 1ull << 30}, {"GB", 1ull << 30},
                                    {"T", 1ull << 40}, {"TB", 1ull << 40}};
  return WithUnit(text, kUnits, uint64_t{1} << 60);
}

Value Mode(std::string_view text) {
  unsigned mode = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  if (error != std::errc() || end != text.data() + text.size() || mode > 0777) return std::nullopt;
  return format("{:04o}", mode);
}

Value User(std::string_view text) {
  constexpr size_t kLongest = 256;
  if (text.empty()) return "";
  const bool bad = text.size() > kLongest || text.front() == '-' || HasControlCharacters(text) ||
                   text.find_first_of(":/, ") != text.npos;
  return bad ? std::nullopt : Value(text);
}

Value List(std::string_view text, Value (*normal)(std::string_view)) {
  constexpr size_t kMostParts = 256;
  std::string all;
  const auto parts = ConfigList(text);
  if (parts.size() > kMostParts) return std::nullopt;
  for (const std::string& part : parts) {
    const Value value = normal(part);
    if (!value) return std::nullopt;
    if (!all.empty()) all += ',';
    all += *value;
  }
  return all;
}

Value Name(std::string_view text) {
  const bool bad = text.empty() || text.size() > 4096 || text.front() == '-' || HasControlCharacters(text) ||
                   (text.front() != '/' && text.find('/') != text.npos);
  return bad ? std::nullopt : Value(text);
}

// PATH[:ro]
Value HostPath(std::string_view text) {
  const std::string suffix = text.ends_with(":ro") ? ":ro" : "";
  text.remove_suffix(suffix.size());
  if (text == "~" || text.starts_with("~/")) {
    const std::string home = HostHome();
    return home.empty() ? std::nullopt : Value(NormalPath(home + std::string(text.substr(1))) + suffix);
  }
  if (!text.starts_with('/') || text.size() > 4095 || HasControlCharacters(text)) return std::nullopt;
  return NormalPath(text) + suffix;
}

Value GuestPath(std::string_view text) {
  if (!text.starts_with('/') || text.size() > 4000 || HasControlCharacters(text)) return std::nullopt;
  return NormalPath(text);
}

Value Options(std::string_view text) {
  Volume volume;
  std::string bad;
  if (HasControlCharacters(text) || !ParseVolumeOptions(text, &volume, &bad)) return std::nullopt;
  return std::string(text);
}

Value Policy(std::string_view text) {
  for (const std::string_view policy : {"off", "list", "all"}) {
    if (EqualsIgnoringCase(text, policy)) return std::string(policy);
  }
  return std::nullopt;
}

Value Normal(ConfigType type, std::string_view text) {
  constexpr size_t kLongestCommand = 65536;
  static constexpr Unit kNoUnit[] = {{"", 1}};
  switch (type) {
    case kBoolean: return Boolean(text);
    case kUser: return User(text);
    case kHostName: return text.empty() || IsValidHostName(std::string(text)) ? Value(text) : std::nullopt;
    case kGuestPath: return GuestPath(text);
    case kHostPaths: return List(text, HostPath);
    case kDrvFsOptions: return Options(text);
    case kMode: return Mode(text);
    case kDuration: return Duration(text);
    case kSize: return Size(text);
    case kCount: return WithUnit(text, kNoUnit, 1u << 22);
    case kPolicy: return Policy(text);
    case kNames: return List(text, Name);
    case kCommand: return text.size() > kLongestCommand || text.find('\0') != text.npos ? std::nullopt : Value(text);
    case kIgnored: return std::string(text);
  }
  return std::nullopt;
}

std::string_view Allowed(ConfigType type) {
  switch (type) {
    case kBoolean: return "true or false";
    case kUser: return "a user's name or uid";
    case kHostName: return "1 to 64 letters, digits, '.' and '-'";
    case kGuestPath: return "an absolute path";
    case kHostPaths:
      return "absolute paths of the host, with commas, :ro behind those to be read only; \"~\" is the home";
    case kDrvFsOptions:
      return "options with commas: ro, noatime, noexec, metadata, uid=, gid=, umask=, fmask=, dmask=, case=, modes=";
    case kMode: return "an octal mask of at most 0777";
    case kDuration: return "seconds, or a number with ms, s, m or h (at most 24 days), or \"never\"";
    case kSize: return "a number of bytes, or with K, M, G or T";
    case kCount: return "a number of at most 4194304; 0 for no limit";
    case kPolicy: return "off, list or all";
    case kNames: return "names or absolute paths, with commas";
    case kCommand: return "a command for /bin/sh of at most 65536 bytes";
    case kIgnored: break;
  }
  return "anything";
}

}  // namespace

std::span<const ConfigKey> ConfigKeys() {
  return kKeys;
}

const ConfigKey* FindConfigKey(std::string_view name) {
  for (const auto& [alias, real] : kAliases) {
    if (EqualsIgnoringCase(alias, name)) name = real;
  }
  const auto found =
      std::ranges::find_if(kKeys, [&](const ConfigKey& key) { return EqualsIgnoringCase(key.name, name); });
  return found == std::end(kKeys) ? nullptr : found;
}

Result<std::string> NormalConfigValue(const ConfigKey& key, std::string_view text, std::string* allowed) {
  if (auto value = Normal(key.type, Trim(text))) return std::move(*value);
  *allowed = Allowed(key.type);
  return Fail(EINVAL);
}

std::vector<std::string> ConfigList(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view part = Trim(text.substr(0, comma));
    if (!part.empty()) parts.emplace_back(part);
    text.remove_prefix(comma == text.npos ? text.size() : comma + 1);
  }
  return parts;
}

bool IsNarrower(ConfigType type, std::string_view value, std::string_view other) {
  std::string_view rest;
  const auto limit = [&](std::string_view text) {
    const uint64_t number = Number(text, &rest).value_or(0);
    return number ? number : std::numeric_limits<uint64_t>::max();
  };
  const auto rank = [](std::string_view policy) { return policy == "off" ? 0 : policy == "list" ? 1 : 2; };
  switch (type) {
    case kBoolean: return value == "false" && other == "true";
    case kSize:
    case kCount: return limit(value) < limit(other);
    case kPolicy: return rank(value) < rank(other);
    default: return false;
  }
}

std::string PrintableConfig(std::string_view text) {
  constexpr size_t kLongest = 80;
  std::string out;
  for (const unsigned char c : text.substr(0, kLongest)) {
    out += c < 0x20 || c == 0x7F ? format("\\x{:02x}", c) : std::string(1, static_cast<char>(c));
  }
  return text.size() > kLongest ? out + "..." : out;
}

}  // namespace usl::manager
