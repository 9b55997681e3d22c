#include "fs/tmpfs.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <charconv>
#include <unordered_map>

#include "base/log.h"
#include "fs/host_remove.h"
#include "fs/tmpfs_options.h"
#include "fs/volfs.h"
#include "fs/volfs_inode.h"

namespace usl::fs {
namespace {

constexpr std::string_view kPrefix = "usl-tmpfs-";
constexpr const char* kSharedMemory = "/dev/shm";
constexpr long kBlock = 4096;

// Asked for at each new name; memory that is plugged in later does not count.
uint64_t HalfOfMemory() {
  static const uint64_t half = [] {
    struct sysinfo info;
    if (::sysinfo(&info) < 0) return uint64_t{1} << 30;
    return static_cast<uint64_t>(info.totalram) * info.mem_unit / 2;
  }();
  return half;
}

// Removes the directories of kernels that died. Their names tell the process, their locks whether somebody is left.
// Those of `ending`, a process that is about to end, go whatever the locks say.
void RemoveLeftovers(const std::string& base, pid_t ending = 0) {
  UniqueFd directory(::open(base.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return;
  std::vector<std::string> stale;
  (void)ForEachEntry(directory.get(), [&](const char* entry, uint64_t, unsigned char) {
    std::string_view name = entry;
    if (!name.starts_with(kPrefix)) return true;
    pid_t pid = 0;
    std::string_view digits = name.substr(kPrefix.size());
    auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), pid);
    if (parsed.ec != std::errc{} || pid <= 0) return true;
    if (pid == ending || (::kill(pid, 0) < 0 && errno == ESRCH)) stale.emplace_back(name);
    return true;
  });
  for (const std::string& name : stale) {
    // The lock of the tree in it; a directory without one was left before the tree was made.
    std::string tree = format("{}/root", name);
    UniqueFd fd(::openat(directory.get(), tree.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (ending == 0 && fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) < 0) continue;
    (void)RemoveHostTree(directory.get(), name.c_str());
  }
}

// A fresh directory of our own in `base`.
Result<std::string> MakePrivate(const std::string& base) {
  RemoveLeftovers(base);
  std::string path = format("{}/{}{}-XXXXXX", base, kPrefix, ::getpid());
  if (!::mkdtemp(path.data())) return FailErrno();
  return path;
}

class TmpFs final : public VolFs {
 public:
  TmpFs(VolFsOptions volfs, const TmpFsOptions& options)
      : VolFs(volfs), path_(volfs.upper->path.substr(0, volfs.upper->path.rfind('/'))), options_(options) {}

  ~TmpFs() override {
    growing_.clear();
    size_t slash = path_.rfind('/');
    UniqueFd base(::open(path_.substr(0, slash).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    auto removed = base ? RemoveHostTree(base.get(), path_.c_str() + slash + 1) : Fail(ENOENT);
    if (!removed) Log(LogLevel::kWarning, "cannot remove \"{}\" (errno {})", path_, removed.error().code());
  }

  Result<void> Start() {
    USL_TRY_VOID(OpenTrees());
    vfs::AttributeChange change;
    change.mode = options_.mode & 07777;
    change.uid = options_.uid;
    change.gid = options_.gid;
    return root()->SetAttributes(change);
  }

  // Within the host's own free space.
  Result<struct statfs> StatFs() override {
    struct statfs host = USL_TRY(VolFs::StatFs());
    struct statfs status {};
    status.f_type = TMPFS_MAGIC;
    status.f_bsize = status.f_frsize = kBlock;
    status.f_namelen = 255;
    status.f_blocks = Size() / kBlock;
    Measure();
    uint64_t host_free = host.f_bavail * static_cast<uint64_t>(host.f_bsize) / kBlock;
    uint64_t used = UsedBytes() / kBlock;
    uint64_t own_free = status.f_blocks > used ? status.f_blocks - used : 0;
    status.f_bfree = status.f_bavail = std::min(own_free, host_free);
    status.f_files = Inodes();
    status.f_ffree = status.f_files > names_ ? status.f_files - names_ : 0;
    return status;
  }

  // shmem_reconfigure(): owner and mode of the root stay as they are.
  Result<void> Reconfigure(std::string_view text) override {
    const TmpFsOptions wanted = USL_TRY(ParseTmpFsOptions(text, options_));
    Measure();
    if (wanted.size && wanted.size != options_.size && UsedBytes() > *wanted.size) return Fail(EINVAL);
    if (wanted.inodes && wanted.inodes != options_.inodes && names_ > *wanted.inodes) return Fail(EINVAL);
    options_.size = wanted.size;
    options_.inodes = wanted.inodes;
    return {};
  }

  // shmem_show_options()
  std::string options() const override {
    std::string shown;
    auto add = [&](const std::string& option) { shown += (shown.empty() ? "" : ",") + option; };
    if (options_.size) add(format("size={}k", *options_.size / 1024));
    if (options_.inodes) add(format("nr_inodes={}", *options_.inodes));
    if ((options_.mode & 07777) != 01777) add(format("mode={:03o}", options_.mode & 07777));
    if (options_.uid) add(format("uid={}", options_.uid));
    if (options_.gid) add(format("gid={}", options_.gid));
    return shown;
  }

 protected:
  Result<void> TakeName(bool takes_space) override {
    if (names_ >= Inodes()) return Fail(ENOSPC);
    if (takes_space && options_.size) {
      Measure();
      if (UsedBytes() >= *options_.size) return Fail(ENOSPC);
    }
    ++names_;
    return {};
  }
  void GiveName(const HostKey* last_of) override {
    --names_;
    if (!last_of) return;
    growing_.erase(*last_of);
    SetBlocks(*last_of, 0);
  }
  void MayGrow(VolInode& inode) override { growing_.emplace(inode.key(), Ref<VolInode>(&inode)); }

 private:
  uint64_t Size() const { return options_.size.value_or(HalfOfMemory()); }
  uint64_t Inodes() const { return options_.inodes.value_or(HalfOfMemory() / kBlock); }
  uint64_t UsedBytes() const { return blocks_ * 512; }

  void SetBlocks(const HostKey& key, uint64_t blocks) {
    auto known = sizes_.find(key);
    if (known != sizes_.end()) {
      blocks_ -= known->second;
      sizes_.erase(known);
    }
    if (blocks == 0) return;
    sizes_.emplace(key, blocks);
    blocks_ += blocks;
  }

  // Writing is native, so the files that somebody may be writing to are looked at when it matters.
  void Measure() {
    std::erase_if(growing_, [this](const auto& entry) {
      auto fd = entry.second->OpenFlags(O_RDONLY);
      struct stat status;
      if (!fd || ::fstat(fd->get(), &status) < 0) return true;
      SetBlocks(entry.first, static_cast<uint64_t>(status.st_blocks));
      // The host grants a read lease only on what nobody has open or mapped for writing. Nobody opens it meanwhile:
      // that takes the kernel lock.
      if (::fcntl(fd->get(), F_SETLEASE, F_RDLCK) < 0) return false;
      ::fcntl(fd->get(), F_SETLEASE, F_UNLCK);
      return true;
    });
  }

  std::string path_;
  TmpFsOptions options_;
  // As on Linux each name counts, and the root.
  uint64_t names_ = 1;
  uint64_t blocks_ = 0;                                              // of 512 bytes, of all files when last measured
  std::unordered_map<HostKey, uint64_t, HostKeyHash> sizes_;         // those that have blocks
  std::unordered_map<HostKey, Ref<VolInode>, HostKeyHash> growing_;  // opened for writing since
};

Result<std::string> FindPlace(const TmpFsOptions& options) {
  if (!options.host_directory.empty()) return MakePrivate(options.host_directory);
  // Containers mount /dev/shm noexec, and then no program in the guest's tmpfs could be mapped.
  bool has_fallback = !options.fallback_directory.empty();
  struct statfs status;
  bool is_noexec = ::statfs(kSharedMemory, &status) == 0 && (status.f_flags & ST_NOEXEC);
  if (is_noexec && has_fallback) return MakePrivate(options.fallback_directory);
  auto path = MakePrivate(kSharedMemory);
  return path || !has_fallback ? path : MakePrivate(options.fallback_directory);
}

}  // namespace

void RemoveTmpFsLeftovers(const std::string& fallback_directory, pid_t ending) {
  RemoveLeftovers(kSharedMemory, ending);
  if (!fallback_directory.empty()) RemoveLeftovers(fallback_directory, ending);
}

Result<Ref<vfs::FileSystem>> MakeTmpFs(const TmpFsOptions& options) {
  VolFsOptions volfs;
  std::string place = USL_TRY(FindPlace(options));
  // Inside of a directory that no other host user can enter, whatever mode the guest gives its root.
  volfs.upper = LayerOptions{.path = place + "/root"};
  if (::mkdir(volfs.upper->path.c_str(), 0700) < 0) return FailErrno();
  volfs.memory_attributes = true;
  volfs.directory_fds = 64;
  volfs.type_name = "tmpfs";
  volfs.source = options.source;
  auto tmpfs = MakeRef<TmpFs>(std::move(volfs), options);
  USL_TRY_VOID(tmpfs->Start());
  return Ref<vfs::FileSystem>(tmpfs);
}

}  // namespace usl::fs
