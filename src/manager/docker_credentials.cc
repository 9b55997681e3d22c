#include "manager/docker_credentials.h"

#include <nettle/base64.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/format.h"
#include "manager/host_paths.h"

namespace usl::manager {
namespace {

using nlohmann::json;

constexpr size_t kMaxFile = 1 << 20;

std::vector<std::string> Files() {
  const auto variable = [](const char* name) {
    const char* value = getenv(name);
    return std::string(value ? value : "");
  };
  if (const std::string file = variable("REGISTRY_AUTH_FILE"); !file.empty()) return {file};
  std::vector<std::string> files;
  const std::string home = HostHome(), config = variable("XDG_CONFIG_HOME"), docker = variable("DOCKER_CONFIG");
  if (const std::string run = variable("XDG_RUNTIME_DIR"); !run.empty()) files.push_back(run + "/containers/auth.json");
  if (!config.empty())
    files.push_back(config + "/containers/auth.json");
  else if (!home.empty())
    files.push_back(home + "/.config/containers/auth.json");
  if (!docker.empty())
    files.push_back(docker + "/config.json");
  else if (!home.empty())
    files.push_back(home + "/.docker/config.json");
  return files;
}

// "https://index.docker.io/v1/" is what docker calls its own; others are written with and without a scheme.
std::string Normal(std::string key) {
  for (const std::string scheme : {"https://", "http://"}) {
    if (key.starts_with(scheme)) key.erase(0, scheme.size());
  }
  for (const std::string version : {"/v1/", "/v2/", "/v1", "/v2"}) {
    if (key.ends_with(version)) key.resize(key.size() - version.size());
  }
  while (key.ends_with('/')) key.pop_back();
  for (const std::string name : {"index.docker.io", "registry-1.docker.io"}) {
    if (key == name || key.starts_with(name + "/")) key.replace(0, name.size(), "docker.io");
  }
  return key;
}

std::string Text(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<RegistryCredentials> FromEntry(const json& entry, const std::string& key, std::string* why) {
  if (!entry.is_object()) return std::nullopt;
  if (!Text(entry, "identitytoken").empty()) {
    *why = format("the entry for \"{}\" is an identity token, which is not supported: log in with a password", key);
    return std::nullopt;
  }
  if (const std::string user = Text(entry, "username"); !user.empty())
    return RegistryCredentials{user, Text(entry, "password")};
  const std::string auth = Text(entry, "auth");
  if (auth.empty()) return std::nullopt;  // the mark of a credential helper
  const auto pair = DecodeBase64(auth);
  const size_t colon = pair ? pair->find(':') : std::string::npos;
  if (colon != std::string::npos) return RegistryCredentials{pair->substr(0, colon), pair->substr(colon + 1)};
  *why = format("\"auth\" of the entry for \"{}\" is no base64 of NAME:PASSWORD", key);
  return std::nullopt;
}

}  // namespace

std::string EncodeBase64(const std::string& bytes) {
  std::string text(BASE64_ENCODE_RAW_LENGTH(bytes.size()), '\0');
  base64_encode_raw(text.data(), bytes.size(), reinterpret_cast<const uint8_t*>(bytes.data()));
  return text;
}

std::optional<std::string> DecodeBase64(const std::string& text) {
  base64_decode_ctx context;
  base64_decode_init(&context);
  std::string bytes(BASE64_DECODE_LENGTH(text.size()), '\0');
  size_t size = bytes.size();
  const bool good =
      base64_decode_update(&context, &size, reinterpret_cast<uint8_t*>(bytes.data()), text.size(), text.data()) == 1 &&
      base64_decode_final(&context) == 1;
  if (!good) return std::nullopt;
  bytes.resize(size);
  return bytes;
}

std::optional<RegistryCredentials> CredentialsIn(const std::string& text, const std::string& domain,
                                                 const std::string& repository, std::string* why) {
  const json file = json::parse(text, nullptr, false);
  if (!file.is_object()) {
    *why = "it is no JSON object";
    return std::nullopt;
  }
  if (const auto helpers = file.find("credHelpers");
      helpers != file.end() && helpers->is_object() && helpers->contains(domain)) {
    *why = format("the password for \"{}\" is kept by a credential helper, which is not supported", domain);
    return std::nullopt;
  }
  const auto entries = file.find("auths");
  if (entries == file.end() || !entries->is_object()) return std::nullopt;
  // "host/a/b", "host/a", "host".
  std::string wanted = domain + "/" + repository;
  while (true) {
    for (const auto& [key, entry] : entries->items()) {
      if (Normal(key) != wanted) continue;
      auto credentials = FromEntry(entry, key, why);
      if (credentials || !why->empty()) return credentials;
      if (file.contains("credsStore")) {
        *why = format("the password for \"{}\" is kept by a credential helper, which is not supported", key);
        return std::nullopt;
      }
    }
    const size_t slash = wanted.rfind('/');
    if (slash == std::string::npos) return std::nullopt;
    wanted.resize(slash);
  }
}

std::optional<RegistryCredentials> FindCredentials(const std::string& domain, const std::string& repository,
                                                   std::string* why) {
  why->clear();
  for (const std::string& path : Files()) {
    std::ifstream file(path);
    if (!file) {
      if (errno == ENOENT || errno == ENOTDIR) continue;
      *why = format("cannot read \"{}\": {}", path, ErrorText(errno));
      return std::nullopt;
    }
    std::string text(kMaxFile, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<size_t>(file.gcount()));
    auto credentials = CredentialsIn(text, domain, repository, why);
    if (!why->empty()) *why = format("\"{}\": {}", path, *why);
    if (credentials || !why->empty()) return credentials;
  }
  return std::nullopt;
}

}  // namespace usl::manager
