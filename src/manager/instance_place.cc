#include "manager/instance_place.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/format.h"
#include "manager/host_paths.h"
#include "manager/run_options.h"

namespace usl::manager {
namespace {

// The parents that are tried, in this order.
std::vector<std::string> Roots() {
  std::vector<std::string> roots;
  if (const char* runtime = getenv("XDG_RUNTIME_DIR"); runtime && runtime[0] == '/') {
    roots.push_back(std::string(runtime) + "/usl");
  }
  roots.push_back(format("/tmp/usl-{}", geteuid()));
  return roots;
}

// A directory that only this user can change. EPERM.
Result<UniqueFd> OpenPrivate(int parent, const std::string& name, bool make) {
  if (make && mkdirat(parent, name.c_str(), 0700) < 0 && errno != EEXIST) return FailErrno();
  UniqueFd directory(openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat status;
  if (!directory || fstat(directory.get(), &status) < 0) return FailErrno();
  if (status.st_uid != geteuid() || (status.st_mode & 022)) return Fail(EPERM);
  return directory;
}

Result<UniqueFd> OpenInstances(const std::string& root, bool make) {
  const UniqueFd directory = USL_TRY(OpenPrivate(AT_FDCWD, root, make));
  return OpenPrivate(directory.get(), "instances", make);
}

// Through the directory's descriptor: the path itself may be longer than a socket's name can be.
sockaddr_un SocketAddress(int directory) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/socket", directory);
  return address;
}

Result<void> Lock(int fd, int how) {
  int locked;
  do locked = flock(fd, how);
  while (locked < 0 && errno == EINTR);
  if (locked < 0) return FailErrno();
  return {};
}

}  // namespace

Result<InstancePlace> InstancePlace::Open(const std::string& key, bool make, std::string* why) {
  if (!IsValidName(key)) {
    *why = format("\"{}\" is no name for an instance: use letters, digits, '.', '_' and '-'", key);
    return Fail(EINVAL);
  }
  std::string tried;
  Error last(ENOENT);
  for (const std::string& root : Roots()) {
    for (int attempt = 0; attempt < 100; ++attempt) {
      auto instances = OpenInstances(root, make);
      auto directory = instances ? OpenPrivate(instances->get(), key, make) : Fail(instances.error());
      if (directory) return InstancePlace(key, root + "/instances/" + key, std::move(*directory));
      last = directory.error();
      // The last instance has just removed what was there.
      if (!make || last.code() != ENOENT || access(root.substr(0, root.rfind('/')).c_str(), F_OK) < 0) break;
    }
    tried += format("{}{} ({})", tried.empty() ? "" : ", ", root, ErrorText(last.code()));
    if (!make && last.code() != ENOENT) break;
  }
  *why =
      make ? format("no directory for the control socket: tried {}; set XDG_RUNTIME_DIR to a directory of yours", tried)
           : format("\"{}\" is not running", key);
  return Fail(last);
}

std::vector<std::string> InstancePlace::Keys() {
  std::vector<std::string> keys;
  for (const std::string& root : Roots()) {
    auto instances = OpenInstances(root, false);
    if (!instances) continue;
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(instances->Release()), closedir);
    while (const dirent* entry = stream ? readdir(stream.get()) : nullptr) {
      if (IsValidName(entry->d_name)) keys.emplace_back(entry->d_name);
    }
  }
  return keys;
}

Result<UniqueFd> InstancePlace::Connect() const {
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket) return FailErrno();
  const sockaddr_un address = SocketAddress(directory_.get());
  int connected;
  do connected = connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  while (connected < 0 && errno == EINTR);
  if (connected < 0) return FailErrno();
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return FailErrno();
  if (peer.uid != geteuid()) return Fail(EPERM);
  return socket;
}

Result<UniqueFd> InstancePlace::Listen() const {
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return FailErrno();
  if (unlinkat(directory_.get(), "socket", 0) < 0 && errno != ENOENT) return FailErrno();
  const sockaddr_un address = SocketAddress(directory_.get());
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) return FailErrno();
  if (listen(socket.get(), SOMAXCONN) < 0) return FailErrno();
  return socket;
}

Result<UniqueFd> InstancePlace::LockStart() const {
  for (;;) {
    UniqueFd file(openat(directory_.get(), "start", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file) return FailErrno();
    USL_TRY_VOID(Lock(file.get(), LOCK_EX));
    // An instance that ended has removed the file meanwhile: the lock of another one may be somebody's.
    struct stat status;
    if (fstat(file.get(), &status) < 0) return FailErrno();
    if (status.st_nlink > 0) return file;
  }
}

Result<void> InstancePlace::LockLife() const {
  return Lock(directory_.get(), LOCK_EX);
}

bool InstancePlace::IsDead() const {
  const UniqueFd other(openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return other && flock(other.get(), LOCK_EX | LOCK_NB) == 0;
}

bool InstancePlace::IsRemoved() const {
  struct stat status;
  return fstat(directory_.get(), &status) < 0 || status.st_nlink == 0;
}

void InstancePlace::Remove() const {
  for (const char* name : {"socket", "start"}) unlinkat(directory_.get(), name, 0);
  // Each goes only when nothing else is in it.
  std::string path = path_;
  for (int level = 0; level < 3 && rmdir(path.c_str()) == 0; ++level) path.resize(path.rfind('/'));
}

std::string InstanceLogPath(const std::string& key) {
  return DataDirectory() + "/logs/" + key + ".log";
}

}  // namespace usl::manager
