// /etc/shadow and /etc/gshadow for a guest that may not see the host's.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

namespace usl::fs {

// The content of shadow(5) for the accounts of a passwd(5) text, all with locked passwords. Malformed lines are left
// out.
std::string MakeShadow(std::string_view passwd);
// The content of gshadow(5) for a group(5) text.
std::string MakeGshadow(std::string_view group);
// The number of a group in a group(5) text.
std::optional<gid_t> FindGroup(std::string_view group, std::string_view name);
// The home directory of a user in a passwd(5) text.
std::optional<std::string> FindHome(std::string_view passwd, uid_t uid);

}  // namespace usl::fs
