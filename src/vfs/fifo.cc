#include "vfs/fifo.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/format.h"
#include "vfs/private_directory.h"

namespace usl::vfs {

namespace {

constexpr int kStatusFlags = O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME | O_SYNC;

// The file description is the kernel's alone until it is donated, so its flags can still be changed.
void SetBlocking(int fd, int flags) {
  if (flags & O_NONBLOCK) return;
  int current = ::fcntl(fd, F_GETFL);
  if (current >= 0) ::fcntl(fd, F_SETFL, current & ~O_NONBLOCK);
}

}  // namespace

FifoTicket::~FifoTicket() {
  if (!table_) return;
  auto entry = table_->entries_.find(inode_);
  if (entry != table_->entries_.end()) std::erase(entry->second.waiting, this);
}

Result<UniqueFd> FifoTicket::Attempt() {
  if (!ready_) return Fail(EAGAIN);
  // A second attempt after success is the caller's mistake; it must not be given an empty fd.
  if (!fd_) return Fail(EBADF);
  SetBlocking(fd_.get(), flags_);
  return std::move(fd_);
}

Result<std::unique_ptr<FifoTable>> FifoTable::Create(const std::string& directory) {
  std::unique_ptr<FifoTable> table(new FifoTable);
  table->directory_fd_ = USL_TRY(PreparePrivateDirectory(directory));
  struct stat status;
  if (::fstat(table->directory_fd_.get(), &status) != 0) return FailErrno();
  table->device_ = status.st_dev;
  return table;
}

Result<FifoTable::Entry*> FifoTable::Find(const Ref<Inode>& inode) {
  auto found = entries_.find(inode.get());
  if (found != entries_.end()) return &found->second;
  if (entries_.size() >= sweep_at_) Sweep();
  Entry entry{.inode = inode, .name = format("{}", next_), .key = 0, .host_ino = 0, .waiting = {}};
  // Keys of the table: far from those that others derive from addresses or small numbers.
  entry.key = (uint64_t{0x4649464f} << 32) | next_++;
  if (::mkfifoat(directory_fd_.get(), entry.name.c_str(), 0600) != 0) return FailErrno();
  struct stat status;
  if (::fstatat(directory_fd_.get(), entry.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return FailErrno();
  entry.host_ino = status.st_ino;
  by_host_ino_[status.st_ino] = inode.get();
  return &entries_.emplace(inode.get(), std::move(entry)).first->second;
}

Result<UniqueFd> FifoTable::OpenHost(const Entry& entry, int flags) {
  UniqueFd fd(::openat(directory_fd_.get(), entry.name.c_str(),
                       (flags & (O_ACCMODE | kStatusFlags)) | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return FailErrno();
  return fd;
}

// A reader opened with O_NONBLOCK polls POLLHUP only if a writer came and went since; so one does, and then POLLHUP
// shows whether another is there.
bool FifoTable::HasWriter(Entry& entry, int reader_fd) {
  if (!entry.may_have_writer) return false;
  OpenHost(entry, O_WRONLY);
  pollfd poll_fd{.fd = reader_fd, .events = POLLIN, .revents = 0};
  bool has_writer = ::poll(&poll_fd, 1, 0) < 0 || !(poll_fd.revents & POLLHUP);
  entry.may_have_writer = has_writer;
  return has_writer;
}

void FifoTable::Release(Entry& entry, bool readers) {
  for (FifoTicket* ticket : entry.waiting) {
    if (ticket->reader_ != readers || ticket->ready_) continue;
    if (!readers) {
      // The end is opened now: by the time that the waiting call looks, the reader may be gone again, and Linux's open
      // succeeds all the same.
      auto fd = OpenHost(entry, ticket->flags_);
      if (!fd) continue;
      ticket->fd_ = std::move(*fd);
      entry.may_have_writer = true;
    }
    ticket->ready_ = true;
  }
  std::erase_if(entry.waiting, [](const FifoTicket* ticket) { return ticket->ready_; });
}

void FifoTable::Wake(uint64_t key) {
  if (wake_) wake_(key);
}

Result<FifoOpened> FifoTable::Open(const Ref<Inode>& inode, int flags) {
  Entry& entry = *USL_TRY(Find(inode));
  const uint64_t key = entry.key;
  auto waits = [&entry](bool readers) {
    return std::ranges::any_of(entry.waiting, [&](const FifoTicket* ticket) { return ticket->reader_ == readers; });
  };
  auto park = [&](bool reader, UniqueFd fd) {
    std::shared_ptr<FifoTicket> ticket(new FifoTicket);
    ticket->table_ = this;
    ticket->inode_ = inode.get();
    ticket->key_ = key;
    ticket->reader_ = reader;
    ticket->fd_ = std::move(fd);
    ticket->flags_ = flags;
    entry.waiting.push_back(ticket.get());
    return FifoOpened{.fd = {}, .ticket = std::move(ticket)};
  };

  const int access = flags & O_ACCMODE;
  if (access == O_ACCMODE) return Fail(EINVAL);  // fifo_open: only the three modes
  if (access == O_RDWR) {
    UniqueFd fd = USL_TRY(OpenHost(entry, flags));
    entry.may_have_writer = true;
    Release(entry, true);
    Release(entry, false);
    SetBlocking(fd.get(), flags);
    Wake(key);
    return FifoOpened{.fd = std::move(fd), .ticket = nullptr};
  }

  auto opened = OpenHost(entry, flags);
  if (access == O_RDONLY) {
    if (!opened) return Fail(opened.error());
    UniqueFd fd = std::move(*opened);
    const bool writers_wait = waits(false);
    if (!(flags & O_NONBLOCK) && !writers_wait && !HasWriter(entry, fd.get())) return park(true, std::move(fd));
    Release(entry, false);
    SetBlocking(fd.get(), flags);
    if (writers_wait) Wake(key);
    return FifoOpened{.fd = std::move(fd), .ticket = nullptr};
  }

  // A reader that waits has its end open already, so the host's ENXIO means: no reader of either kind.
  if (!opened) {
    if (opened.error().code() != ENXIO || (flags & O_NONBLOCK)) return Fail(opened.error());
    return park(false, UniqueFd());
  }
  UniqueFd fd = std::move(*opened);
  entry.may_have_writer = true;
  const bool readers_wait = waits(true);
  Release(entry, true);
  SetBlocking(fd.get(), flags);
  if (readers_wait) Wake(key);
  return FifoOpened{.fd = std::move(fd), .ticket = nullptr};
}

Ref<Inode> FifoTable::FindByHostFile(const struct stat& status) const {
  if (status.st_dev != device_) return nullptr;
  auto found = by_host_ino_.find(status.st_ino);
  if (found == by_host_ino_.end()) return nullptr;
  return entries_.at(found->second).inode;
}

bool FifoTable::IsIdle(Entry& entry) {
  if (!entry.waiting.empty()) return false;
  auto writer = OpenHost(entry, O_WRONLY);
  if (writer || writer.error().code() != ENXIO) return false;  // there is a reader
  auto reader = OpenHost(entry, O_RDONLY);
  return reader && !HasWriter(entry, reader->get());
}

// Host FIFOs that nobody has open are dropped when they are many; the threshold doubles so that the cost stays
// constant.
void FifoTable::Sweep() {
  for (auto it = entries_.begin(); it != entries_.end();) {
    Entry& entry = it->second;
    if (!IsIdle(entry)) {
      ++it;
      continue;
    }
    ::unlinkat(directory_fd_.get(), entry.name.c_str(), 0);
    by_host_ino_.erase(entry.host_ino);
    it = entries_.erase(it);
  }
  sweep_at_ = std::max<size_t>(256, entries_.size() * 2);
}

}  // namespace usl::vfs
