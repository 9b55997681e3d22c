// Where the attribute records of a tree are kept.
#pragma once

#include <deque>
#include <memory>
#include <unordered_map>

#include "fs/attribute_record.h"
#include "fs/host_file.h"
#include "fs/record_log.h"

namespace usl::fs {

class AttributeStore {
 public:
  virtual ~AttributeStore() = default;
  // The record of a regular file or directory, or null when it has none. EIO (and one log line) for a record that is
  // corrupt or of an unknown version.
  virtual Result<std::unique_ptr<AttributeRecord>> Load(const HostPlace& place, const HostKey& key) = 0;
  // Replaces the record in one step: after a crash it is the old or the new one. A default record is removed.
  virtual Result<void> Save(const HostPlace& place, const HostKey& key, const AttributeRecord& record) = 0;
  // A file was made under this key, or lost its last name (it may be open in the guest still).
  virtual void Created(const HostKey&) {}
  virtual void Removed(const HostKey&) {}
  // False where Removed need not be called (and so links need not be counted).
  virtual bool WantsRemovals() const { return KeepsUserXattrs(); }
  // True when user.* attributes are to be put into the record instead of the host file.
  virtual bool KeepsUserXattrs() const { return false; }
};

// Records of files that were removed while they may still be open in the guest: nobody tells when such a file is
// closed, so those of the most recent ones are kept.
template <typename Value>
class RemovedRecords {
 public:
  void Add(uint64_t number, Value value) {
    if (values_.insert_or_assign(number, std::move(value)).second) order_.push_back(number);
    if (order_.size() <= kKept) return;
    values_.erase(order_.front());
    order_.pop_front();
  }
  // The number belongs to a new file.
  void Forget(uint64_t number) { values_.erase(number); }
  Value* Find(uint64_t number) {
    auto found = values_.find(number);
    return found == values_.end() ? nullptr : &found->second;
  }

 private:
  static constexpr size_t kKept = 4096;
  std::unordered_map<uint64_t, Value> values_;
  std::deque<uint64_t> order_;
};

// In the host's extended attribute `user.usl`. What is too large for one is in the file `.usl/overflow`, and the
// attribute names its place there.
class XattrStore final : public AttributeStore {
 public:
  static constexpr const char* kName = "user.usl";
  static constexpr const char* kProbeName = "user.usl.probe";
  static constexpr const char* kOverflowName = "overflow";

  // For the tree whose root is `root` (an O_PATH fd will do). Errors of RecordLog::Open where there is an overflow
  // file.
  static Result<std::unique_ptr<XattrStore>> Open(int root, RecordLog::Access access);
  // Can the directory behind `fd` have user attributes? EOPNOTSUPP when its file system has none.
  static Result<void> Probe(int fd);

  Result<std::unique_ptr<AttributeRecord>> Load(const HostPlace& place, const HostKey& key) override;
  Result<void> Save(const HostPlace& place, const HostKey& key, const AttributeRecord& record) override;
  void Created(const HostKey& key) override;
  void Removed(const HostKey& key) override;
  bool WantsRemovals() const override { return !by_number_.empty(); }

 private:
  // In the overflow file a record's stamp has the host inode number of its file in place of a handle.
  Result<void> OpenOverflow(RecordLog::Access access);
  Result<std::vector<std::byte>> ReadOverflow(uint64_t id);
  Result<void> SaveOverflow(const HostPlace& place, const HostKey& key, std::span<const std::byte> data);
  void DropOverflow(const HostKey& key);

  UniqueFd root_;
  dev_t device_ = 0;  // of the tree: numbers of what is mounted in it may be the same
  std::unique_ptr<RecordLog> overflow_;
  // The overflow file was copied with the tree: whose a record was is not known any more, so none is dropped.
  bool is_copy_ = false;
  std::unordered_map<uint64_t, uint64_t> by_number_;  // inode number to id, of the files that were looked at
  RemovedRecords<std::vector<std::byte>> removed_;
};

// In memory, for trees that do not outlive the kernel: tmpfs, and throw-away trees on hosts without user attributes.
class MemoryStore final : public AttributeStore {
 public:
  Result<std::unique_ptr<AttributeRecord>> Load(const HostPlace& place, const HostKey& key) override;
  Result<void> Save(const HostPlace& place, const HostKey& key, const AttributeRecord& record) override;
  void Created(const HostKey& key) override { records_.erase(key); }
  void Removed(const HostKey& key) override;
  bool KeepsUserXattrs() const override { return true; }
  size_t size() const { return records_.size(); }

 private:
  // A removed file may still be open in the guest; nobody tells when it is closed, so the records of the most recently
  // removed files are kept.
  static constexpr size_t kKeptRemoved = 4096;
  struct Entry {
    AttributeRecord record;
    bool removed = false;
  };
  std::unordered_map<HostKey, Entry, HostKeyHash> records_;
  std::deque<HostKey> removed_;
};

}  // namespace usl::fs
