#include "manager/host_paths.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "protocol/accounts.h"

namespace usl::manager {

std::string HostHome() {
  if (const char* home = getenv("HOME"); home && home[0] == '/') return home;
  std::ifstream file("/etc/passwd");
  const std::string passwd{std::istreambuf_iterator<char>(file), {}};
  protocol::Account account;
  std::string why;
  if (!protocol::ResolveAccount(std::to_string(getuid()), passwd, {}, &account, &why) || account.name.empty())
    return {};
  return account.home == "/" ? std::string() : account.home;
}

std::string DataDirectory() {
  if (const char* data = getenv("XDG_DATA_HOME"); data && data[0] == '/') return std::string(data) + "/usl";
  const std::string home = HostHome();
  if (!home.empty()) return home + "/.local/share/usl";
  return "/var/tmp/usl-" + std::to_string(getuid()) + "-data";
}

Result<void> MakeDirectories(const std::string& path) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    if (mkdir(part.c_str(), 0700) < 0 && errno != EEXIST) {
      // An existing parent on a read-only or foreign file system is fine as long as it is there.
      struct stat status;
      if (stat(part.c_str(), &status) < 0) return FailErrno();
    }
    if (slash == path.npos) break;
  }
  struct stat status;
  if (stat(path.c_str(), &status) < 0) return FailErrno();
  if (!S_ISDIR(status.st_mode)) return Fail(ENOTDIR);
  return {};
}

std::string ErrorText(int error) {
  return strerror(error);
}

}  // namespace usl::manager
