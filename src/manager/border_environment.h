// Variables that cross the border between host and guest because the user says so: USLENV, or where that is not set
// WSLENV, is a list with colons of NAME[/FLAGS]:
//   p  the value is a path, and is translated     l  a list of paths with colons
//   u  only from the host to the guest            w  only from the guest to the host
// A path that the other side does not see is left out, as it would mean something else there.
#pragma once

#include <string>
#include <vector>

#include "manager/path_map.h"

namespace usl::manager {

enum class Border { kToGuest, kToHost };

// The variables of `environment` (NAME=VALUE) that cross, translated, and the list itself.
std::vector<std::string> SharedEnvironment(const std::vector<std::string>& environment, Border border,
                                           const PathMap& map);

// What a client sends to an instance, which knows the paths: the variables that go to the guest as they are, and the
// list; and what the instance makes of all the variables that it was sent: those of the list translated or left out.
std::vector<std::string> ListedEnvironment(const std::vector<std::string>& environment);
std::vector<std::string> TranslateListed(const std::vector<std::string>& environment, const PathMap& map);

// NAME=VALUE of the proxies in it: http_proxy, https_proxy, ftp_proxy, all_proxy, no_proxy, in both cases.
std::vector<std::string> ProxyEnvironment(const std::vector<std::string>& environment);

// environ(7) as a vector.
std::vector<std::string> EnvironmentOf(char* const* environment);

}  // namespace usl::manager
