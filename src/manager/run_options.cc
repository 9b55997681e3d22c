#include "manager/run_options.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <climits>
#include <filesystem>
#include <string_view>

#include "base/format.h"

namespace usl::manager {
namespace {

bool ParsePort(std::string_view text, int* port) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *port);
  return error == std::errc{} && end == text.data() + text.size() && *port > 0 && *port < 65536;
}

bool IsAlnum(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0;
}

}  // namespace

bool ParseVolume(const std::string& text, Volume* volume, std::string* why) {
  std::string_view rest = text;
  volume->read_only = rest.ends_with(":ro");
  if (rest.ends_with(":ro") || rest.ends_with(":rw")) rest.remove_suffix(3);
  const size_t colon = rest.find(':');
  if (colon == rest.npos || colon == 0 || colon + 1 == rest.size() || rest.find(':', colon + 1) != rest.npos) {
    *why = format("volume \"{}\" is not HOST:GUEST or HOST:GUEST:ro", text);
    return false;
  }
  volume->guest_path = rest.substr(colon + 1);
  if (volume->guest_path.front() != '/') {
    *why = format("volume \"{}\": the guest's path must be absolute", text);
    return false;
  }
  std::error_code error;
  const std::filesystem::path host = std::filesystem::canonical(std::filesystem::path(rest.substr(0, colon)), error);
  if (error) {
    *why = format("volume \"{}\": cannot reach \"{}\" on the host: {}", text, rest.substr(0, colon), error.message());
    return false;
  }
  volume->host_path = host.string();
  return true;
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

bool IsValidName(const std::string& name) {
  return !name.empty() && name.size() <= 64 && name.front() != '.' && name.front() != '-' &&
         std::ranges::all_of(name, [](char c) { return IsAlnum(c) || c == '.' || c == '_' || c == '-'; });
}

bool IsValidHostName(const std::string& name) {
  return !name.empty() && name.size() <= HOST_NAME_MAX && name.front() != '-' &&
         std::ranges::all_of(name, [](char c) { return IsAlnum(c) || c == '.' || c == '-'; });
}

}  // namespace usl::manager
