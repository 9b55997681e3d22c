#include "fs/attribute_store.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <atomic>

#include "base/log.h"

namespace usl::fs {
namespace {

// The least that is left to the extended attribute: a smaller record that does not fit means a full disk.
constexpr size_t kSmallRecord = 256;
constexpr size_t kMaxOverflows = 1 << 20;

// A damaged tree must not flood the log.
void LogDamage(const HostPlace& place, const RecordReport& report) {
  static std::atomic<int> left{32};
  if (left.fetch_sub(1) <= 0) return;
  bool newer = report.state == RecordReport::State::kOtherVersion;
  Log(LogLevel::kError, "the attribute user.usl of \"{}\" (in {}) is {}: its calls give EIO; {}", place.name,
      ReadHostLink({AT_FDCWD, FdPath(place.fd).c_str()}).value_or("a removed directory"),
      newer ? format("of version {}, which this usl does not know", report.version) : "damaged",
      newer ? "use a newer usl" : "see `usl fsck`");
}

bool IsTooLarge(int code) {
  return code == ENOSPC || code == E2BIG || code == ERANGE;
}

uint64_t NewId() {
  uint64_t id = 0;
  while (::getrandom(&id, sizeof id, 0) != sizeof id || id == 0) continue;
  return id;
}

}  // namespace

Result<std::unique_ptr<XattrStore>> XattrStore::Open(int root, RecordLog::Access access) {
  auto store = std::make_unique<XattrStore>();
  store->root_ = USL_TRY(OpenHost({root, ""}, O_PATH | O_DIRECTORY));
  struct stat status;
  if (::fstat(store->root_.get(), &status) < 0) return FailErrno();
  store->device_ = status.st_dev;
  if (::fstatat(root, ".usl/overflow", &status, AT_SYMLINK_NOFOLLOW) == 0) USL_TRY_VOID(store->OpenOverflow(access));
  return store;
}

Result<void> XattrStore::OpenOverflow(RecordLog::Access access) {
  if (!root_) return Fail(ENOSPC);
  UniqueFd directory = USL_TRY(OpenHost({root_.get(), ".usl"}, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  RecordLog::Condition condition;
  struct stat root;
  if (::fstat(root_.get(), &root) < 0) return FailErrno();
  auto log = RecordLog::Open(directory.get(), kOverflowName, access, root.st_ino, &condition);
  if (!log && log.error().code() == EXDEV) {
    // Its keys are in the files' attributes and are copied with them.
    is_copy_ = true;
    log = RecordLog::Open(directory.get(), kOverflowName, access, 0, &condition);
  }
  overflow_ = USL_TRY(std::move(log));
  return {};
}

Result<void> XattrStore::Probe(int fd) {
  HostPlace place{fd, ""};
  std::byte value{1};
  USL_TRY_VOID(SetHostXattr(place, kProbeName, {&value, 1}, 0));
  return RemoveHostXattr(place, kProbeName);
}

Result<std::vector<std::byte>> XattrStore::ReadOverflow(uint64_t id) {
  if (const auto* removed = removed_.Find(id)) return *removed;
  if (!overflow_) return Fail(EIO);
  auto record = overflow_->Get(id);
  if (!record) return Fail(EIO);
  return std::move(record->data);
}

Result<std::unique_ptr<AttributeRecord>> XattrStore::Load(const HostPlace& place, const HostKey& key) {
  auto value = GetHostXattr(place, kName);
  if (!value) {
    int code = value.error().code();
    // A read-only layer may be on a file system without user attributes: then nothing there has a record.
    if (code == ENODATA || code == EOPNOTSUPP) return std::unique_ptr<AttributeRecord>();
    return Fail(code);
  }
  auto record = DecodeRecord(*value);
  if (record && record->overflow) {
    if (key.device == device_) by_number_[key.ino] = record->overflow;
    auto data = ReadOverflow(record->overflow);
    record = data ? DecodeRecord(*data, kMaxLargeRecordSize) : Fail(data.error());
    if (record && record->overflow) record = Fail(EIO);
  }
  if (!record) {
    LogDamage(place, InspectRecord(*value));
    return Fail(EIO);
  }
  return std::make_unique<AttributeRecord>(*std::move(record));
}

Result<void> XattrStore::Save(const HostPlace& place, const HostKey& key, const AttributeRecord& record) {
  if (record.IsDefault()) {
    auto removed = RemoveHostXattr(place, kName);
    if (!removed && removed.error().code() != ENODATA) return removed;
  } else {
    auto value = EncodeRecord(record);
    auto saved = value.size() <= kMaxRecordSize ? SetHostXattr(place, kName, value, 0) : Fail(E2BIG);
    if (!saved && value.size() > kSmallRecord && IsTooLarge(saved.error().code()))
      return SaveOverflow(place, key, value);
    USL_TRY_VOID(saved);
  }
  DropOverflow(key);
  return {};
}

// The attribute goes from the old record, or the old place, to the new place in one step; only then is the old one
// forgotten.
Result<void> XattrStore::SaveOverflow(const HostPlace& place, const HostKey& key, std::span<const std::byte> data) {
  if (by_number_.size() >= kMaxOverflows || key.device != device_) return Fail(ENOSPC);
  if (!overflow_) {
    // The private directory is there: only trees that are used by a kernel get here.
    if (root_ && ::mkdirat(root_.get(), ".usl", 0700) < 0 && errno != EEXIST) return FailErrno();
    USL_TRY_VOID(OpenOverflow(RecordLog::Access::kWrite));
  }
  uint64_t id = NewId();
  USL_TRY_VOID(overflow_->Put(id, {.handle = key.ino}, data));
  AttributeRecord pointer;
  pointer.overflow = id;
  if (auto saved = SetHostXattr(place, kName, EncodeRecord(pointer), 0); !saved) {
    overflow_->Drop(id);
    return saved;
  }
  DropOverflow(key);
  by_number_[key.ino] = id;
  return {};
}

void XattrStore::DropOverflow(const HostKey& key) {
  if (key.device != device_) return;
  auto found = by_number_.find(key.ino);
  if (found == by_number_.end()) return;
  uint64_t id = found->second;
  by_number_.erase(found);
  // Another file may name it too, when somebody copied files in the tree on the host.
  auto record = overflow_ && !is_copy_ ? overflow_->Get(id) : Fail(ENOENT);
  if (record && record->stamp.handle == key.ino) overflow_->Drop(id);
}

void XattrStore::Created(const HostKey& key) {
  if (key.device == device_) by_number_.erase(key.ino);
}

void XattrStore::Removed(const HostKey& key) {
  if (key.device != device_) return;
  auto found = by_number_.find(key.ino);
  if (found == by_number_.end()) return;
  if (auto record = overflow_ ? overflow_->Get(found->second) : Fail(ENOENT))
    removed_.Add(found->second, std::move(record->data));
  DropOverflow(key);
}

Result<std::unique_ptr<AttributeRecord>> MemoryStore::Load(const HostPlace&, const HostKey& key) {
  auto found = records_.find(key);
  if (found == records_.end()) return std::unique_ptr<AttributeRecord>();
  return std::make_unique<AttributeRecord>(found->second.record);
}

Result<void> MemoryStore::Save(const HostPlace&, const HostKey& key, const AttributeRecord& record) {
  if (record.IsDefault()) {
    records_.erase(key);
  } else {
    records_[key].record = record;
  }
  return {};
}

void MemoryStore::Removed(const HostKey& key) {
  auto found = records_.find(key);
  if (found == records_.end()) return;
  found->second.removed = true;
  removed_.push_back(key);
  if (removed_.size() <= kKeptRemoved) return;
  // The number may belong to a new file by now.
  auto oldest = records_.find(removed_.front());
  if (oldest != records_.end() && oldest->second.removed) records_.erase(oldest);
  removed_.pop_front();
}

}  // namespace usl::fs
