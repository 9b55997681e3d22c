#include "manager/run_options.h"

#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <climits>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>

#include "base/format.h"
#include "manager/wine_drives.h"

namespace usl::manager {
namespace {

bool ParsePort(std::string_view text, int* port) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *port);
  return error == std::errc{} && end == text.data() + text.size() && *port > 0 && *port < 65536;
}

bool IsAlnum(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0;
}

// Where HOST ends: at the first colon that is not a drive's.
size_t EndOfHost(std::string_view text) {
  const size_t first = text.find(':');
  if (first != 1 || !std::isalpha(static_cast<unsigned char>(text[0])) || text.size() < 3) return first;
  // "C:\\x:/guest" and "C::/guest". "C:/x" is the directory "C" at "/x", unless another guest path follows.
  const size_t second = text.find(':', 2);
  const bool is_drive = text[2] == '\\' || text[2] == ':' || text.find(":/", 2) != text.npos;
  return is_drive ? second : first;
}

// The host path that was meant, and the text of it where that is an absolute path of its own.
bool ResolveHost(std::string_view text, std::string* path, std::string* alias, std::string* why) {
  std::string host(text);
  if (WineDrives::IsDosPath(text)) {
    std::error_code none;
    if (!std::filesystem::exists(std::filesystem::path(host), none)) {
      const auto found = WineDrives::OfUser().ToHost(text);
      if (!found) {
        *why = format("there is no drive for \"{}\": Wine's drives are the links in $WINEPREFIX/dosdevices", text);
        return false;
      }
      host = *found;
    }
  }
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(host, error);
  if (error) {
    *why = format("cannot reach \"{}\" on the host: {}", host, error.message());
    return false;
  }
  *path = real.string();
  const bool plain = host.starts_with('/') && host != *path && (host + "/").find("/../") == host.npos;
  *alias = plain ? host : "";
  return true;
}

struct FlagName {
  std::string_view name;
  unsigned flag;
  bool set;
};
constexpr FlagName kFlagNames[] = {
    {"noatime", MS_NOATIME, true},      {"atime", MS_NOATIME, false},    {"nodiratime", MS_NODIRATIME, true},
    {"diratime", MS_NODIRATIME, false}, {"relatime", MS_RELATIME, true}, {"norelatime", MS_RELATIME, false},
    {"noexec", MS_NOEXEC, true},        {"exec", MS_NOEXEC, false},      {"nosymfollow", MS_NOSYMFOLLOW, true},
    {"nosuid", MS_NOSUID, true},        {"nodev", MS_NODEV, true},
};

// The addresses behind `nameserver` in the host's /etc/resolv.conf, without zones.
std::vector<std::string> HostNameServers() {
  std::vector<std::string> servers;
  std::ifstream file("/etc/resolv.conf");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string keyword, server;
    if (!(words >> keyword >> server) || keyword != "nameserver") continue;
    server = server.substr(0, server.find('%'));
    if (net::ParseAddressRules(server)) servers.push_back(server);
  }
  return servers;
}

bool ApplyOption(std::string_view option, Volume* volume) {
  if (option == "ro" || option == "rw") {
    volume->options.read_only = option == "ro";
    return true;
  }
  for (const FlagName& each : kFlagNames) {
    if (each.name != option) continue;
    volume->mount_flags = each.set ? volume->mount_flags | each.flag : volume->mount_flags & ~each.flag;
    return true;
  }
  return fs::ApplyDrvFsOption(option, volume->options).has_value();
}

}  // namespace

bool ParseVolumeOptions(std::string_view options, Volume* volume, std::string* bad) {
  while (!options.empty()) {
    const size_t comma = std::min(options.find(','), options.size());
    const std::string_view option = options.substr(0, comma);
    options.remove_prefix(std::min(comma + 1, options.size()));
    if (!option.empty() && !ApplyOption(option, volume)) {
      *bad = option;
      return false;
    }
  }
  return true;
}

bool ParseVolume(const std::string& text, Volume* volume, std::string* why) {
  const size_t colon = EndOfHost(text);
  if (colon == text.npos || colon == 0 || colon + 1 == text.size()) {
    *why = format("volume \"{}\" is not HOST:GUEST or HOST:GUEST:OPTIONS", text);
    return false;
  }
  std::string_view rest = std::string_view(text).substr(colon + 1);
  const size_t end = std::min(rest.find(':'), rest.size());
  volume->guest_path = rest.substr(0, end);
  if (!volume->guest_path.starts_with('/')) {
    *why = format("volume \"{}\": the guest's path must be absolute", text);
    return false;
  }
  std::string bad;
  if (!ParseVolumeOptions(rest.substr(std::min(end + 1, rest.size())), volume, &bad)) {
    *why = format("volume \"{}\": there is no option \"{}\", or it has no such value", text, bad);
    return false;
  }
  if (ResolveHost(std::string_view(text).substr(0, colon), &volume->host_path, &volume->alias, why)) return true;
  *why = format("volume \"{}\": {}", text, *why);
  return false;
}

bool ParseShare(const std::string& text, Share* share, std::string* why) {
  std::string_view host = text;
  share->read_only = host.ends_with(":ro");
  if (host.ends_with(":ro") || host.ends_with(":rw")) host.remove_suffix(3);
  return ResolveHost(host, &share->host_path, &share->alias, why);
}

bool CheckPublish(const std::string& text, bool network, std::string* why) {
  if (!network) {
    *why = format("cannot publish port \"{}\" with --network none", text);
    return false;
  }
  std::string_view rest = text;
  if (rest.ends_with("/tcp") || rest.ends_with("/udp")) rest.remove_suffix(4);
  const size_t last = rest.rfind(':');
  const std::string_view guest = last == rest.npos ? rest : rest.substr(last + 1);
  std::string_view host = last == rest.npos ? rest : rest.substr(0, last);
  if (const size_t address = host.rfind(':'); address != host.npos) host = host.substr(address + 1);
  int guest_port = 0, host_port = 0;
  if (!ParsePort(guest, &guest_port) || !ParsePort(host, &host_port)) {
    *why = format("\"{}\" is not PORT or HOST:GUEST with ports from 1 to 65535", text);
    return false;
  }
  return true;
}

bool ParseAllow(const std::string& text, std::vector<net::AddressRule>* rules, std::string* why) {
  if (text == "dns") {
    const std::vector<std::string> servers = HostNameServers();
    if (servers.empty()) {
      *why = "the host names no name server in /etc/resolv.conf that \"dns\" could stand for: give its address";
      return false;
    }
    for (const std::string& server : servers) {
      const auto parsed =
          net::ParseAddressRules(server.find(':') == server.npos ? server + ":53" : "[" + server + "]:53");
      if (parsed) rules->insert(rules->end(), parsed->begin(), parsed->end());
    }
    return true;
  }
  const auto parsed = net::ParseAddressRules(text);
  if (!parsed) {
    *why = format(
        "\"{}\" is no rule for addresses: use ADDRESS[/BITS][:PORT[-PORT]], [V6ADDRESS[/BITS]]:PORT, or any, "
        "loopback, private, dns or none in place of the address (host names are not looked up)",
        text);
    return false;
  }
  rules->insert(rules->end(), parsed->begin(), parsed->end());
  return true;
}

bool ParseMemory(const std::string& text, std::optional<uint64_t>* bytes, std::string* why) {
  constexpr uint64_t kLeast = 16 << 20;
  uint64_t number = 0;
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, number);
  std::string unit(end, last);
  std::ranges::transform(unit, unit.begin(), [](unsigned char c) { return std::tolower(c); });
  if (unit.ends_with("ib") && unit.size() == 3) unit.resize(1);
  if (unit.ends_with("b")) unit.pop_back();
  const size_t power = unit.empty() ? 0 : std::string_view("kmgt").find(unit) + 1;
  const bool known = unit.empty() || (unit.size() == 1 && power > 0);
  const uint64_t factor = uint64_t{1} << (10 * (known ? power : 0));
  if (error != std::errc{} || !known || number > UINT64_MAX / 2 / factor || number * factor < kLeast) {
    *why = format("\"{}\" is no size of memory: use a number of bytes, or one with k, m, g or t, from 16m up", text);
    return false;
  }
  *bytes = number * factor;
  return true;
}

bool ParseTasks(const std::string& text, std::optional<uint64_t>* tasks, std::string* why) {
  uint64_t number = 0;
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, number);
  if (error != std::errc{} || end != last || number == 0) {
    *why = format("\"{}\" is no number of processes and threads: use one from 1 up", text);
    return false;
  }
  *tasks = number;
  return true;
}

bool ParseCpus(const std::string& text, std::optional<unsigned>* cpus, std::string* why) {
  unsigned number = 0;
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, number);
  if (error != std::errc{} || end != last || number == 0) {
    *why =
        format("\"{}\" is no number of processors: use a whole one from 1 up (parts of one take control groups)", text);
    return false;
  }
  *cpus = number;
  return true;
}

bool IsValidName(const std::string& name) {
  return !name.empty() && name.size() <= 64 && name.front() != '.' && name.front() != '-' &&
         std::ranges::all_of(name, [](char c) { return IsAlnum(c) || c == '.' || c == '_' || c == '-'; });
}

bool IsValidHostName(const std::string& name) {
  return !name.empty() && name.size() <= HOST_NAME_MAX && name.front() != '-' &&
         std::ranges::all_of(name, [](char c) { return IsAlnum(c) || c == '.' || c == '-'; });
}

}  // namespace usl::manager
