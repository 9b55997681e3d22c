// Users and groups from the texts of passwd(5) and group(5), without NSS: the guest's files are read as data, by the
// manager or by the guest's init.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

namespace usl::protocol {

struct Account {
  std::string name;  // empty for a uid that the file does not know
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // with gid first
  std::string home = "/";
  std::string shell = "/bin/sh";
};

// Resolves NAME|UID[:GROUP|GID]; an empty `user` is uid 0. A number that passwd does not have is allowed (home "/"), a
// name is not. With a group given, the user's supplementary groups are left out. Malformed lines are skipped, as libc
// does. On failure returns false and a line for people in `why`.
bool ResolveAccount(std::string_view user, std::string_view passwd, std::string_view group, Account* account,
                    std::string* why);

// PATH, HOME, USER, LOGNAME and SHELL, as login(1) sets them.
std::vector<std::string> AccountEnvironment(const Account& account);

}  // namespace usl::protocol
