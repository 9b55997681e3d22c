#include "fs/attribute_store.h"

#include <sys/xattr.h>

#include <atomic>

#include "base/log.h"

namespace usl::fs {
namespace {

// A damaged tree must not flood the log.
void LogDamage(const HostPlace& place) {
  static std::atomic<int> left{32};
  if (left.fetch_sub(1) <= 0) return;
  Log(LogLevel::kError, "the attribute user.usl of \"{}\" (in {}) is damaged or of a newer version: EIO", place.name,
      FdPath(place.fd));
}

}  // namespace

Result<void> XattrStore::Probe(int fd) {
  constexpr const char* kProbe = "user.usl.probe";
  HostPlace place{fd, ""};
  std::byte value{1};
  USL_TRY_VOID(SetHostXattr(place, kProbe, {&value, 1}, 0));
  return RemoveHostXattr(place, kProbe);
}

Result<std::unique_ptr<AttributeRecord>> XattrStore::Load(const HostPlace& place, const HostKey&) {
  auto value = GetHostXattr(place, kName);
  if (!value) {
    int code = value.error().code();
    // A read-only layer may be on a file system without user attributes: then nothing there has a record.
    if (code == ENODATA || code == EOPNOTSUPP) return std::unique_ptr<AttributeRecord>();
    return Fail(code);
  }
  auto record = DecodeRecord(*value);
  if (!record) {
    LogDamage(place);
    return Fail(EIO);
  }
  return std::make_unique<AttributeRecord>(*std::move(record));
}

Result<void> XattrStore::Save(const HostPlace& place, const HostKey&, const AttributeRecord& record) {
  if (!record.IsDefault()) {
    auto value = EncodeRecord(record);
    if (value.size() > kMaxRecordSize) return Fail(ENOSPC);
    return SetHostXattr(place, kName, value, 0);
  }
  auto removed = RemoveHostXattr(place, kName);
  if (!removed && removed.error().code() != ENODATA) return removed;
  return {};
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
