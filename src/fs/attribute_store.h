// Where the attribute records of a tree are kept.
#pragma once

#include <deque>
#include <memory>
#include <unordered_map>

#include "fs/attribute_record.h"
#include "fs/host_file.h"

namespace usl::fs {

class AttributeStore {
 public:
  virtual ~AttributeStore() = default;
  // The record of a regular file or directory, or null when it has none. EIO (and one log line) for a record that is
  // corrupt or of an unknown version.
  virtual Result<std::unique_ptr<AttributeRecord>> Load(const HostPlace& place, const HostKey& key) = 0;
  // Replaces the record in one step: after a crash it is the old or the new one. A default record is removed.
  virtual Result<void> Save(const HostPlace& place, const HostKey& key, const AttributeRecord& record) = 0;
  // A file was made under this key, or lost its last name.
  virtual void Created(const HostKey&) {}
  virtual void Removed(const HostKey&) {}
  // True when user.* attributes are to be put into the record instead of the host file.
  virtual bool KeepsUserXattrs() const { return false; }
};

// In the host's extended attribute `user.usl`.
class XattrStore final : public AttributeStore {
 public:
  static constexpr const char* kName = "user.usl";
  // Can the directory behind `fd` have user attributes? EOPNOTSUPP when its file system has none.
  static Result<void> Probe(int fd);

  Result<std::unique_ptr<AttributeRecord>> Load(const HostPlace& place, const HostKey& key) override;
  Result<void> Save(const HostPlace& place, const HostKey& key, const AttributeRecord& record) override;
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
