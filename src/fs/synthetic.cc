#include "fs/synthetic.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <climits>

#include "base/format.h"
#include "base/log.h"
#include "fs/synthetic_directory.h"

namespace usl::fs {
namespace {

constexpr size_t kMaxMemfdName = 249;  // NAME_MAX less "memfd:"

std::atomic<unsigned> next_file_system_number{1};

std::string FdPath(int fd) {
  return format("/proc/self/fd/{}", fd);
}

}  // namespace

std::string SyntheticInstance::MakeSecret() {
  std::array<unsigned char, 16> bytes{};
  size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t count = getrandom(bytes.data() + filled, bytes.size() - filled, 0);
    if (count > 0) filled += static_cast<size_t>(count);
  }
  std::string text;
  for (const unsigned char byte : bytes) text += format("{:02x}", byte);
  return text;
}

uint64_t SyntheticIno(std::string_view path) {
  if (path == "/") return 1;
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : path) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return (hash >> 16) | 0x1000;  // 48 bits, and never the root's
}

SyntheticFileSystem::SyntheticFileSystem(std::string type_name, int64_t magic, const SyntheticInstance& instance)
    : FileSystem(std::move(type_name)), instance_(instance), magic_(magic) {
  prefix_ = format("{}:{}:", instance.secret, next_file_system_number.fetch_add(1));
  clock_gettime(CLOCK_REALTIME, &created_);
  const UniqueFd probe(memfd_create("usl", MFD_CLOEXEC));
  struct stat status;
  if (probe && fstat(probe.get(), &status) == 0) memfd_device_ = status.st_dev;
}

std::vector<dev_t> SyntheticFileSystem::HostDevices() const {
  return {memfd_device_};
}

Result<std::string> SyntheticFileSystem::FindPath(int fd, vfs::Inode&) {
  struct stat status;
  if (fstat(fd, &status) != 0) return FailErrno();
  std::string path = PathOfHostFile(fd, status);
  if (path.empty()) return Fail(EOPNOTSUPP);
  return path;
}

void SyntheticFileSystem::SetRoot(Ref<SyntheticDirectory> root) {
  root_ = std::move(root);
}

Ref<vfs::Inode> SyntheticFileSystem::root() {
  return root_;
}

Result<struct statfs> SyntheticFileSystem::StatFs() {
  struct statfs result {};
  result.f_type = magic_;
  result.f_bsize = 4096;
  result.f_frsize = 4096;
  result.f_namelen = NAME_MAX;
  return result;
}

std::string SyntheticFileSystem::PathOfHostFile(int fd, const struct stat& status) const {
  const auto link = ReadHostLink(AT_FDCWD, FdPath(fd).c_str());
  if (!link) return {};
  static constexpr std::string_view kHead = "/memfd:", kTail = " (deleted)";
  std::string_view text = *link;
  if (!text.starts_with(kHead)) return PathOfHostPath(text, status);
  text.remove_prefix(kHead.size());
  if (!text.starts_with(prefix_) || !text.ends_with(kTail)) return {};
  text.remove_prefix(prefix_.size());
  text.remove_suffix(kTail.size());
  return std::string(text);
}

Ref<vfs::Inode> SyntheticFileSystem::FindByHostFile(int fd, const struct stat& status) {
  const std::string path = PathOfHostFile(fd, status);
  if (path.empty()) return nullptr;
  if (auto inode = WalkPath(path)) return inode;
  // The file of a process that has gone. It must not pass for a native object, whose name guests may read.
  return MakeRef<GeneratedFile>(*this, path, 0444, [](const vfs::Context&) { return Fail(ESRCH); });
}

Ref<SyntheticInode> SyntheticFileSystem::FindLive(const std::string& path) const {
  const auto found = live_.find(path);
  return found == live_.end() ? nullptr : Ref<SyntheticInode>(found->second);
}

Ref<vfs::Inode> SyntheticFileSystem::WalkPath(std::string_view path) {
  const cred::Credentials credentials = cred::RootCredentials();
  const vfs::Context context{credentials, {}, {}};
  Ref<vfs::Inode> inode = root_;
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::string_view name = path.substr(0, path.find('/'));
    path.remove_prefix(name.size());
    if (name.empty()) continue;
    if (!inode->IsDirectory()) return nullptr;
    auto next = inode->Lookup(name, context);
    if (!next) return nullptr;
    inode = *std::move(next);
  }
  return inode;
}

Result<UniqueFd> SyntheticFileSystem::MakeContentFd(const std::string& path, std::string_view content,
                                                    int flags) const {
  const std::string name = prefix_ + path;
  if (name.size() > kMaxMemfdName) return Fail(ENAMETOOLONG);
  UniqueFd memfd(memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memfd) return FailErrno();
  while (!content.empty()) {
    const ssize_t count = write(memfd.get(), content.data(), content.size());
    if (count < 0) return FailErrno();
    content.remove_prefix(static_cast<size_t>(count));
  }
  if ((flags & O_ACCMODE) == O_RDONLY) {
    // A second wall: the fd is read-only already, and reopening it is served.
    fcntl(memfd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  }
  const int kept = O_ACCMODE | O_APPEND | O_NONBLOCK;
  UniqueFd donated(open(FdPath(memfd.get()).c_str(), (flags & kept) | O_CLOEXEC));
  if (!donated) return FailErrno();
  return donated;
}

SyntheticInode::SyntheticInode(SyntheticFileSystem& file_system, std::string path, uint32_t mode)
    : Inode(file_system, mode & S_IFMT), synthetic_(file_system), path_(std::move(path)), mode_(mode) {
  synthetic_.live_.erase(path_);  // its key would point into the older inode's path
  synthetic_.live_.emplace(path_, this);
}

SyntheticInode::~SyntheticInode() {
  // A newer inode may have taken the path over (a new process with an old number).
  const auto found = synthetic_.live_.find(path_);
  if (found != synthetic_.live_.end() && found->second == this) synthetic_.live_.erase(found);
}

std::string SyntheticInode::ChildPath(std::string_view name) const {
  return path_ == "/" ? format("/{}", name) : format("{}/{}", path_, name);
}

Result<vfs::Attributes> SyntheticInode::GetAttributes() {
  vfs::Attributes attributes;
  attributes.ino = SyntheticIno(path_);
  attributes.mode = mode_;
  attributes.block_size = 1024;
  attributes.atime = attributes.mtime = attributes.ctime = synthetic_.created();
  FillOwner(attributes);
  return attributes;
}

Result<void> SyntheticInode::SetAttributes(const vfs::AttributeChange& change) {
  const bool only_size = change.size && !change.mode && !change.uid && !change.gid && !change.atime && !change.mtime;
  if (only_size) return {};
  return Fail(EPERM);
}

Result<void> SyntheticFile::CheckOpen(int, const vfs::Context&) {
  return {};
}

Result<void> SyntheticFile::Write(const WriterContext&, std::string_view) {
  return Fail(EIO);
}

Result<UniqueFd> SyntheticFile::Open(int flags, const vfs::Context& context) {
  if (flags & O_PATH) return Fail(EOPNOTSUPP);  // Vfs has handles for these
  const int access = flags & O_ACCMODE;
  WriteWatcher* watcher = synthetic().instance().watcher;
  if (access != O_RDONLY && (!IsWritable() || !watcher)) return Fail(EACCES);
  USL_TRY_VOID(CheckOpen(flags, context));
  if (watcher && watcher->HasWatches()) watcher->Drain();
  std::string content;
  if (access != O_WRONLY) content = USL_TRY(Read(context));
  UniqueFd donated = USL_TRY(synthetic().MakeContentFd(path(), content, flags));
  if (access == O_RDONLY) return donated;

  UniqueFd own(open(FdPath(donated.get()).c_str(), O_RDONLY | O_CLOEXEC));
  if (!own) return FailErrno();
  // The guest may hold the descriptor longer than the file system is mounted. Members die in reverse order.
  struct Pending {
    Ref<SyntheticFileSystem> file_system;
    Ref<SyntheticFile> file;
    WriterContext writer;
  };
  auto apply = [pending = Pending{Ref<SyntheticFileSystem>(&synthetic()), Ref<SyntheticFile>(this),
                                  WriterContext(context)}](std::string_view data) {
    const auto done = pending.file->Write(pending.writer, data);
    if (!done) {
      Log(LogLevel::kInfo, "a write to {} {} was refused (errno {}); the writer was not told",
          pending.file_system->type_name(), pending.file->path(), done.error().code());
    }
  };
  USL_TRY_VOID(watcher->Watch(std::move(own), std::move(content), std::move(apply)));
  return donated;
}

Result<UniqueFd> SyntheticFile::OpenForKernel() {
  const cred::Credentials credentials = cred::RootCredentials();
  return Open(O_RDONLY, vfs::Context{credentials, {}, {}});
}

Result<void> GeneratedFile::Write(const WriterContext& writer, std::string_view data) {
  return writer_ ? writer_(writer, data) : Result<void>(Fail(EIO));
}

Result<UniqueFd> HostFile::Open(int flags, const vfs::Context&) {
  if (flags & O_PATH) return Fail(EOPNOTSUPP);  // Vfs has handles for these
  if ((flags & O_ACCMODE) != O_RDONLY) return Fail(EACCES);
  return OpenForKernel();
}

Result<UniqueFd> HostFile::OpenForKernel() {
  UniqueFd fd(open(host_path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return FailErrno();
  return fd;
}

Result<std::string> ReadHostFile(int directory, const char* path, size_t limit) {
  const UniqueFd fd(openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) return FailErrno();
  std::string content;
  size_t size = 0;
  while (size < limit) {
    content.resize(std::min(std::max(size * 2, size_t{4096}), limit));
    const ssize_t count = read(fd.get(), content.data() + size, content.size() - size);
    if (count < 0) return FailErrno();
    if (count == 0) break;
    size += static_cast<size_t>(count);
  }
  content.resize(size);
  return content;
}

Result<std::string> ReadHostLink(int directory, const char* path) {
  std::string target(PATH_MAX, '\0');
  const ssize_t size = readlinkat(directory, path, target.data(), target.size());
  if (size < 0) return FailErrno();
  target.resize(static_cast<size_t>(size));
  return target;
}

}  // namespace usl::fs
