#include "fs/host_copy.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

namespace usl::fs {
namespace {

constexpr size_t kChunk = 8 << 20;  // so that a signal to the kernel process is not kept waiting

Result<void> WriteAll(int to, const char* data, size_t size, off_t offset) {
  while (size > 0) {
    ssize_t written = ::pwrite(to, data, size, offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FailErrno();
    data += written;
    offset += written;
    size -= static_cast<size_t>(written);
  }
  return {};
}

Result<void> CopyByHand(int from, int to, off_t offset, off_t end) {
  auto buffer = std::make_unique<char[]>(1 << 17);
  while (offset < end) {
    ssize_t count = ::pread(from, buffer.get(), std::min<off_t>(1 << 17, end - offset), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FailErrno();
    if (count == 0) return {};  // the file became shorter: the rest is a hole
    USL_TRY_VOID(WriteAll(to, buffer.get(), static_cast<size_t>(count), offset));
    offset += count;
  }
  return {};
}

Result<void> CopyExtent(int from, int to, off_t offset, off_t end) {
  while (offset < end) {
    loff_t in = offset, out = offset;
    ssize_t count = ::copy_file_range(from, &in, to, &out, std::min<off_t>(kChunk, end - offset), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    offset += count;
  }
  if (offset < end && ::lseek(to, offset, SEEK_SET) >= 0) {
    while (offset < end) {
      off_t in = offset;
      ssize_t count = ::sendfile(to, from, &in, std::min<off_t>(kChunk, end - offset));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) break;
      offset += count;
    }
  }
  // Where both gave up (other file systems, a full disk) this finds out the reason.
  return CopyByHand(from, to, offset, end);
}

}  // namespace

Result<void> CloneData(int from, int to) {
  if (::ioctl(to, FICLONE, from) < 0) return FailErrno();
  return {};
}

Result<void> CopyData(int from, int to, uint64_t size) {
  off_t end = static_cast<off_t>(size);
  if (::ftruncate(to, end) < 0) return FailErrno();
  off_t offset = 0;
  while (offset < end) {
    off_t data = ::lseek(from, offset, SEEK_DATA);
    if (data < 0 && errno == ENXIO) return {};  // only a hole is left
    if (data < 0) return CopyExtent(from, to, offset, end);
    off_t hole = ::lseek(from, data, SEEK_HOLE);
    if (hole < 0) hole = end;
    USL_TRY_VOID(CopyExtent(from, to, data, std::min(hole, end)));
    offset = hole;
  }
  return {};
}

}  // namespace usl::fs
