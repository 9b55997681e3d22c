#include "fs/tree_lock.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <charconv>
#include <cstring>

#include "base/format.h"
#include "fs/host_file.h"

namespace usl::fs {
namespace {

constexpr long kLustre = 0x0BD00BD0, kGpfs = 0x47504653, kBeegfs = 0x19830326, kOrangefs = 0x20030528,
               kGfs2 = 0x01161970, kSmb2Magic = 0xFE534D42, kCifsMagic = 0xFF534D42, kCeph = 0x00C36400,
               kAfsMagic = 0x5346414F, kNinePMagic = 0x01021997;

// May other machines have it mounted too?
bool IsShared(int fd) {
  struct statfs status;
  if (::fstatfs(fd, &status) < 0) return true;
  switch (static_cast<long>(static_cast<unsigned>(status.f_type))) {
    case NFS_SUPER_MAGIC:
    case kLustre:
    case kGpfs:
    case kBeegfs:
    case kOrangefs:
    case kGfs2:
    case OCFS2_SUPER_MAGIC:
    case kSmb2Magic:
    case kCifsMagic:
    case kCeph:
    case kAfsMagic:
    case kNinePMagic: return true;
    default: return false;
  }
}

// "process 12 on host".
std::string WhoAmI() {
  utsname name;
  return format("process {} on {}", ::getpid(), ::uname(&name) == 0 ? name.nodename : "this machine");
}

Result<UniqueFd> LockFile(int root, const std::string& path, std::string* why) {
  if (::mkdirat(root, ".usl", 0700) < 0 && errno != EEXIST) return FailErrno();
  UniqueFd outer = USL_TRY(OpenHost({root, ".usl"}, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  UniqueFd file(::openat(outer.get(), "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return FailErrno();
  if (::flock(file.get(), LOCK_EX | LOCK_NB) < 0) {
    int code = errno;
    if (code != EWOULDBLOCK) {
      *why = format(
          "cannot lock \"{}\": {}; its file system must allow locks (Lustre: mount it with -o flock), as another usl "
          "may "
          "use the tree from another machine",
          path, std::strerror(code));
      return Fail(EOPNOTSUPP);
    }
    auto owner = ReadSmallFile({outer.get(), "lock"}, 256);
    *why = format("\"{}\" is in use by another usl instance ({}); stop that one first", path,
                  owner && !owner->empty() ? *owner : "on another machine");
    return Fail(EBUSY);
  }
  // For the message above only; the lock is what counts.
  std::string text = WhoAmI();
  if (::ftruncate(file.get(), 0) == 0) {
    [[maybe_unused]] ssize_t written = ::pwrite(file.get(), text.data(), text.size(), 0);
  }
  return file;
}

}  // namespace

Result<unsigned> ReadTreeFormat(int root) {
  auto outer = OpenHost({root, ".usl"}, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  if (!outer) return outer.error().code() == ENOENT ? Result<unsigned>(1) : Fail(outer.error());
  auto text = ReadSmallFile({outer->get(), "format"}, 64);
  if (!text) return text.error().code() == ENOENT ? Result<unsigned>(1) : Fail(text.error());
  unsigned number = 0;
  auto parsed = std::from_chars(text->data(), text->data() + text->size(), number);
  if (parsed.ec != std::errc{} || number == 0) return Fail(EIO);
  return number;
}

Result<TreeLock> TreeLock::Take(const std::string& path, std::string* why) {
  TreeLock lock;
  lock.directory_ = UniqueFd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock.directory_) {
    *why = format("cannot open \"{}\": {}", path, std::strerror(errno));
    return FailErrno();
  }
  bool shared = IsShared(lock.directory_.get());
  if (::flock(lock.directory_.get(), LOCK_EX | LOCK_NB) < 0) {
    if (errno == EWOULDBLOCK) {
      *why = format("\"{}\" is in use by another usl instance; stop that one first", path);
      return Fail(EBUSY);
    }
    // Some network file systems lock no directories; the file below counts there.
    shared = true;
  }
  if (!shared) return lock;
  auto file = LockFile(lock.directory_.get(), path, why);
  if (!file) {
    if (why->empty()) *why = format("cannot lock \"{}\": {}", path, std::strerror(file.error().code()));
    return Fail(file.error());
  }
  lock.file_ = std::move(*file);
  return lock;
}

}  // namespace usl::fs
