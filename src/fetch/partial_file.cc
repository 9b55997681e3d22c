#include "fetch/partial_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <vector>

namespace usl::fetch {
namespace {

using nlohmann::json;

bool SameFile(int fd, const std::string& path) {
  struct stat open_one, named_one;
  return fstat(fd, &open_one) == 0 && lstat(path.c_str(), &named_one) == 0 && open_one.st_ino == named_one.st_ino &&
         open_one.st_dev == named_one.st_dev;
}

Result<void> Lock(int fd, const std::function<void()>& waiting) {
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return {};
  if (errno != EWOULDBLOCK) return FailErrno();
  waiting();
  while (flock(fd, LOCK_EX) < 0) {
    if (errno != EINTR) return FailErrno();
  }
  return {};
}

Result<void> SyncDirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string directory = slash == path.npos ? "." : path.substr(0, slash + 1);
  const UniqueFd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || fsync(fd.get()) < 0) return FailErrno();
  return {};
}

}  // namespace

Result<PartialFile> PartialFile::Open(const std::string& path, const std::function<void()>& waiting) {
  const std::string part = path + ".part";
  while (true) {
    UniqueFd fd(open(part.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
    if (!fd) return FailErrno();
    struct stat status;
    if (fstat(fd.get(), &status) < 0) return FailErrno();
    if (!S_ISREG(status.st_mode)) return Fail(EINVAL);
    USL_TRY_VOID(Lock(fd.get(), waiting));
    // Whoever had the lock has renamed or removed it meanwhile.
    if (!SameFile(fd.get(), part)) continue;
    PartialFile file(path, std::move(fd));
    USL_TRY_VOID(file.ReadWhatIsThere());
    return file;
  }
}

Result<void> PartialFile::ReadWhatIsThere() {
  std::vector<char> buffer(1 << 17);
  while (true) {
    const ssize_t got = pread(fd_.get(), buffer.data(), buffer.size(), static_cast<off_t>(size_));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno();
    if (got == 0) return {};
    hash_.Update(buffer.data(), static_cast<size_t>(got));
    size_ += static_cast<uint64_t>(got);
  }
}

std::string PartialFile::Digest() const {
  Sha256 copy = hash_;
  return copy.HexDigest();
}

std::string PartialFile::Validator(const std::string& url) const {
  std::ifstream file(NotePath());
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const json note = json::parse(text, nullptr, false);
  if (!note.is_object() || !note.contains("url") || !note.contains("validator")) return {};
  if (note["url"] != url || !note["validator"].is_string()) return {};
  return note["validator"].get<std::string>();
}

Result<void> PartialFile::SetValidator(const std::string& url, const std::string& validator) {
  if (unlink(NotePath().c_str()) < 0 && errno != ENOENT) return FailErrno();
  if (validator.empty()) return {};
  const std::string text =
      json{{"url", url}, {"validator", validator}}.dump(1, ' ', false, json::error_handler_t::replace);
  const UniqueFd fd(open(NotePath().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return FailErrno();
  const ssize_t written = write(fd.get(), text.data(), text.size());
  if (written < 0) return FailErrno();
  return static_cast<size_t>(written) == text.size() ? Result<void>() : Fail(ENOSPC);
}

Result<void> PartialFile::Append(const char* data, size_t size) {
  while (size > 0) {
    const ssize_t written = pwrite(fd_.get(), data, size, static_cast<off_t>(size_));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FailErrno();
    hash_.Update(data, static_cast<size_t>(written));
    size_ += static_cast<uint64_t>(written);
    data += written;
    size -= static_cast<size_t>(written);
  }
  return {};
}

Result<void> PartialFile::StartAnew() {
  if (ftruncate(fd_.get(), 0) < 0) return FailErrno();
  size_ = 0;
  hash_ = Sha256();
  return {};
}

Result<void> PartialFile::Finish() {
  if (fsync(fd_.get()) < 0 || rename(PartPath().c_str(), path_.c_str()) < 0) return FailErrno();
  if (unlink(NotePath().c_str()) < 0 && errno != ENOENT) return FailErrno();
  return SyncDirectoryOf(path_);
}

void PartialFile::Discard() {
  unlink(NotePath().c_str());
  unlink(PartPath().c_str());
}

}  // namespace usl::fetch
