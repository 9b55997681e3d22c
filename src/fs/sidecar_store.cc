#include "fs/sidecar_store.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <atomic>

#include "base/log.h"

namespace usl::fs {
namespace {

constexpr const char* kPrivate = ".usl";
constexpr long kExfat = 0x2011BAB0, kNtfs = 0x5346544E;

std::string NameOf(int fd) {
  return ReadHostLink({AT_FDCWD, FdPath(fd).c_str()}).value_or("?");
}

void LogUnusable(int root, int code, const RecordLog::Condition& condition) {
  std::string file = format("{}/{}/{}", NameOf(root), kPrivate, SidecarStore::kName);
  if (condition.other_version) {
    Log(LogLevel::kError, "\"{}\" is of version {}, which this usl does not know; use a newer usl", file,
        condition.other_version);
  } else if (condition.foreign) {
    Log(LogLevel::kError,
        "\"{}\" was made for another tree: its records go by inode number, which copying does not keep; copy the tree "
        "from inside a guest (tar --xattrs --acls), or remove that file to give up owners, modes and special files",
        file);
  } else if (code == EIO) {
    Log(LogLevel::kError, "\"{}\" is damaged; `usl fsck --repair` saves what is readable", file);
  } else {
    Log(LogLevel::kError, "cannot use \"{}\" (errno {})", file, code);
  }
}

void LogDamage(const HostKey& key) {
  static std::atomic<int> left{32};
  if (left.fetch_sub(1) <= 0) return;
  Log(LogLevel::kError,
      "the record of inode {} in the tree's sidecar is damaged or of a newer version: its calls give EIO; see `usl "
      "fsck`",
      key.ino);
}

}  // namespace

bool SidecarStore::Exists(int root) {
  struct stat status;
  return ::fstatat(root, ".usl/sidecar", &status, AT_SYMLINK_NOFOLLOW) == 0;
}

Result<std::unique_ptr<SidecarStore>> SidecarStore::Open(int root, RecordLog::Access access) {
  struct stat status;
  if (::fstat(root, &status) < 0) return FailErrno();
  if (access == RecordLog::Access::kWrite && ::mkdirat(root, kPrivate, 0700) < 0 && errno != EEXIST) return FailErrno();
  UniqueFd directory = USL_TRY(OpenHost({root, kPrivate}, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  std::unique_ptr<SidecarStore> store(new SidecarStore(status.st_dev));
  RecordLog::Condition condition;
  auto log = RecordLog::Open(directory.get(), kName, access, status.st_ino, &condition);
  if (!log) {
    LogUnusable(root, log.error().code(), condition);
    return Fail(log.error());
  }
  store->log_ = std::move(*log);
  return store;
}

bool SidecarStore::HasLastingNumbers(int fd) {
  struct statfs status;
  if (::fstatfs(fd, &status) < 0) return false;
  switch (static_cast<long>(status.f_type)) {
    // They count their inodes anew whenever they are mounted, or forget and number them while they are.
    case MSDOS_SUPER_MAGIC:
    case kExfat:
    case kNtfs:
    case FUSE_SUPER_MAGIC: return false;
    default: return true;
  }
}

FileStamp SidecarStore::StampOf(const HostPlace& place) {
  struct {
    struct file_handle head;
    std::array<unsigned char, MAX_HANDLE_SZ> bytes;
  } handle{};
  handle.head.handle_bytes = MAX_HANDLE_SZ;
  int mount = 0;
  if (::name_to_handle_at(place.fd, place.name, &handle.head, &mount, AT_EMPTY_PATH) == 0) {
    uint64_t hash = 0xCBF29CE484222325ull ^ static_cast<uint64_t>(handle.head.handle_type);
    for (unsigned i = 0; i < handle.head.handle_bytes; ++i) hash = (hash ^ handle.bytes[i]) * 0x100000001B3ull;
    return {.handle = hash ? hash : 1};
  }
  auto status = Stat(place);
  return {.birth = status ? BirthOf(*status) : 0};
}

Result<std::unique_ptr<AttributeRecord>> SidecarStore::Load(const HostPlace& place, const HostKey& key) {
  std::unique_ptr<AttributeRecord> none;
  if (key.device != device_) return none;
  if (!log_->Contains(key.ino)) {
    const AttributeRecord* removed = removed_.Find(key.ino);
    return removed ? std::make_unique<AttributeRecord>(*removed) : std::move(none);
  }
  auto stored = log_->Get(key.ino);
  auto record = stored ? DecodeRecord(stored->data, kMaxLargeRecordSize) : Fail(stored.error());
  if (!record || record->overflow) {
    LogDamage(key);
    return Fail(EIO);
  }
  // Of an earlier file with this number, whose removal nobody told.
  if (!stored->stamp.Matches(StampOf(place))) return none;
  return std::make_unique<AttributeRecord>(*std::move(record));
}

Result<void> SidecarStore::Save(const HostPlace& place, const HostKey& key, const AttributeRecord& record) {
  if (key.device != device_) return record.IsDefault() ? Result<void>{} : Fail(EOPNOTSUPP);
  if (AttributeRecord* removed = removed_.Find(key.ino)) {
    *removed = record;
    return {};
  }
  if (record.IsDefault()) {
    log_->Drop(key.ino);
    return {};
  }
  return log_->Put(key.ino, StampOf(place), EncodeRecord(record));
}

void SidecarStore::Created(const HostKey& key) {
  if (key.device != device_) return;
  removed_.Forget(key.ino);
  log_->Drop(key.ino);
}

void SidecarStore::Removed(const HostKey& key) {
  if (key.device != device_ || !log_->Contains(key.ino)) return;
  auto stored = log_->Get(key.ino);
  auto record = stored ? DecodeRecord(stored->data, kMaxLargeRecordSize) : Fail(stored.error());
  if (record) removed_.Add(key.ino, *std::move(record));
  log_->Drop(key.ino);
}

}  // namespace usl::fs
