#include "vfs/native_object.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>

#include <array>

#include "base/format.h"

namespace usl::vfs {

NativeFileSystem::NativeFileSystem() : FileSystem("anon_inodefs") {
  root_ = MakeRef<NativeInode>(*this, uint32_t{S_IFDIR}, UniqueFd(), 0, 0);
}

Result<struct statfs> NativeFileSystem::StatFs() {
  struct statfs status {};
  status.f_type = ANON_INODE_FS_MAGIC;
  status.f_bsize = status.f_frsize = 4096;
  status.f_namelen = 255;
  return status;
}

Result<Attributes> NativeInode::GetAttributes() {
  struct stat status {};
  if (::fstat(fd_.get(), &status) != 0) return FailErrno();
  Attributes attributes;
  attributes.ino = status.st_ino;
  attributes.mode = status.st_mode;
  attributes.uid = uid_;
  attributes.gid = gid_;
  attributes.nlink = static_cast<uint32_t>(status.st_nlink);
  attributes.size = static_cast<uint64_t>(status.st_size);
  attributes.blocks = static_cast<uint64_t>(status.st_blocks);
  attributes.block_size = static_cast<uint32_t>(status.st_blksize);
  attributes.rdev = status.st_rdev;
  attributes.atime = status.st_atim;
  attributes.mtime = status.st_mtim;
  attributes.ctime = status.st_ctim;
  return attributes;
}

Result<UniqueFd> NativeInode::Open(int flags, const Context&) {
  // Also for pipes, of which Linux would give the other end: one that usl's caller passed in has writers and readers
  // outside, whose data is not the guest's to read.
  const int has = ::fcntl(fd_.get(), F_GETFL);
  if (has < 0) return FailErrno();
  if (has & O_PATH) return Fail(EACCES);
  const int wanted = flags & O_ACCMODE;
  if (!(flags & O_PATH) && (has & O_ACCMODE) != O_RDWR && wanted != (has & O_ACCMODE)) return Fail(EACCES);
  if ((flags & O_TRUNC) && (has & O_ACCMODE) == O_RDONLY) return Fail(EACCES);
  return ReopenHostFile(fd_.get(), flags);
}

Result<UniqueFd> ReopenHostFile(int fd, int flags) {
  std::array<char, 32> link;
  *fmt::format_to_n(link.data(), link.size() - 1, "/proc/self/fd/{}", fd).out = '\0';
  // Never blocks: a terminal or FIFO would hold up the receiver. What was not asked for is cleared again.
  UniqueFd reopened(
      ::open(link.data(), (flags & ~(O_CREAT | O_EXCL | O_NOFOLLOW)) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!reopened) return FailErrno();
  if (!(flags & (O_NONBLOCK | O_PATH))) {
    const int current = ::fcntl(reopened.get(), F_GETFL);
    if (current >= 0) ::fcntl(reopened.get(), F_SETFL, current & ~O_NONBLOCK);
  }
  return reopened;
}

}  // namespace usl::vfs
