// A file that maps 64-bit keys to small records and survives crashes: the sidecar of hosts without user attributes, and
// the place for records that are too large for one (docs/volfs.md has its format).
//
// Changes are appended, each with a checksum, so that after a crash a change is there or is not; what a crash cut off
// at the end is dropped when the file is opened. When most of the file is outdated a compact copy takes its place in
// one step. Only the places of the records are held in memory. Guarded by the kernel lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace usl::fs {

// Which of several host files that had one number over time a record belongs to: a hash of the file handle, or where
// the host has none the birth time; 0 for what the host does not tell.
struct FileStamp {
  uint64_t handle = 0;
  uint64_t birth = 0;
  // Nothing says that they are of different files.
  bool Matches(const FileStamp& other) const {
    return !(handle && other.handle && handle != other.handle) && !(birth && other.birth && birth != other.birth);
  }
};

class RecordLog {
 public:
  enum class Access {
    kRead,   // a tree that is a lower layer: damage is an error, nothing is written
    kWrite,  // the tree's owner: damage is an error, a cut-off end is removed
    kCheck,  // for repair: whatever is readable; nothing is written before Compact
  };
  // What is known of a file that could not be opened as asked, or that Access::kCheck opened.
  struct Condition {
    uint64_t unfinished = 0;  // bytes at the end that a crash cut off
    uint64_t damaged = 0;     // bytes before the end that are not readable records
    bool bad_header = false;
    uint32_t other_version = 0;  // not 0: of a version that this program does not know
    bool foreign = false;        // made for another tree (copied with it): its keys mean nothing here
  };
  struct Record {
    FileStamp stamp;
    std::vector<std::byte> data;
  };

  // Opens `name` in the directory `directory` (an O_PATH fd will do, and is not kept); for kWrite it is made when it is
  // not there or empty. `tree` identifies the tree that it belongs to (the inode number of its root): with another one,
  // or in another file than it was written to, the file is `foreign` and kRead and kWrite fail with EXDEV; 0 accepts
  // any. EPROTONOSUPPORT: another version. EIO: damaged. ENOENT, and the errors of open(2), read(2) and write(2).
  static Result<std::unique_ptr<RecordLog>> Open(int directory, const std::string& name, Access access, uint64_t tree,
                                                 Condition* condition);

  bool Contains(uint64_t key) const { return slots_.contains(key); }
  // ENOENT when there is none; EIO when it cannot be read back.
  Result<Record> Get(uint64_t key);
  // Replaces the record in one step. Errors of write(2) (ENOSPC, EDQUOT, EIO): the old one is still there then.
  Result<void> Put(uint64_t key, const FileStamp& stamp, std::span<const std::byte> data);
  // Forgets the record: at once for this process, and on disk now or, when that fails, with the next change.
  void Drop(uint64_t key);
  // Writes a new file with the present records and puts it into the old one's place.
  Result<void> Compact();

  size_t size() const { return slots_.size(); }
  std::vector<uint64_t> Keys() const;

 private:
  struct Slot {
    uint64_t offset;
    uint32_t length;
  };

  RecordLog() = default;
  Result<void> Start();
  Result<void> ReadHeader(Condition& condition);
  Result<void> Scan(Condition& condition);
  Result<void> Append(std::span<const std::byte> bytes);
  Result<void> FlushDrops();
  void Account(uint64_t key, std::optional<Slot> slot);
  bool IsMostlyOutdated() const;

  UniqueFd directory_;
  std::string name_;
  Access access_ = Access::kRead;
  UniqueFd fd_;
  uint64_t tree_ = 0;
  uint64_t salt_ = 0;  // random; a guest who writes records cannot know it, and so cannot fake entries in a record
  uint64_t end_ = 0;   // where the next entry goes
  uint64_t live_ = 0;  // bytes of the file that count
  uint64_t compact_at_ = 0;
  std::unordered_map<uint64_t, Slot> slots_;
  std::vector<uint64_t> unwritten_drops_;
};

}  // namespace usl::fs
