// Who the user is to a registry of images, as docker, podman and skopeo keep it (containers-auth.json(5)).
#pragma once

#include <optional>
#include <string>

namespace usl::manager {

struct RegistryCredentials {
  std::string user, password;
};

// Those for `repository` ("library/alpine") at `domain` ("docker.io", "host:5000"): the first file that has some of
// $REGISTRY_AUTH_FILE (alone, where it is set), $XDG_RUNTIME_DIR/containers/auth.json,
// ~/.config/containers/auth.json, $DOCKER_CONFIG/config.json or ~/.docker/config.json. Entries for a path of the
// registry win over those for all of it. Nothing with an empty `why`: there are none. A file that cannot be read or
// makes no sense, and one that wants a credential helper, leave a line in `why`.
std::optional<RegistryCredentials> FindCredentials(const std::string& domain, const std::string& repository,
                                                   std::string* why);

// The same of the text of one such file.
std::optional<RegistryCredentials> CredentialsIn(const std::string& text, const std::string& domain,
                                                 const std::string& repository, std::string* why);

// RFC 4648. Decoding gives nothing for what is no base64.
std::string EncodeBase64(const std::string& bytes);
std::optional<std::string> DecodeBase64(const std::string& text);

}  // namespace usl::manager
