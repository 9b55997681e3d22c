#include "kernel/kernel_log.h"

#include <time.h>

#include <algorithm>
#include <charconv>

#include "base/format.h"

namespace usl::kernel {
namespace {

constexpr unsigned kDefaultLevel = 4, kUserFacility = 1;

uint64_t NowMicroseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000u + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

}  // namespace

void KernelLog::Add(unsigned priority, std::string_view text) {
  while (text.ends_with('\n')) text.remove_suffix(1);
  do {
    const size_t end = std::min(text.find('\n'), text.size());
    LogRecord record{next_sequence_++, priority, NowMicroseconds(),
                     std::string(text.substr(0, std::min(end, kMaxText)))};
    text.remove_prefix(std::min(end + 1, text.size()));
    bytes_ += record.text.size();
    records_.push_back(std::move(record));
  } while (!text.empty());
  while (records_.size() > kMaxRecords || bytes_ > kMaxBytes) {
    bytes_ -= records_.front().text.size();
    records_.pop_front();
  }
  if (changed_) changed_();
}

void KernelLog::AddWritten(std::string_view data) {
  unsigned priority = kUserFacility << 3 | kDefaultLevel;
  if (data.starts_with('<')) {
    unsigned given = 0;
    const auto [end, error] = std::from_chars(data.data() + 1, data.data() + data.size(), given);
    if (error == std::errc() && end != data.data() + data.size() && *end == '>') {
      // Only the kernel itself logs as facility 0.
      priority = (given >> 3 ? given >> 3 : kUserFacility) << 3 | (given & 7);
      data.remove_prefix(static_cast<size_t>(end + 1 - data.data()));
    }
  }
  Add(priority, data.substr(0, data.find('\0')));
}

std::string KernelLog::KmsgForm(const LogRecord& record) {
  std::string out = format("{},{},{},-;", record.priority, record.sequence, record.microseconds);
  for (const char c : record.text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < ' ' || byte >= 127 || c == '\\') {
      out += format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + '\n';
}

std::string KernelLog::SyslogForm(const LogRecord& record) {
  return format("<{}>[{:5}.{:06}] {}\n", record.priority, record.microseconds / 1'000'000,
                record.microseconds % 1'000'000, record.text);
}

std::string KernelLog::ReadAll(size_t size) const {
  std::string out;
  for (auto record = records_.rbegin(); record != records_.rend() && record->sequence >= clear_sequence_; ++record) {
    const std::string line = SyslogForm(*record);
    if (out.size() + line.size() > size) break;
    out.insert(0, line);
  }
  return out;
}

std::string KernelLog::TakeUnread(size_t size) {
  std::string out;
  for (const LogRecord& record : records_) {
    if (record.sequence < unread_sequence_) continue;
    if (record.sequence > unread_sequence_) unread_offset_ = 0;  // the one that was begun is gone
    std::string line = SyslogForm(record).substr(unread_offset_);
    unread_sequence_ = record.sequence;
    if (out.size() + line.size() > size) {
      // A line goes out in parts only when it does not fit at all.
      if (out.empty()) {
        out = line.substr(0, size);
        unread_offset_ += size;
      }
      return out;
    }
    out += line;
    unread_offset_ = 0;
    ++unread_sequence_;
  }
  return out;
}

size_t KernelLog::UnreadBytes() const {
  size_t bytes = 0;
  for (const LogRecord& record : records_) {
    if (record.sequence < unread_sequence_) continue;
    bytes += SyslogForm(record).size();
    if (record.sequence == unread_sequence_) bytes -= unread_offset_;
  }
  return bytes;
}

}  // namespace usl::kernel
