#include "platform/memory_file.h"

#include <fcntl.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>

namespace usl::platform {

Result<MemoryFile> MemoryFile::Open(pid_t tid) {
  char path[32];
  snprintf(path, sizeof path, "/proc/%d/mem", tid);
  UniqueFd fd(open(path, O_RDWR | O_CLOEXEC));
  if (!fd) return FailErrno();
  return MemoryFile(std::move(fd));
}

Result<size_t> MemoryFile::ReadSome(GuestAddress from, void* to, size_t size) const {
  size_t done = 0;
  while (done < size) {
    ssize_t got =
        pread(fd_.get(), static_cast<char*>(to) + done, size - done, static_cast<off_t>((from + done).value()));
    if (got < 0 && errno == EINTR) continue;
    // 0: the address space is gone. EIO: unmapped.
    if (got <= 0) break;
    done += static_cast<size_t>(got);
  }
  if (done == 0 && size != 0) return Fail(EFAULT);
  return done;
}

Result<void> MemoryFile::ForceWrite(GuestAddress to, const void* from, size_t size) const {
  size_t done = 0;
  while (done < size) {
    ssize_t put =
        pwrite(fd_.get(), static_cast<const char*>(from) + done, size - done, static_cast<off_t>((to + done).value()));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return FailErrno();
    if (put == 0) return Fail(EFAULT);
    done += static_cast<size_t>(put);
  }
  return {};
}

}  // namespace usl::platform
