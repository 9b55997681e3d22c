// The guest's /etc/hosts.
#pragma once

#include <string>
#include <string_view>

namespace usl::manager {

// The text of hosts(5) with a line for the name, unless one of its lines has the name already. With `marked` the line
// says whose it is, and one that an earlier start left for another name goes.
std::string HostsWithName(std::string_view text, std::string_view name, bool marked);

}  // namespace usl::manager
