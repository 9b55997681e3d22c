#include "manager/instance_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "manager/host_paths.h"

namespace usl::manager {
namespace {

UniqueFd OpenFile(const std::string& path) {
  return UniqueFd(open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
}

}  // namespace

Result<InstanceLog> InstanceLog::Open(const std::string& path) {
  USL_TRY_VOID(MakeDirectories(path.substr(0, path.rfind('/'))));
  UniqueFd file = OpenFile(path);
  if (!file) return FailErrno();
  return InstanceLog(path, std::move(file));
}

void InstanceLog::Append(std::string_view text) {
  struct stat status;
  if (fstat(file_.get(), &status) == 0 && status.st_size > kLimit &&
      rename(path_.c_str(), (path_ + ".1").c_str()) == 0) {
    if (UniqueFd file = OpenFile(path_)) {
      file_ = std::move(file);
      dup2(file_.get(), STDERR_FILENO);
    }
  }
  while (!text.empty()) {
    const ssize_t written = write(file_.get(), text.data(), text.size());
    if (written < 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace usl::manager
