#include "platform/runtime_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>

#include "base/format.h"
#include "base/log.h"
#include "platform/loader/embedded.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

namespace usl::platform {
namespace {

std::vector<std::string> DefaultCandidates() {
  std::vector<std::string> candidates;
  auto from_environment = [&](const char* variable, const char* below) {
    const char* value = std::getenv(variable);
    if (value && value[0] == '/') candidates.push_back(std::string(value) + below);
  };
  from_environment("XDG_RUNTIME_DIR", "/usl");
  candidates.push_back(usl::format("/tmp/usl-{}", getuid()));
  candidates.push_back(usl::format("/var/tmp/usl-{}", getuid()));
  from_environment("HOME", "/.cache/usl");
  return candidates;
}

// The name must not lead out of the directory, and is part of a path that people see.
std::string SafeName(const std::string& name) {
  std::string safe = name.substr(0, 64);
  for (char& c : safe) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_' && c != '-') c = '_';
  }
  if (safe.empty() || safe[0] == '.') return usl::format("_{}", safe);
  return safe;
}

// Opens the parent directory, making it if needed, and checks that nobody else can put things there: /tmp is shared.
Result<UniqueFd> OpenParent(const std::string& parent, mode_t mode) {
  if (mkdir(parent.c_str(), mode) != 0 && errno != EEXIST) {
    if (errno != ENOENT) return FailErrno();
    // ~/.cache may be missing in a fresh home.
    std::string above = parent.substr(0, parent.rfind('/'));
    if (above.empty() || mkdir(above.c_str(), 0700) != 0) return Fail(ENOENT);
    if (mkdir(parent.c_str(), mode) != 0) return FailErrno();
  }
  UniqueFd fd(open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return FailErrno();
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return FailErrno();
  if (info.st_uid != geteuid() || (info.st_mode & 022)) return Fail(EPERM);
  if ((info.st_mode & 0777) != mode && fchmod(fd.get(), mode) != 0) return FailErrno();
  return fd;
}

bool AllowsExec(int dir) {
  struct statvfs info {};
  return fstatvfs(dir, &info) == 0 && !(info.f_flag & ST_NOEXEC);
}

Result<void> WriteAll(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    ssize_t put = write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return FailErrno();
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
  return {};
}

// Removes what is below `dir`; directories there are few and shallow.
void RemoveContents(int dir) {
  int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return;
  DIR* stream = fdopendir(copy);
  if (!stream) {
    close(copy);
    return;
  }
  while (dirent* entry = readdir(stream)) {
    std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (unlinkat(dir, name.c_str(), 0) == 0 || errno != EISDIR) continue;
    UniqueFd child(openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (child) RemoveContents(child.get());
    unlinkat(dir, name.c_str(), AT_REMOVEDIR);
  }
  closedir(stream);
}

void RemoveStaleIn(const std::string& parent) {
  UniqueFd fd(open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat info {};
  if (!fd || fstat(fd.get(), &info) != 0 || info.st_uid != geteuid() || (info.st_mode & 022)) return;
  DIR* stream = fdopendir(dup(fd.get()));
  if (!stream) return;
  while (dirent* entry = readdir(stream)) {
    const char* dash = strrchr(entry->d_name, '-');
    pid_t pid = dash ? atoi(dash + 1) : 0;
    if (pid <= 0 || kill(pid, 0) == 0 || errno != ESRCH) continue;
    UniqueFd child(openat(fd.get(), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    // Locked: alive, in another pid namespace.
    if (!child || flock(child.get(), LOCK_EX | LOCK_NB) != 0) continue;
    RemoveContents(child.get());
    unlinkat(fd.get(), entry->d_name, AT_REMOVEDIR);
  }
  closedir(stream);
}

}  // namespace

RuntimeDir::RuntimeDir(std::string path, UniqueFd dir, std::string loader_name)
    : path_(std::move(path)), dir_(std::move(dir)), loader_name_(std::move(loader_name)), owner_(getpid()) {}

RuntimeDir::RuntimeDir(RuntimeDir&& other) noexcept
    : path_(std::move(other.path_)),
      dir_(std::move(other.dir_)),
      loader_name_(std::move(other.loader_name_)),
      loader_memfd_(std::move(other.loader_memfd_)),
      owner_(std::exchange(other.owner_, 0)),
      remove_parent_(other.remove_parent_) {}

RuntimeDir::~RuntimeDir() {
  if (owner_ == getpid()) Remove();
}

Result<RuntimeDir> RuntimeDir::CreateIn(const std::string& parent, const RuntimeDirOptions& options,
                                        bool loader_in_memory) {
  const mode_t mode = options.for_other_user ? 0711 : 0700;
  const std::string name = SafeName(options.instance_name);
  std::string path = usl::format("{}/{}-{}", parent, name, getpid());
  for (int attempt = 1;; ++attempt) {
    UniqueFd parent_fd = USL_TRY(OpenParent(parent, mode));
    // Asked of the mount, not tried: writing and running a program would cost a fork for each candidate.
    if (!loader_in_memory && !AllowsExec(parent_fd.get())) return Fail(EACCES);
    if (mkdir(path.c_str(), mode) == 0) break;
    // ENOENT: the last other instance just ended and removed the parent. EEXIST: this process runs several instances,
    // or a dead one of this pid has left its directory.
    if ((errno != EEXIST && errno != ENOENT) || attempt > 1000) return FailErrno();
    if (errno == EEXIST) path = usl::format("{}/{}.{}-{}", parent, name, attempt, getpid());
  }
  UniqueFd dir(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!dir || fchmod(dir.get(), mode) != 0) return FailErrno();  // whatever the umask is
  flock(dir.get(), LOCK_SH | LOCK_NB);  // marks it as alive; the open file description is shared with forked children
  RuntimeDir result(std::move(path), std::move(dir), usl::format("loader-{:x}", options.pico_base));
  result.remove_parent_ = options.candidates.empty();
  USL_TRY_VOID(result.Populate(options, loader_in_memory));
  return result;
}

Result<void> RuntimeDir::Populate(const RuntimeDirOptions& options, bool loader_in_memory) {
  const mode_t loader_mode = options.for_other_user ? 0555 : 0500;
  if (mkdirat(dir_.get(), "cwd", 0700) != 0 || fchmodat(dir_.get(), "cwd", loader_mode, 0) != 0) return FailErrno();
  UniqueFd file;
  if (loader_in_memory) {
    int raw = memfd_create("usl-loader", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    if (raw < 0 && errno == EINVAL) raw = memfd_create("usl-loader", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    file.Reset(raw);
  } else {
    file.Reset(openat(dir_.get(), loader_name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0200));
  }
  if (!file) return FailErrno();
  USL_TRY_VOID(WriteAll(file.get(), loader::LoaderImage()));
  if (fchmod(file.get(), loader_mode) != 0) return FailErrno();
  if (!loader_in_memory) return {};

  if (fcntl(file.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) return FailErrno();
  // A file that is open for writing cannot be executed (ETXTBSY), so keep a read-only descriptor. The symlink gives it
  // a name that ends in the pico base, and following it asks no exec permission of this file system.
  loader_memfd_.Reset(open(usl::format("/proc/self/fd/{}", file.get()).c_str(), O_RDONLY | O_CLOEXEC));
  if (!loader_memfd_) return FailErrno();
  std::string target = usl::format("/proc/{}/fd/{}", getpid(), loader_memfd_.get());
  if (symlinkat(target.c_str(), dir_.get(), loader_name_.c_str()) != 0) return FailErrno();
  return {};
}

Result<RuntimeDir> RuntimeDir::Create(const RuntimeDirOptions& options, std::string* why) {
  const std::vector<std::string> candidates = options.candidates.empty() ? DefaultCandidates() : options.candidates;
  Error last(ENOENT);
  std::string tried;
  for (bool in_memory : {false, true}) {
    for (const std::string& parent : candidates) {
      auto result = CreateIn(parent, options, in_memory);
      if (result) return result;
      last = result.error();
      if (!in_memory) {
        bool noexec = last == Error(EACCES);
        tried += usl::format("{}{} ({})", tried.empty() ? "" : ", ", parent,
                             noexec ? "mounted noexec or no access" : strerrordesc_np(last.code()));
      }
    }
  }
  if (why)
    *why = usl::format("no directory for run-time files: tried {}; set XDG_RUNTIME_DIR to a directory of yours", tried);
  return Fail(last);
}

std::string RuntimeDir::LoaderPath() const {
  return path_ + "/" + loader_name_;
}
std::string RuntimeDir::EmptyPath() const {
  return path_ + "/cwd";
}
void RuntimeDir::TakeOver() {
  owner_ = getpid();
}

void RuntimeDir::Remove() {
  owner_ = 0;
  if (!dir_) return;
  RemoveContents(dir_.get());
  dir_.Reset();
  if (rmdir(path_.c_str()) != 0 && errno != ENOENT) {
    Log(LogLevel::kWarning, "cannot remove {}: {}", path_, strerrordesc_np(errno));
  }
  // Goes only if this was the last instance.
  if (remove_parent_) rmdir(path_.substr(0, path_.rfind('/')).c_str());
}

void RemoveStaleRuntimeDirs() {
  for (const std::string& parent : DefaultCandidates()) RemoveStaleIn(parent);
}

}  // namespace usl::platform
