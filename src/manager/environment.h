// The environment of a session: a clean one, as docker's and not as proot's.
#pragma once

#include <string>
#include <vector>

#include "protocol/accounts.h"

namespace usl::manager {

// PATH, HOME, USER, LOGNAME and SHELL of the account; with `terminal` the host's TERM and COLORTERM; in a view of the
// host
// (`same_files`) its LANG and LC_*, whose locales are there too. Nothing else of the host's environment comes in, as it
// may hold secrets. Then `requested`, which wins: NAME=VALUE, or NAME for the host's value (left out where the host has
// none).
std::vector<std::string> MakeEnvironment(const protocol::Account& account, const std::vector<std::string>& requested,
                                         bool terminal, bool same_files, char* const* host_environment);

// The same without the account's part: what a client sends along to an instance whose init finds the account.
std::vector<std::string> HostEnvironment(const std::vector<std::string>& requested, bool terminal, bool same_files,
                                         char* const* host_environment);

}  // namespace usl::manager
