// Calls on files by path: opening, attributes, access.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "model/dump.h"
#include "model/session.h"

namespace usl::model {
namespace {

constexpr int kTmpFileBit = O_TMPFILE & ~O_DIRECTORY;
// Without set-id bits, which the write that follows would take away on Linux (see AfterOpen).
constexpr mode_t kCreationBits = 01777;

}  // namespace

// What was opened is used at once. What was opened for writing is written to, whoever did it: Linux takes set-id bits
// and file capabilities away at the write, USL at the opening (one of its documented differences), and so both have
// done it.
void Session::AfterOpen(int fd, int flags) {
  if (fd < 0) return;
  const int status_flags = fcntl(fd, F_GETFL);
  struct stat status {};
  fstat(fd, &status);
  const int access = flags & O_ACCMODE;
  const bool is_path = flags & O_PATH;
  // O_SYNC means nothing to FIFOs and devices, and is not kept for theirs inside.
  // The host lets only a file's owner ask for O_NOATIME, which counts for lower files.
  const int noatime = options_.prepared ? 0 : O_NOATIME;
  const int synchronous = S_ISREG(status.st_mode) ? O_SYNC : 0;
  if (!is_path) Say(" getfl %x", status_flags & (O_ACCMODE | O_APPEND | O_NONBLOCK | noatime | synchronous));
  if (S_ISREG(status.st_mode) && !is_path) {
    if (access == O_WRONLY || access == O_RDWR) {
      const std::string data(1 + random_.Below(3000), static_cast<char>('a' + random_.Below(26)));
      Say(" write");
      Outcome(write(fd, data.data(), data.size()));
    }
    if (access == O_RDONLY || access == O_RDWR) {
      char buffer[1000];
      Say(" read");
      Outcome(pread(fd, buffer, sizeof buffer, random_.Below(500)));
    }
  }
  // An O_PATH descriptor is a stand-in inside, which shows (known_failures.txt).
  // One for reading that is older than a copy-up goes on with the lower file, as on overlayfs.
  const bool is_stable = !options_.prepared || (S_ISREG(status.st_mode) && access != O_RDONLY);
  const bool keep = !is_path && (S_ISDIR(status.st_mode) || (access != 3 && is_stable && random_.OneIn(2)));
  if (keep) {
    Keep(fd);
  } else {
    close(fd);
  }
}

void Session::Open() {
  const Where where = RandomWhere();
  int flags = static_cast<int>(random_.OneIn(20) ? 3 : random_.Below(3)) | O_NONBLOCK | O_CLOEXEC;
  for (int flag : {O_CREAT, O_CREAT, O_EXCL, O_TRUNC, O_NOFOLLOW}) flags |= random_.OneIn(3) ? flag : 0;
  for (int flag : {O_DIRECTORY, O_PATH, O_NOATIME, O_APPEND, O_DSYNC}) flags |= random_.OneIn(8) ? flag : 0;
  // Nothing can be made in /proc.
  if (IsMagic(where)) flags &= ~O_CREAT;
  // What does not go together is mostly left out.
  if ((flags & O_CREAT) && !random_.OneIn(8)) flags &= ~(O_DIRECTORY | O_PATH);
  const mode_t mode = RandomMode() & kCreationBits;
  Say("openat");
  SayWhere(where);
  Say(" %x %o", flags, mode);
  const int fd = openat(where.dirfd, where.path.c_str(), flags, mode);
  Outcome(fd < 0 ? fd : 0);
  AfterOpen(fd, flags);
}

void Session::Open2() {
  const Where where = RandomWhere();
  open_how how{};
  how.flags = random_.Below(3) | O_NONBLOCK | O_CLOEXEC;
  for (int flag : {O_CREAT, O_DIRECTORY, O_NOFOLLOW}) how.flags |= random_.OneIn(5) ? flag : 0;
  if (random_.OneIn(20)) how.flags |= random_.OneIn(2) ? 1 << 30 : O_PATH;
  if (how.flags & O_CREAT) how.mode = RandomMode() & kCreationBits;
  for (int flag : {RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT}) {
    how.resolve |= random_.OneIn(4) ? flag : 0;
  }
  Say("openat2");
  SayWhere(where);
  Say(" %llx %llo %llx", how.flags, how.mode, how.resolve);
  const int fd = static_cast<int>(syscall(SYS_openat2, where.dirfd, where.path.c_str(), &how, sizeof how));
  Outcome(fd < 0 ? fd : 0);
  AfterOpen(fd, static_cast<int>(how.flags));
}

void Session::OpenUnnamed() {
  const Where where = RandomWhere();
  const int flags = (random_.OneIn(6) ? O_RDONLY : O_RDWR) | O_TMPFILE | (random_.OneIn(4) ? O_EXCL : 0) | O_CLOEXEC;
  const mode_t mode = RandomMode() & kCreationBits;
  Say("openat O_TMPFILE");
  SayWhere(where);
  Say(" %x %o", flags, mode);
  const int fd = openat(where.dirfd, where.path.c_str(), flags, mode);
  Outcome(fd < 0 ? fd : 0);
  if (fd < 0) return;
  SayStat(fd, "", AT_EMPTY_PATH);
  const Where to = RandomName();
  Say(" link");
  SayWhere(to);
  const std::string magic = "/proc/self/fd/" + std::to_string(fd);
  Outcome(linkat(AT_FDCWD, magic.c_str(), to.dirfd, to.path.c_str(), AT_SYMLINK_FOLLOW));
  AfterOpen(fd, flags & ~kTmpFileBit);
}

void Session::Truncate() {
  const std::string path = RandomPath();
  const off_t size = random_.OneIn(20) ? off_t{-1} : off_t{random_.Below(100000)};
  Say("truncate");
  SayWhere({AT_FDCWD, path});
  Say(" %ld", static_cast<long>(size));
  Outcome(truncate(path.c_str(), size));
}

void Session::ChangeMode() {
  static constexpr int kFlags[] = {0, 0, 0, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, 1};
  const Where where = RandomWhere();
  const mode_t mode = RandomMode();
  const int flags = random_.Pick(kFlags);
  Say("fchmodat2");
  SayWhere(where);
  Say(" %o %x", mode, flags);
  constexpr long kFchmodat2 = 452;
  Outcome(syscall(kFchmodat2, where.dirfd, where.path.c_str(), mode, flags));
}

void Session::ChangeOwner() {
  static constexpr int kFlags[] = {0, AT_SYMLINK_NOFOLLOW, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH};
  static constexpr int kUids[] = {0, 1000, 1001, -1, -1};
  static constexpr int kGids[] = {0, 50, 1000, 1001, -1, -1};
  const Where where = RandomWhere();
  const int uid = random_.Pick(kUids), gid = random_.Pick(kGids), flags = IsMagic(where) ? 0 : random_.Pick(kFlags);
  Say("fchownat");
  SayWhere(where);
  Say(" %d %d %x", uid, gid, flags);
  Outcome(fchownat(where.dirfd, where.path.c_str(), static_cast<uid_t>(uid), static_cast<gid_t>(gid), flags));
}

void Session::ChangeTimes() {
  const Where where = RandomWhere();
  timespec times[2];
  for (timespec& time : times) {
    const unsigned kind = random_.Below(8);
    time.tv_sec = kind == 0 ? -5 : static_cast<time_t>(random_.Below(1'000'000));
    time.tv_nsec = kind == 1 ? UTIME_NOW : kind == 2 ? UTIME_OMIT : static_cast<long>(random_.Below(1'000'000'000));
    if (random_.OneIn(40)) time.tv_nsec = 1'000'000'000;
  }
  const bool now = random_.OneIn(4);
  const int flags = random_.OneIn(3) && !IsMagic(where) ? AT_SYMLINK_NOFOLLOW : 0;
  Say("utimensat");
  SayWhere(where);
  if (now) {
    Say(" now");
  } else {
    Say(" %ld.%ld %ld.%ld", times[0].tv_sec, times[0].tv_nsec, times[1].tv_sec, times[1].tv_nsec);
  }
  Say(" %x", flags);
  Outcome(utimensat(where.dirfd, where.path.c_str(), now ? nullptr : times, flags));
}

void Session::SetXattr() {
  const std::string path = RandomPath(), name = RandomXattrName();
  static constexpr int kFlags[] = {0, 0, 0, XATTR_CREATE, XATTR_REPLACE, 4};
  std::string value(random_.Below(40), static_cast<char>('0' + random_.Below(10)));
  if (name == "security.capability" && !random_.OneIn(3)) {
    value.assign("\x01\x00\x00\x02", 4);
    value.append(16, static_cast<char>(random_.Below(4)));
  }
  // Linux lets everybody set an empty one, which is no file capability any more; USL does not.
  if (name == "security.capability" && value.empty()) value = "0";
  const int flags = random_.Pick(kFlags);
  const bool follow = random_.OneIn(2) || IsMagic({AT_FDCWD, path});
  Say("%ssetxattr", follow ? "" : "l");
  SayWhere({AT_FDCWD, path});
  Say(" %s %zu %x", name.c_str(), value.size(), flags);
  Outcome((follow ? setxattr : lsetxattr)(path.c_str(), name.c_str(), value.data(), value.size(), flags));
}

void Session::GetXattr() {
  const std::string path = RandomPath(), name = RandomXattrName();
  char value[100];
  const size_t size = random_.Below(3) * 50;
  const bool follow = random_.OneIn(2) || IsMagic({AT_FDCWD, path});
  Say("%sgetxattr", follow ? "" : "l");
  SayWhere({AT_FDCWD, path});
  Say(" %s %zu", name.c_str(), size);
  Outcome((follow ? getxattr : lgetxattr)(path.c_str(), name.c_str(), value, size));
}

void Session::ListXattr() {
  const std::string path = RandomPath();
  char names[1000];
  const bool follow = random_.OneIn(2) || IsMagic({AT_FDCWD, path});
  Say("%slistxattr", follow ? "" : "l");
  SayWhere({AT_FDCWD, path});
  Outcome((follow ? listxattr : llistxattr)(path.c_str(), names, random_.OneIn(4) ? 8 : sizeof names));
}

void Session::RemoveXattr() {
  const std::string path = RandomPath(), name = RandomXattrName();
  const bool follow = random_.OneIn(2) || IsMagic({AT_FDCWD, path});
  Say("%sremovexattr", follow ? "" : "l");
  SayWhere({AT_FDCWD, path});
  Say(" %s", name.c_str());
  Outcome((follow ? removexattr : lremovexattr)(path.c_str(), name.c_str()));
}

void Session::SetAcl() {
  const std::string path = RandomPath();
  const char* name = random_.OneIn(2) ? "system.posix_acl_access" : "system.posix_acl_default";
  const std::string acl = RandomAcl();
  Say("setxattr");
  SayWhere({AT_FDCWD, path});
  Say(" %s ", name);
  for (const char byte : acl) Say("%02x", static_cast<unsigned char>(byte));
  Outcome(setxattr(path.c_str(), name, acl.data(), acl.size(), 0));
}

void Session::Access() {
  const Where where = RandomWhere();
  const int mode = static_cast<int>(random_.Below(8));
  const int flags = (random_.OneIn(2) ? AT_EACCESS : 0) | (random_.OneIn(4) ? AT_SYMLINK_NOFOLLOW : 0);
  Say("faccessat2");
  SayWhere(where);
  Say(" %x %x", mode, flags);
  Outcome(syscall(SYS_faccessat2, where.dirfd, where.path.c_str(), mode, flags));
}

void Session::SayStat(int dirfd, const char* path, int flags) {
  struct stat status {};
  if (Outcome(fstatat(dirfd, path, &status, flags)) < 0) return;
  Say(" %o %u:%u", status.st_mode, status.st_uid, status.st_gid);
  if (S_ISDIR(status.st_mode) && options_.prepared) return;
  Say(" links %lu", static_cast<unsigned long>(status.st_nlink));
  if (!S_ISDIR(status.st_mode)) Say(" size %ld", static_cast<long>(status.st_size));
}

void Session::Stat() {
  static constexpr int kFlags[] = {0, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, 1};
  const Where where = RandomWhere();
  const int flags = random_.Pick(kFlags);
  Say("newfstatat");
  SayWhere(where);
  Say(" %x", flags);
  SayStat(where.dirfd, where.path.c_str(), flags);
}

void Session::ReadLink() {
  const Where where = RandomWhere();
  char target[64];
  // A link of /proc shows where the scratch directory is.
  const bool is_magic = where.path.starts_with("/proc/");
  Say("readlinkat");
  SayWhere(where);
  const long length = readlinkat(where.dirfd, where.path.c_str(), target, sizeof target);
  Outcome(is_magic && length > 0 ? 1 : length);
}

void Session::ListDirectory() {
  const std::string path = RandomPath();
  Say("list");
  SayWhere({AT_FDCWD, path});
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  Outcome(fd < 0 ? fd : 0);
  if (fd < 0) return;
  ListOpenDirectory(fd);
  close(fd);
}

void Session::ListOpenDirectory(int fd) {
  if (lseek(fd, 0, SEEK_SET) < 0) {
    Say(" lseek %s", strerrorname_np(errno));
    return;
  }
  std::vector<std::string> names;
  alignas(dirent64) char buffer[700];
  long length;
  while ((length = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0) {
    for (long at = 0; at < length;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer + at);
      names.push_back(Escaped(entry->d_name) + ":" + std::to_string(entry->d_type));
      at += entry->d_reclen;
    }
  }
  if (length < 0) Say(" getdents64 %s", strerrorname_np(errno));
  std::ranges::sort(names);
  for (const std::string& name : names) Say(" %s", name.c_str());
}

}  // namespace usl::model
