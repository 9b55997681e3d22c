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

#include "base/log.h"
#include "fs/host_remove.h"
#include "fs/volfs.h"
#include "fs/volfs_inode.h"

namespace usl::fs {
namespace {

constexpr std::string_view kPrefix = "usl-tmpfs-";
constexpr const char* kSharedMemory = "/dev/shm";
constexpr long kBlock = 4096;

uint64_t HalfOfMemory() {
  struct sysinfo info;
  if (::sysinfo(&info) < 0) return uint64_t{1} << 30;
  return static_cast<uint64_t>(info.totalram) * info.mem_unit / 2;
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
      : VolFs(volfs),
        path_(volfs.upper->path.substr(0, volfs.upper->path.rfind('/'))),
        size_(options.size.value_or(HalfOfMemory())),
        inodes_(options.inodes.value_or(size_ / kBlock)) {}

  ~TmpFs() override {
    size_t slash = path_.rfind('/');
    UniqueFd base(::open(path_.substr(0, slash).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    auto removed = base ? RemoveHostTree(base.get(), path_.c_str() + slash + 1) : Fail(ENOENT);
    if (!removed) Log(LogLevel::kWarning, "cannot remove \"{}\" (errno {})", path_, removed.error().code());
  }

  Result<void> Start(const TmpFsOptions& options) {
    USL_TRY_VOID(OpenTrees());
    vfs::AttributeChange change;
    change.mode = options.mode & 07777;
    change.uid = options.uid;
    change.gid = options.gid;
    return root()->SetAttributes(change);
  }

  // The host's numbers within the bounds of the options.
  Result<struct statfs> StatFs() override {
    struct statfs host = USL_TRY(VolFs::StatFs());
    struct statfs status {};
    status.f_type = TMPFS_MAGIC;
    status.f_bsize = status.f_frsize = kBlock;
    status.f_namelen = 255;
    status.f_blocks = size_ / kBlock;
    uint64_t used = UsedBlocks();
    uint64_t host_free = host.f_bavail * static_cast<uint64_t>(host.f_bsize) / kBlock;
    uint64_t own_free = status.f_blocks > used ? status.f_blocks - used : 0;
    status.f_bfree = status.f_bavail = std::min(own_free, host_free);
    status.f_files = inodes_;
    status.f_ffree = std::min<uint64_t>(inodes_, host.f_ffree ? host.f_ffree : inodes_);
    return status;
  }

 private:
  // What the tree itself takes is not counted file by file: the memory file system's use as a whole bounds it.
  uint64_t UsedBlocks() {
    auto host = VolFs::StatFs();
    if (!host || host->f_type != TMPFS_MAGIC) return 0;
    return (host->f_blocks - host->f_bfree) * static_cast<uint64_t>(host->f_bsize) / kBlock;
  }

  std::string path_;
  uint64_t size_;
  uint64_t inodes_;
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
  volfs.shown_options = options.size ? format("size={}k,mode={:o}", *options.size / 1024, options.mode & 07777)
                                     : format("mode={:o}", options.mode & 07777);
  if (options.uid) volfs.shown_options += format(",uid={}", options.uid);
  if (options.gid) volfs.shown_options += format(",gid={}", options.gid);
  auto tmpfs = MakeRef<TmpFs>(std::move(volfs), options);
  USL_TRY_VOID(tmpfs->Start(options));
  return Ref<vfs::FileSystem>(tmpfs);
}

}  // namespace usl::fs
