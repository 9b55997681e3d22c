#include "conformance/helpers.h"

#include <dirent.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdio>

namespace usl::conformance {
namespace {

void RemoveTree(const std::string& path) {
  struct stat status;
  if (lstat(path.c_str(), &status) < 0) return;
  if (S_ISDIR(status.st_mode)) {
    chmod(path.c_str(), 0700);
    if (DIR* directory = opendir(path.c_str())) {
      std::vector<std::string> names;
      while (const dirent* entry = readdir(directory)) names.emplace_back(entry->d_name);
      closedir(directory);
      for (const std::string& name : names) {
        if (name != "." && name != "..") RemoveTree(path + "/" + name);
      }
    }
    rmdir(path.c_str());
  } else {
    unlink(path.c_str());
  }
}

[[noreturn]] void Die(const char* what) {
  perror(what);
  abort();
}

}  // namespace

TempDirectory::TempDirectory() {
  const char* base = getenv("USL_CONFORMANCE_DIR");
  path_ = std::string(base ? base : "/tmp") + "/conformance-XXXXXX";
  if (!mkdtemp(path_.data())) Die("mkdtemp");
  if (chmod(path_.c_str(), 0777) < 0) Die("chmod");
}

TempDirectory::~TempDirectory() {
  RemoveTree(path_);
}

std::string TempDirectory::File(const std::string& name, const std::string& content, mode_t mode) const {
  const std::string path = *this / name;
  const Fd fd(open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600));
  if (!fd.ok()) Die("open");
  if (write(fd.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size())) Die("write");
  if (fchmod(fd.get(), mode) < 0) Die("fchmod");
  return path;
}

std::string TempDirectory::Directory(const std::string& name, mode_t mode) const {
  const std::string path = *this / name;
  if (mkdir(path.c_str(), 0700) < 0 || chmod(path.c_str(), mode) < 0) Die("mkdir");
  return path;
}

std::string ReadFile(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY));
  std::string content;
  char buffer[4096];
  for (ssize_t count; fd.ok() && (count = read(fd.get(), buffer, sizeof buffer)) > 0;) {
    content.append(buffer, static_cast<size_t>(count));
  }
  return content;
}

struct stat StatOf(const std::string& path) {
  struct stat status {};
  if (lstat(path.c_str(), &status) < 0) perror(path.c_str());
  return status;
}

mode_t ModeOf(const std::string& path) {
  return StatOf(path).st_mode & 07777;
}

bool Exists(const std::string& path) {
  struct stat status;
  return lstat(path.c_str(), &status) == 0;
}

int ErrnoAs(uid_t uid, gid_t gid, const std::vector<gid_t>& groups, const std::function<long()>& call) {
  const pid_t child = fork();
  if (child < 0) Die("fork");
  if (child == 0) {
    if (setgroups(groups.size(), groups.data()) < 0) _exit(255);
    if (setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0) _exit(255);
    errno = 0;
    _exit(call() == -1 ? errno : 0);
  }
  int status;
  if (waitpid(child, &status, 0) < 0) Die("waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int ErrnoWith(uint64_t capabilities, uid_t uid, gid_t gid, const std::vector<gid_t>& groups,
              const std::function<long()>& call) {
  const auto limited = [&]() -> long {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2] = {};
    for (int i = 0; i < 2; ++i) {
      data[i].permitted = data[i].effective = static_cast<uint32_t>(capabilities >> (32 * i));
    }
    if (syscall(SYS_capset, &header, data) < 0) _exit(255);
    errno = 0;
    return call();
  };
  if (prctl(PR_SET_KEEPCAPS, 1) < 0) Die("prctl");
  const int error = ErrnoAs(uid, gid, groups, limited);
  if (prctl(PR_SET_KEEPCAPS, 0) < 0) Die("prctl");
  return error;
}

int FileSystemSetting(const std::string& name) {
  const std::string text = ReadFile("/proc/sys/fs/" + name);
  if (text.empty()) Die(name.c_str());
  return atoi(text.c_str());
}

bool InChild(const std::function<bool()>& body) {
  const pid_t child = fork();
  if (child < 0) Die("fork");
  if (child == 0) _exit(body() ? 0 : 1);
  int status;
  if (waitpid(child, &status, 0) < 0) Die("waitpid");
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace usl::conformance
