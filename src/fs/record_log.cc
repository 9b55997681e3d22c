#include "fs/record_log.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "fs/attribute_record.h"
#include "fs/host_file.h"

namespace usl::fs {
namespace {

constexpr char kMagic[8] = {'U', 'S', 'L', 'R', 'E', 'C', 'S', '\n'};
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderSize = 64;
constexpr size_t kEntryHeader = 40;
constexpr uint32_t kDropped = 0xFFFFFFFF;  // in place of a length
constexpr size_t kWindow = 1 << 20;
constexpr uint64_t kSmallest = 1 << 18;  // below this size compacting is not worth it

// Castagnoli's polynomial, as ext4, btrfs and xfs use it for their metadata.
constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (value & 1 ? 0x82F63B78u : 0u);
    table[i] = value;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kTable = MakeTable();

uint32_t Checksum(std::span<const std::byte> data) {
  uint32_t value = 0xFFFFFFFF;
  for (std::byte byte : data) value = (value >> 8) ^ kTable[(value ^ static_cast<uint32_t>(byte)) & 0xFF];
  return ~value;
}

template <typename T>
void Put(std::byte* at, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) at[i] = static_cast<std::byte>(value >> (8 * i));
}

template <typename T>
T Take(const std::byte* at) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<T>(static_cast<T>(at[i]) << (8 * i));
  return value;
}

size_t Padded(size_t size) {
  return (size + 7) & ~size_t{7};
}

uint64_t RandomNumber() {
  uint64_t number = 0;
  while (::getrandom(&number, sizeof number, 0) != sizeof number || number == 0) continue;
  return number;
}

// salt, checksum of all that follows, length, key, handle, birth, data.
std::vector<std::byte> MakeEntry(uint64_t salt, uint64_t key, const FileStamp& stamp,
                                 std::optional<std::span<const std::byte>> data) {
  size_t length = data ? data->size() : 0;
  std::vector<std::byte> entry(Padded(kEntryHeader + length));
  Put<uint64_t>(&entry[0], salt);
  Put<uint32_t>(&entry[12], data ? static_cast<uint32_t>(length) : kDropped);
  Put<uint64_t>(&entry[16], key);
  Put<uint64_t>(&entry[24], stamp.handle);
  Put<uint64_t>(&entry[32], stamp.birth);
  if (data) std::ranges::copy(*data, entry.begin() + kEntryHeader);
  Put<uint32_t>(&entry[8], Checksum(std::span(entry).subspan(12, kEntryHeader - 12 + length)));
  return entry;
}

// Reads a file from front to back in large steps.
class Window {
 public:
  explicit Window(int fd) : fd_(fd) {}

  // `size` bytes at `offset`, valid until the next call; fewer at the end of the file.
  Result<std::span<const std::byte>> At(uint64_t offset, size_t size) {
    if (offset < start_ || offset + size > start_ + filled_) USL_TRY_VOID(Fill(offset, size));
    size_t skip = std::min<size_t>(offset - start_, filled_);
    return std::span<const std::byte>(buffer_).subspan(skip, std::min(size, filled_ - skip));
  }

 private:
  Result<void> Fill(uint64_t offset, size_t size) {
    buffer_.resize(std::max(size, kWindow));
    start_ = offset;
    filled_ = 0;
    while (filled_ < buffer_.size()) {
      ssize_t count =
          ::pread(fd_, buffer_.data() + filled_, buffer_.size() - filled_, static_cast<off_t>(offset + filled_));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return FailErrno();
      if (count == 0) break;
      filled_ += static_cast<size_t>(count);
    }
    return {};
  }

  int fd_;
  std::vector<std::byte> buffer_;
  uint64_t start_ = 0;
  size_t filled_ = 0;
};

struct Entry {
  uint64_t key;
  FileStamp stamp;
  bool dropped;
  uint32_t length;
  size_t Size() const { return Padded(kEntryHeader + length); }
};

// The entry at `offset`, or nothing when no whole, sound one is there.
Result<std::optional<Entry>> ReadEntry(Window& window, uint64_t salt, uint64_t offset) {
  auto header = USL_TRY(window.At(offset, kEntryHeader));
  if (header.size() < kEntryHeader || Take<uint64_t>(&header[0]) != salt) return std::nullopt;
  uint32_t length = Take<uint32_t>(&header[12]);
  Entry entry{.key = Take<uint64_t>(&header[16]),
              .stamp = {Take<uint64_t>(&header[24]), Take<uint64_t>(&header[32])},
              .dropped = length == kDropped,
              .length = length == kDropped ? 0 : length};
  if (entry.length > kMaxLargeRecordSize) return std::nullopt;
  uint32_t checksum = Take<uint32_t>(&header[8]);
  auto whole = USL_TRY(window.At(offset, kEntryHeader + entry.length));
  if (whole.size() < kEntryHeader + entry.length || Checksum(whole.subspan(12)) != checksum) return std::nullopt;
  return entry;
}

Result<void> WriteAt(int fd, std::span<const std::byte> data, uint64_t offset) {
  while (!data.empty()) {
    ssize_t written = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FailErrno();
    if (written == 0) return Fail(EIO);
    data = data.subspan(static_cast<size_t>(written));
    offset += static_cast<size_t>(written);
  }
  return {};
}

Result<std::array<std::byte, kHeaderSize>> MakeHeader(int fd, uint64_t salt, uint64_t tree) {
  struct stat status;
  if (::fstat(fd, &status) < 0) return FailErrno();
  std::array<std::byte, kHeaderSize> header{};
  std::memcpy(header.data(), kMagic, sizeof kMagic);
  Put<uint32_t>(&header[8], kVersion);
  Put<uint64_t>(&header[16], salt);
  Put<uint64_t>(&header[24], tree);
  Put<uint64_t>(&header[32], status.st_ino);
  Put<uint32_t>(&header[60], Checksum(std::span(header).first(60)));
  return header;
}

}  // namespace

Result<std::unique_ptr<RecordLog>> RecordLog::Open(int directory, const std::string& name, Access access, uint64_t tree,
                                                   Condition* condition) {
  *condition = {};
  std::unique_ptr<RecordLog> log(new RecordLog);
  log->directory_ = UniqueFd(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!log->directory_) return FailErrno();
  log->name_ = name;
  log->access_ = access;
  log->tree_ = tree;
  bool writes = access == Access::kWrite;
  // What a compaction that was cut off had written.
  if (writes) ::unlinkat(log->directory_.get(), (name + ".new").c_str(), 0);
  int flags = (writes ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  log->fd_ = UniqueFd(::openat(log->directory_.get(), name.c_str(), flags, 0600));
  if (!log->fd_) return FailErrno();
  struct stat status;
  if (::fstat(log->fd_.get(), &status) < 0) return FailErrno();
  if (!S_ISREG(status.st_mode)) return Fail(EIO);
  if (status.st_size == 0) {
    if (writes) USL_TRY_VOID(log->Start());
    return log;
  }
  USL_TRY_VOID(log->ReadHeader(*condition));
  bool readable = !condition->bad_header && !condition->other_version;
  if (readable) USL_TRY_VOID(log->Scan(*condition));
  if (access == Access::kCheck) return log;
  if (condition->other_version) return Fail(EPROTONOSUPPORT);
  if (condition->bad_header || condition->damaged) return Fail(EIO);
  if (condition->foreign) return Fail(EXDEV);
  if (writes && condition->unfinished && ::ftruncate(log->fd_.get(), static_cast<off_t>(log->end_)) < 0) {
    return FailErrno();
  }
  return log;
}

Result<void> RecordLog::Start() {
  salt_ = RandomNumber();
  auto header = USL_TRY(MakeHeader(fd_.get(), salt_, tree_));
  USL_TRY_VOID(WriteAt(fd_.get(), header, 0));
  if (::fsync(fd_.get()) < 0) return FailErrno();
  end_ = kHeaderSize;
  return {};
}

Result<void> RecordLog::ReadHeader(Condition& condition) {
  const bool is_known = tree_ != 0;
  Window window(fd_.get());
  auto header = USL_TRY(window.At(0, kHeaderSize));
  if (header.size() < sizeof kMagic + 4 || std::memcmp(header.data(), kMagic, sizeof kMagic) != 0) {
    condition.bad_header = true;
    return {};
  }
  uint32_t version = Take<uint32_t>(&header[8]);
  if (version != kVersion) {
    condition.other_version = version;
    return {};
  }
  struct stat status;
  if (::fstat(fd_.get(), &status) < 0) return FailErrno();
  if (header.size() < kHeaderSize || Take<uint32_t>(&header[60]) != Checksum(header.first(60))) {
    condition.bad_header = true;
    return {};
  }
  salt_ = Take<uint64_t>(&header[16]);
  uint64_t made_for = Take<uint64_t>(&header[24]);
  if (!tree_) tree_ = made_for;
  condition.foreign = is_known && (made_for != tree_ || Take<uint64_t>(&header[32]) != status.st_ino);
  return {};
}

Result<void> RecordLog::Scan(Condition& condition) {
  struct stat status;
  if (::fstat(fd_.get(), &status) < 0) return FailErrno();
  uint64_t size = static_cast<uint64_t>(status.st_size);
  Window window(fd_.get());
  uint64_t offset = kHeaderSize;
  end_ = kHeaderSize;
  while (offset < size) {
    auto entry = USL_TRY(ReadEntry(window, salt_, offset));
    if (!entry) {
      // A later sound entry makes this damage; without one it is what a crash cut off.
      offset += 8;
      continue;
    }
    condition.damaged += offset - end_;
    Account(entry->key, entry->dropped ? std::nullopt : std::optional(Slot{offset, entry->length}));
    offset += entry->Size();
    end_ = offset;
  }
  condition.unfinished = size > end_ ? size - end_ : 0;
  return {};
}

void RecordLog::Account(uint64_t key, std::optional<Slot> slot) {
  auto found = slots_.find(key);
  if (found != slots_.end()) {
    live_ -= Padded(kEntryHeader + found->second.length);
    if (!slot) slots_.erase(found);
  }
  if (!slot) return;
  slots_[key] = *slot;
  live_ += Padded(kEntryHeader + slot->length);
}

Result<RecordLog::Record> RecordLog::Get(uint64_t key) {
  auto found = slots_.find(key);
  if (found == slots_.end()) return Fail(ENOENT);
  const Slot slot = found->second;
  std::vector<std::byte> bytes(kEntryHeader + slot.length);
  size_t filled = 0;
  while (filled < bytes.size()) {
    ssize_t count =
        ::pread(fd_.get(), bytes.data() + filled, bytes.size() - filled, static_cast<off_t>(slot.offset + filled));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FailErrno();
    if (count == 0) return Fail(EIO);
    filled += static_cast<size_t>(count);
  }
  // Somebody may have written to the file since it was scanned.
  if (Take<uint64_t>(&bytes[0]) != salt_ || Take<uint64_t>(&bytes[16]) != key ||
      Take<uint32_t>(&bytes[8]) != Checksum(std::span(bytes).subspan(12))) {
    return Fail(EIO);
  }
  Record record{{Take<uint64_t>(&bytes[24]), Take<uint64_t>(&bytes[32])}, {}};
  bytes.erase(bytes.begin(), bytes.begin() + kEntryHeader);
  record.data = std::move(bytes);
  return record;
}

Result<void> RecordLog::Append(std::span<const std::byte> bytes) {
  if (access_ != Access::kWrite) return Fail(EROFS);
  auto written = WriteAt(fd_.get(), bytes, end_);
  if (!written) {
    // Best effort: what is left of it lies behind the end, is not sound, and the next entry goes over it.
    [[maybe_unused]] int cut = ::ftruncate(fd_.get(), static_cast<off_t>(end_));
    return written;
  }
  end_ += bytes.size();
  return {};
}

Result<void> RecordLog::FlushDrops() {
  while (!unwritten_drops_.empty()) {
    USL_TRY_VOID(Append(MakeEntry(salt_, unwritten_drops_.back(), {}, std::nullopt)));
    unwritten_drops_.pop_back();
  }
  return {};
}

Result<void> RecordLog::Put(uint64_t key, const FileStamp& stamp, std::span<const std::byte> data) {
  if (data.size() > kMaxLargeRecordSize) return Fail(ENOSPC);
  USL_TRY_VOID(FlushDrops());
  uint64_t offset = end_;
  USL_TRY_VOID(Append(MakeEntry(salt_, key, stamp, data)));
  Account(key, Slot{offset, static_cast<uint32_t>(data.size())});
  // What fails here has lost nothing, and is tried again when the file has grown further.
  if (IsMostlyOutdated() && !Compact()) compact_at_ = end_ * 2;
  return {};
}

void RecordLog::Drop(uint64_t key) {
  if (!Contains(key)) return;
  Account(key, std::nullopt);
  unwritten_drops_.push_back(key);
  (void)FlushDrops();
}

bool RecordLog::IsMostlyOutdated() const {
  return end_ > std::max(kSmallest, compact_at_) && live_ < end_ / 2;
}

std::vector<uint64_t> RecordLog::Keys() const {
  std::vector<uint64_t> keys;
  keys.reserve(slots_.size());
  for (const auto& [key, slot] : slots_) keys.push_back(key);
  return keys;
}

Result<void> RecordLog::Compact() {
  if (access_ == Access::kRead) return Fail(EROFS);
  const std::string fresh = name_ + ".new";
  ::unlinkat(directory_.get(), fresh.c_str(), 0);
  UniqueFd fd(::openat(directory_.get(), fresh.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return FailErrno();
  std::vector<std::pair<uint64_t, Slot>> order(slots_.begin(), slots_.end());
  std::ranges::sort(order, {}, [](const auto& pair) { return pair.second.offset; });
  uint64_t salt = RandomNumber();
  uint64_t end = 0;
  std::unordered_map<uint64_t, Slot> slots;
  auto write = [&]() -> Result<void> {
    auto header = USL_TRY(MakeHeader(fd.get(), salt, tree_));
    std::vector<std::byte> pending(header.begin(), header.end());
    Window window(fd_.get());
    for (const auto& [key, slot] : order) {
      auto entry = USL_TRY(ReadEntry(window, salt_, slot.offset));
      if (!entry || entry->key != key || entry->length != slot.length) return Fail(EIO);
      auto whole = USL_TRY(window.At(slot.offset, kEntryHeader + slot.length));
      auto bytes = MakeEntry(salt, key, entry->stamp, whole.subspan(kEntryHeader));
      slots[key] = {end + pending.size(), slot.length};
      pending.insert(pending.end(), bytes.begin(), bytes.end());
      if (pending.size() < kWindow) continue;
      USL_TRY_VOID(WriteAt(fd.get(), pending, end));
      end += pending.size();
      pending.clear();
    }
    USL_TRY_VOID(WriteAt(fd.get(), pending, end));
    end += pending.size();
    // A crash of the host after the rename must not leave an empty file.
    if (::fsync(fd.get()) < 0) return FailErrno();
    return RenameHost({directory_.get(), fresh.c_str()}, {directory_.get(), name_.c_str()}, 0);
  };
  if (auto written = write(); !written) {
    ::unlinkat(directory_.get(), fresh.c_str(), 0);
    return written;
  }
  fd_ = std::move(fd);
  salt_ = salt;
  slots_ = std::move(slots);
  unwritten_drops_.clear();
  live_ = end - kHeaderSize;
  end_ = end;
  compact_at_ = 0;
  access_ = Access::kWrite;
  if (::fsync(directory_.get()) < 0) return FailErrno();
  return {};
}

}  // namespace usl::fs
