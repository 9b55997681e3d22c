#include "manager/registry.h"

#include <fcntl.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/format.h"
#include "base/log.h"
#include "base/unique_fd.h"
#include "manager/host_paths.h"
#include "manager/registry_json.h"

namespace usl::manager {
namespace {

// Thousands of distributions; whatever is larger was not written by USL.
constexpr off_t kMaxRegistrySize = 64 << 20;

bool IsHex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::unexpected<Error> Tell(std::string* why, int error, const std::string& what) {
  *why = error ? format("{}: {}", what, ErrorText(error)) : what;
  return Fail(error ? error : EINVAL);
}

// Holds the lock file open. `operation` is flock(2)'s.
Result<UniqueFd> Lock(const std::string& directory, int operation, std::string* why) {
  const std::string path = directory + "/registry.lock";
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  // Whoever may only read needs no lock against others who may only read.
  if (!fd && operation == LOCK_SH && (errno == EROFS || errno == EACCES)) return UniqueFd();
  if (!fd) return Tell(why, errno, format("cannot open \"{}\"", path));
  int result;
  do result = flock(fd.get(), operation);
  while (result < 0 && errno == EINTR);
  if (result < 0) return Tell(why, errno, format("cannot lock \"{}\"", path));
  return fd;
}

Result<std::string> ReadAll(int fd) {
  struct stat status;
  if (fstat(fd, &status) < 0) return FailErrno();
  if (!S_ISREG(status.st_mode)) return Fail(EINVAL);
  if (status.st_size > kMaxRegistrySize) return Fail(EFBIG);
  std::string text;
  std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t n = read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailErrno();
    if (n == 0) return text;
    text.append(buffer.data(), static_cast<size_t>(n));
    if (static_cast<off_t>(text.size()) > kMaxRegistrySize) return Fail(EFBIG);
  }
}

Result<void> WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FailErrno();
    text.remove_prefix(static_cast<size_t>(n));
  }
  if (fsync(fd) < 0) return FailErrno();
  return {};
}

// Under the lock. Nothing there yet is an empty registry.
Result<RegistryData> Load(const std::string& directory, std::string* why) {
  const std::string path = directory + "/registry.json";
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd && errno == ENOENT) return RegistryData{};
  if (!fd) return Tell(why, errno, format("cannot open \"{}\"", path));
  const auto text = ReadAll(fd.get());
  if (!text) return Tell(why, text.error().code(), format("cannot read \"{}\"", path));
  std::string wrong;
  auto data = ParseRegistry(*text, &wrong);
  if (data) return data;
  *why = data.error().code() == EPROTONOSUPPORT
             ? format("cannot use \"{}\": {}; use a newer usl", path, wrong)
             : format(
                   "cannot use \"{}\": {}; put the file right, or move it away (the distributions are then still "
                   "in \"{}/distributions\", but without their names)",
                   path, wrong, directory);
  return Fail(data.error());
}

// Replaces the file in one step; a crash leaves the old or the new one.
Result<void> Store(const std::string& directory, const RegistryData& data, std::string* why) {
  const std::string path = directory + "/registry.json", next = path + ".new";
  const std::string text = USL_TRY(PrintRegistry(data, why));
  // What could not be read again is not written.
  if (text.size() > static_cast<size_t>(kMaxRegistrySize)) {
    return Tell(why, EFBIG, format("cannot write \"{}\"", path));
  }
  const auto fail = [&](Error error) { return Tell(why, error.code(), format("cannot write \"{}\"", next)); };
  UniqueFd parent(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent) return fail(Error::FromErrno());
  // Whatever an interrupted change left.
  if (unlink(next.c_str()) < 0 && errno != ENOENT) return fail(Error::FromErrno());
  const UniqueFd fd(open(next.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return fail(Error::FromErrno());
  if (auto written = WriteAll(fd.get(), text); !written) {
    unlink(next.c_str());
    return fail(written.error());
  }
  if (rename(next.c_str(), path.c_str()) < 0) return Tell(why, errno, format("cannot replace \"{}\"", path));
  // From here on it has happened, whatever a crash of the machine may make of it: who is told that it failed would
  // remove the trees that it names.
  if (fsync(parent.get()) < 0) Log(LogLevel::kWarning, "cannot sync \"{}\": {}", directory, ErrorText(errno));
  return {};
}

// The first registry of the directory leaves its id there, under the lock.
Result<void> NoteFirst(const std::string& directory, const std::string& id, std::string* why) {
  const std::string path = directory + "/registry.id", next = path + ".new";
  struct stat status;
  if (lstat(path.c_str(), &status) == 0) return {};
  const UniqueFd fd(open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  auto written = fd ? WriteAll(fd.get(), id + "\n") : FailErrno();
  if (written && rename(next.c_str(), path.c_str()) < 0) written = FailErrno();
  if (written) return {};
  unlink(next.c_str());
  return Tell(why, written.error().code(), format("cannot write \"{}\"", path));
}

}  // namespace

bool IsLayerId(const std::string& text) {
  return text.size() == 64 && IsHex(text);
}

bool IsUuid(const std::string& text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (is_dash ? text[i] != '-' : !IsHex({&text[i], 1})) return false;
  }
  return true;
}

std::string MakeUuid() {
  std::array<unsigned char, 16> bytes;
  // Never fails nor comes short for so few bytes once the host has booted (getrandom(2)).
  while (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
  }
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0F) | 0x40);
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3F) | 0x80);
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += format("{:02x}", bytes[i]);
  }
  return text;
}

Distribution* RegistryData::Find(const std::string& name) {
  const auto found = std::ranges::find_if(
      distributions, [&](const Distribution& each) { return strcasecmp(each.name.c_str(), name.c_str()) == 0; });
  return found == distributions.end() ? nullptr : &*found;
}

const Distribution* RegistryData::Find(const std::string& name) const {
  return const_cast<RegistryData*>(this)->Find(name);
}

Image* RegistryData::FindImage(const std::string& reference) {
  const auto found = std::ranges::find_if(images, [&](const Image& image) { return image.reference == reference; });
  return found == images.end() ? nullptr : &*found;
}

Registry Registry::OfUser() {
  return Registry(DataDirectory());
}

Registry::Registry(std::string data_directory) : directory_(std::move(data_directory)) {}

std::string Registry::DistributionPath(const Distribution& distribution) const {
  return directory_ + "/distributions/" + distribution.id;
}

std::string Registry::UpperPath(const Distribution& distribution) const {
  return distribution.upper.empty() ? DistributionPath(distribution) + "/upper" : distribution.upper;
}

Result<RegistryData> Registry::Read(std::string* why) const {
  struct stat status;
  if (lstat((directory_ + "/registry.json").c_str(), &status) < 0 && (errno == ENOENT || errno == ENOTDIR)) {
    return RegistryData{};
  }
  const UniqueFd lock = USL_TRY(Lock(directory_, LOCK_SH, why));
  return Load(directory_, why);
}

Result<void> Registry::Change(const std::function<std::string(RegistryData&)>& change, std::string* why) const {
  if (auto made = MakeDirectories(directory_); !made) {
    return Tell(why, made.error().code(), format("cannot make \"{}\"", directory_));
  }
  const UniqueFd lock = USL_TRY(Lock(directory_, LOCK_EX, why));
  RegistryData data = USL_TRY(Load(directory_, why));
  if (const std::string refusal = change(data); !refusal.empty()) return Tell(why, 0, refusal);
  if (data.id.empty()) data.id = MakeUuid();
  USL_TRY_VOID(Store(directory_, data, why));
  // Tried again by each change.
  std::string trouble;
  if (!NoteFirst(directory_, data.id, &trouble)) Log(LogLevel::kWarning, "{}", trouble);
  return {};
}

bool Registry::IsFirst(const RegistryData& data) const {
  const UniqueFd fd(open((directory_ + "/registry.id").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  const auto text = fd ? ReadAll(fd.get()) : FailErrno();
  return text && !data.id.empty() && *text == data.id + "\n";
}

}  // namespace usl::manager
