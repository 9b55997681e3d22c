#include "vfs/private_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

namespace usl::vfs {

Result<UniqueFd> PreparePrivateDirectory(const std::string& directory) {
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return FailErrno();
  constexpr int kFlags = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  UniqueFd fd(::open(directory.c_str(), O_PATH | kFlags));
  if (!fd) return FailErrno();
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) return FailErrno();
  if (status.st_uid != ::geteuid()) return Fail(EACCES);
  const int reading = ::openat(fd.get(), ".", O_RDONLY | kFlags);
  if (reading < 0) return FailErrno();
  struct Close {
    void operator()(DIR* entries) const { ::closedir(entries); }
  };
  std::unique_ptr<DIR, Close> entries(::fdopendir(reading));
  if (!entries) return FailErrno();
  while (const dirent* entry = ::readdir(entries.get())) {
    if (entry->d_name[0] == '.') continue;
    if (::unlinkat(fd.get(), entry->d_name, 0) != 0) ::unlinkat(fd.get(), entry->d_name, AT_REMOVEDIR);
  }
  return fd;
}

}  // namespace usl::vfs
