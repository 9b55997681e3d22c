// The attribute records of a tree on a host file system without user attributes (NFS, Lustre without them, ramfs): all
// in one file of the tree's private directory, `.usl/sidecar`, by inode number.
#pragma once

#include <memory>

#include "fs/attribute_store.h"
#include "fs/record_log.h"

namespace usl::fs {

class SidecarStore final : public AttributeStore {
 public:
  static constexpr const char* kName = "sidecar";

  // Has the tree with this root (an O_PATH fd will do) a sidecar?
  static bool Exists(int root);
  // Opens it; with Access::kWrite it is made when it is not there. Errors of RecordLog::Open, with a log line that says
  // what to do.
  static Result<std::unique_ptr<SidecarStore>> Open(int root, RecordLog::Access access);
  // Do the inode numbers of the file system behind `fd` last, so that records can be found by them?
  static bool HasLastingNumbers(int fd);
  // Which file it is that has the number at the moment.
  static FileStamp StampOf(const HostPlace& place);

  Result<std::unique_ptr<AttributeRecord>> Load(const HostPlace& place, const HostKey& key) override;
  Result<void> Save(const HostPlace& place, const HostKey& key, const AttributeRecord& record) override;
  void Created(const HostKey& key) override;
  void Removed(const HostKey& key) override;
  bool KeepsUserXattrs() const override { return true; }

 private:
  explicit SidecarStore(dev_t device) : device_(device) {}

  dev_t device_;  // of the tree: numbers of what is mounted in it may be the same
  std::unique_ptr<RecordLog> log_;
  RemovedRecords<AttributeRecord> removed_;
};

}  // namespace usl::fs
