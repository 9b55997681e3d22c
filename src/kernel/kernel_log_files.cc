#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "kernel/kernel.h"
#include "kernel/kernel_log.h"

namespace usl::kernel {
namespace {

constexpr size_t kMaxOpen = 256;
constexpr int kBuffer = 208 << 10;  // the host's default limit; it doubles what is asked for
constexpr size_t kMaxWritten = 4096;
constexpr size_t kMaxTaken = 1024;  // at once: one line, as a read of /proc/kmsg may be short

}  // namespace

KernelLogFiles::KernelLogFiles(Kernel& kernel, KernelLog& log) : kernel_(kernel), log_(log) {
  log_.SetChanged([this] {
    for (auto& [id, reader] : readers_) Feed(id, reader);
    kernel_.Wake(KernelLog::kParkKey);
  });
}

Result<UniqueFd> KernelLogFiles::Open(Form form, int flags) {
  if (readers_.size() >= kMaxOpen) return Fail(ENFILE);
  Drain();
  int ends[2];
  const int nonblocking = flags & O_NONBLOCK ? SOCK_NONBLOCK : 0;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | nonblocking, 0, ends) < 0) return FailErrno();
  UniqueFd guest(ends[0]);
  Reader reader{.own = UniqueFd(ends[1]), .form = form};
  const int access = flags & O_ACCMODE;
  reader.reads = access != O_WRONLY;
  reader.writes = access != O_RDONLY;
  // The descriptor itself keeps to the access mode: no reading where only writing was granted.
  if (!reader.reads) shutdown(guest.get(), SHUT_RD);
  if (!reader.writes) shutdown(guest.get(), SHUT_WR);
  setsockopt(reader.own.get(), SOL_SOCKET, SO_SNDBUF, &kBuffer, sizeof kBuffer);
  // Reading begins behind the last clear, where dmesg(1) seeks to.
  reader.next = log_.clear_sequence();
  const uint64_t id = next_id_++;
  Reader& kept = readers_.emplace(id, std::move(reader)).first->second;
  Watch(id, kept, false);
  Feed(id, kept);
  return guest;
}

void KernelLogFiles::Watch(uint64_t id, Reader& reader, bool wants_room) {
  // A descriptor without write access is shut down for writing: its end would always be readable.
  uint32_t events = EPOLLHUP;
  if (reader.writes) events |= EPOLLIN;
  if (wants_room) events |= EPOLLOUT;
  kernel_.Unwatch(reader.own.get());
  kernel_.Watch(reader.own.get(), events, [this, id](uint32_t ready) { OnEvent(id, ready); });
}

void KernelLogFiles::Feed(uint64_t id, Reader& reader) {
  if (!reader.reads) return;
  const auto push = [&reader](const std::string& text) {
    return send(reader.own.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
  };
  if (reader.form == Form::kSyslog) {
    while (true) {
      if (reader.taken.empty()) reader.taken = log_.TakeUnread(kMaxTaken);
      if (reader.taken.empty()) return;
      if (!push(reader.taken)) return Watch(id, reader, true);
      reader.taken.clear();
    }
  }
  for (const LogRecord& record : log_.records()) {
    if (record.sequence < reader.next) continue;
    if (!push(KernelLog::KmsgForm(record))) return Watch(id, reader, true);
    reader.next = record.sequence + 1;
  }
}

bool KernelLogFiles::TakeWrites(Reader& reader) {
  char buffer[kMaxWritten];
  const ssize_t size = recv(reader.own.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (size <= 0) return false;
  log_.AddWritten({buffer, static_cast<size_t>(size)});
  return true;
}

void KernelLogFiles::Drain() {
  for (auto& [id, reader] : readers_) {
    for (size_t count = 0; count < KernelLog::kMaxRecords && reader.writes && TakeWrites(reader); ++count) {
    }
  }
}

void KernelLogFiles::OnEvent(uint64_t id, uint32_t events) {
  const auto found = readers_.find(id);
  if (found == readers_.end()) return;
  Reader& reader = found->second;
  if (reader.writes && TakeWrites(reader)) return;
  if (events & (EPOLLHUP | EPOLLERR)) {
    kernel_.Unwatch(reader.own.get());
    readers_.erase(found);
    return;
  }
  if (events & EPOLLOUT) {
    Watch(id, reader, false);
    Feed(id, reader);
  }
}

}  // namespace usl::kernel
