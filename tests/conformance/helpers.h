// What the conformance tests share. Plain POSIX and Linux, nothing of USL: the same binary runs natively first, then
// inside, with the same expectations. A test that native Linux fails is wrong.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace usl::conformance {

// Ids without a meaning to the system.
inline constexpr uid_t kUser = 4001, kOtherUser = 4002;
inline constexpr gid_t kGroup = 4101, kOtherGroup = 4102;
// An address that nothing is mapped at.
inline char* const kWildPointer = reinterpret_cast<char*>(0x7ffffffff000ul - 0x1000000000ul);

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    Close();
    fd_ = std::exchange(other.fd_, -1);
    return *this;
  }
  ~Fd() { Close(); }
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }
  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

// A directory of its own below $USL_CONFORMANCE_DIR (else /tmp), mode 0777, removed with all its content.
class TempDirectory {
 public:
  TempDirectory();
  ~TempDirectory();
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  // Makes a file there and returns its path. The mode is exact, whatever the umask.
  std::string File(const std::string& name, const std::string& content = "", mode_t mode = 0644) const;
  std::string Directory(const std::string& name, mode_t mode = 0755) const;

 private:
  std::string path_;
};

// Sets the umask for a scope.
class ScopedUmask {
 public:
  explicit ScopedUmask(mode_t mask) : old_(umask(mask)) {}
  ~ScopedUmask() { umask(old_); }

 private:
  mode_t old_;
};

std::string ReadFile(const std::string& path);
mode_t ModeOf(const std::string& path);  // the twelve permission bits
struct stat StatOf(const std::string& path);
bool Exists(const std::string& path);  // by lstat

// Runs `call` in a child process with these ids and no capabilities; returns 0 when it did not return -1, else its
// errno.
int ErrnoAs(uid_t uid, gid_t gid, const std::vector<gid_t>& groups, const std::function<long()>& call);
inline int ErrnoAs(uid_t uid, const std::function<long()>& call) {
  return ErrnoAs(uid, kGroup, {}, call);
}
// The same with these capabilities (bits by number) in the permitted and the effective set. A uid of 0 has no others.
int ErrnoWith(uint64_t capabilities, uid_t uid, gid_t gid, const std::vector<gid_t>& groups,
              const std::function<long()>& call);
// The value of /proc/sys/fs/NAME: machines differ in their fs.protected_*.
int FileSystemSetting(const std::string& name);
// Runs `body` in a child process as the caller; true when it returned true. For what must not change the test itself.
bool InChild(const std::function<bool()>& body);

}  // namespace usl::conformance
