// Guest FIFOs: each FIFO inode that is open, or waited for, has a private host FIFO, whose ends the guest gets, so that
// the data path is native. What is Linux's own in open(2) of a FIFO (fifo(7)) is done here: an open for reading waits
// for a writer and the reverse. Guarded by the kernel lock.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "vfs/file_system.h"

namespace usl::vfs {

class FifoTable;

// An open that waits for the other end. While it exists, its end counts as waiting: others' opens see it. Whoever parks
// the call holds it, and drops it when the call ends by a signal. Must not outlive the table.
class FifoTicket {
 public:
  ~FifoTicket();
  FifoTicket(const FifoTicket&) = delete;
  FifoTicket& operator=(const FifoTicket&) = delete;

  // The key that the table's wake callback is called with when Attempt may succeed; the same for all of one FIFO.
  uint64_t wake_key() const { return key_; }
  // The fd to donate; EAGAIN while the other end is not there.
  Result<UniqueFd> Attempt();

 private:
  friend class FifoTable;
  FifoTicket() = default;
  FifoTable* table_ = nullptr;
  const Inode* inode_ = nullptr;
  uint64_t key_ = 0;
  bool reader_ = false;
  bool ready_ = false;
  UniqueFd fd_;
  int flags_ = 0;
};

struct FifoOpened {
  UniqueFd fd;                         // or
  std::shared_ptr<FifoTicket> ticket;  // when it must wait
};

class FifoTable {
 public:
  // Works below `directory`, which is made when it is absent.
  static Result<std::unique_ptr<FifoTable>> Create(const std::string& directory);

  // Opens one end with O_ACCMODE, O_NONBLOCK, O_APPEND, O_ASYNC, O_DIRECT, O_NOATIME of `flags`. ENXIO for
  // O_WRONLY | O_NONBLOCK without a reader.
  Result<FifoOpened> Open(const Ref<Inode>& inode, int flags);
  // Called with a ticket's wake_key() when its other end came; it may call Attempt at once.
  void SetWake(std::function<void(uint64_t key)> wake) { wake_ = std::move(wake); }
  // The inode behind a host FIFO by its fstat; null when it is none of the table's.
  Ref<Inode> FindByHostFile(const struct stat& status) const;
  size_t size() const { return entries_.size(); }

 private:
  friend class FifoTicket;
  struct Entry {
    Ref<Inode> inode;
    std::string name;
    uint64_t key = 0;
    ino_t host_ino = 0;
    // Whether an end for writing was ever given out since none was seen: without one there is nothing to probe.
    bool may_have_writer = false;
    std::vector<FifoTicket*> waiting;
  };
  FifoTable() = default;
  Result<Entry*> Find(const Ref<Inode>& inode);
  Result<UniqueFd> OpenHost(const Entry& entry, int flags);
  bool HasWriter(Entry& entry, int reader_fd);
  bool IsIdle(Entry& entry);
  void Sweep();
  // The other end came: readers (or writers) that wait are ready now.
  void Release(Entry& entry, bool readers);
  void Wake(uint64_t key);

  UniqueFd directory_fd_;
  dev_t device_ = 0;
  uint64_t next_ = 1;
  size_t sweep_at_ = 256;
  std::unordered_map<const Inode*, Entry> entries_;
  std::unordered_map<ino_t, const Inode*> by_host_ino_;
  std::function<void(uint64_t)> wake_;
};

}  // namespace usl::vfs
