// The instance's kernel log: what syslog(2), /dev/kmsg and /proc/kmsg show. The host's log is never involved. Guarded
// by the kernel lock.
//
// An open /dev/kmsg is one end of a socketpair that keeps records apart (SOCK_SEQPACKET): a read gives one record, as
// Linux's, and what a guest writes arrives at the other end. The ring is small enough for all of it to fit into a
// socket's buffer, so a reader that does not wait sees everything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace usl::kernel {

class Kernel;

struct LogRecord {
  uint64_t sequence = 0;
  unsigned priority = 0;      // facility * 8 + level
  uint64_t microseconds = 0;  // CLOCK_MONOTONIC
  std::string text;           // one line, without its newline
};

class KernelLog {
 public:
  static constexpr uint64_t kParkKey = 0x6c6f67'6b6d7367;  // readers that wait (Kernel::Park)
  static constexpr size_t kMaxRecords = 256, kMaxBytes = 64 << 10, kMaxText = 976;

  // kernel.dmesg_restrict: reading takes CAP_SYSLOG.
  bool restricted = true;

  // `changed` is called when a record was added.
  void SetChanged(std::function<void()> changed) { changed_ = std::move(changed); }
  // Adds a record for each line of `text`; control characters become \x.. as on Linux.
  void Add(unsigned priority, std::string_view text);
  // What a guest wrote to /dev/kmsg: "<N>text" or just text.
  void AddWritten(std::string_view data);

  // Records from `sequence` on; kmsg's form ("6,12,5140900,-;text\n") and syslog's ("<6>[    5.140900] text\n").
  static std::string KmsgForm(const LogRecord& record);
  static std::string SyslogForm(const LogRecord& record);
  const std::deque<LogRecord>& records() const { return records_; }

  // syslog(2) SYSLOG_ACTION_READ_ALL: the last records since the last clear that fit into `size` bytes.
  std::string ReadAll(size_t size) const;
  void Clear() { clear_sequence_ = next_sequence_; }
  uint64_t clear_sequence() const { return clear_sequence_; }
  // SYSLOG_ACTION_READ: takes at most `size` bytes of what nobody has taken yet; empty when there is nothing.
  std::string TakeUnread(size_t size);
  size_t UnreadBytes() const;

 private:
  std::deque<LogRecord> records_;
  std::function<void()> changed_;
  size_t bytes_ = 0;
  uint64_t next_sequence_ = 0;
  uint64_t clear_sequence_ = 0;
  uint64_t unread_sequence_ = 0;
  size_t unread_offset_ = 0;  // into the first unread record
};

// The open descriptors of /dev/kmsg and /proc/kmsg.
class KernelLogFiles {
 public:
  enum class Form { kKmsg, kSyslog };
  KernelLogFiles(Kernel& kernel, KernelLog& log);

  // A descriptor for /dev/kmsg (reading and writing) or, with kSyslog, /proc/kmsg (reading takes). `flags` as
  // open(2)'s. Permission is checked before. ENFILE when too many are open.
  Result<UniqueFd> Open(Form form, int flags);
  // Takes in what was written up to now: before the log is shown.
  void Drain();

 private:
  struct Reader {
    UniqueFd own;
    Form form = Form::kKmsg;
    bool reads = false, writes = false;
    uint64_t next = 0;  // of /dev/kmsg: the record to be sent next
    std::string taken;  // of /proc/kmsg: what was taken from the log and did not fit yet
  };
  void OnEvent(uint64_t id, uint32_t events);
  void Feed(uint64_t id, Reader& reader);
  bool TakeWrites(Reader& reader);
  void Watch(uint64_t id, Reader& reader, bool wants_room);

  Kernel& kernel_;
  KernelLog& log_;
  std::map<uint64_t, Reader> readers_;
  uint64_t next_id_ = 1;
};

}  // namespace usl::kernel
