// Calls on descriptors that are kept open, while others rename, change and remove what they are of.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <string>

#include "model/dump.h"
#include "model/session.h"

namespace usl::model {

void Session::Slot() {
  const int slot = static_cast<int>(random_.Below(kSlots));
  switch (random_.Below(3)) {
    case 0: return SlotData(slot);
    case 1: return SlotMetadata(slot);
    default: return SlotNames(slot);
  }
}

// Changes of data are root's: see AfterOpen.
void Session::SlotData(int slot) {
  const int fd = SlotFd(slot);
  char buffer[2000];
  memset(buffer, 'A' + static_cast<int>(random_.Below(26)), sizeof buffer);
  const size_t size = random_.Below(sizeof buffer);
  const off_t offset = random_.Below(50000);
  const unsigned kind = random_.Below(7);
  const int mode = static_cast<int>(random_.Below(8));
  const int other = static_cast<int>(random_.Below(kSlots));
  struct stat status {};
  if (fstat(fd, &status) < 0) {
    Say("fstat slot%d = %s", slot, strerrorname_np(errno));
    return;
  }
  // Device nodes are the machine's business.
  if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) return Say("slot%d no file", slot);
  if (kind == 0) {
    Say("pread slot%d %zu %ld", slot, size, static_cast<long>(offset));
    Outcome(pread(fd, buffer, size, offset));
    return;
  }
  const bool privileged = fgetxattr(fd, "security.capability", nullptr, 0) >= 0;
  if (!IsFullRoot() || privileged) return Say("slot%d left alone", slot);
  switch (kind) {
    case 1:
    case 2:
      Say("pwrite slot%d %zu %ld", slot, size, static_cast<long>(offset));
      Outcome(pwrite(fd, buffer, size, offset));
      return;
    case 3:
      Say("write slot%d %zu", slot, size);
      Outcome(write(fd, buffer, size));
      return;
    case 4:
      Say("ftruncate slot%d %ld", slot, static_cast<long>(offset));
      Outcome(ftruncate(fd, offset));
      return;
    case 5:
      Say("fallocate slot%d %x %ld %zu", slot, mode, static_cast<long>(offset), size);
      Outcome(fallocate(fd, mode, offset, static_cast<off_t>(size)));
      return;
    default: {
      off_t from = offset, to = random_.Below(20000);
      Say("copy_file_range slot%d slot%d %ld %ld %zu", slot, other, static_cast<long>(from), static_cast<long>(to),
          size);
      if (fgetxattr(SlotFd(other), "security.capability", nullptr, 0) >= 0) return;
      Outcome(copy_file_range(fd, &from, SlotFd(other), &to, size, 0));
      return;
    }
  }
}

void Session::SlotMetadata(int slot) {
  const int fd = SlotFd(slot);
  const mode_t mode = RandomMode();
  static constexpr int kIds[] = {0, 1000, 1001, -1};
  const int uid = random_.Pick(kIds), gid = random_.Pick(kIds);
  const timespec times[2] = {{random_.Below(1000), 5}, {random_.Below(1000), 6}};
  const std::string name = RandomXattrName();
  const std::string acl = RandomAcl();
  switch (random_.Below(9)) {
    case 0:
      Say("fchmod slot%d %o", slot, mode);
      Outcome(fchmod(fd, mode));
      return;
    case 1:
      Say("fchown slot%d %d %d", slot, uid, gid);
      Outcome(fchown(fd, static_cast<uid_t>(uid), static_cast<gid_t>(gid)));
      return;
    case 2:
      Say("futimens slot%d %ld %ld", slot, times[0].tv_sec, times[1].tv_sec);
      Outcome(futimens(fd, times));
      return;
    case 3:
      Say("fsetxattr slot%d %s", slot, name.c_str());
      Outcome(fsetxattr(fd, name.c_str(), "12345", 5, 0));
      return;
    case 4:
      Say("fsetxattr slot%d access list", slot);
      Outcome(fsetxattr(fd, "system.posix_acl_access", acl.data(), acl.size(), 0));
      return;
    case 5:
      Say("fremovexattr slot%d %s", slot, name.c_str());
      Outcome(fremovexattr(fd, name.c_str()));
      return;
    case 6: {
      char buffer[100];
      Say("fgetxattr slot%d %s", slot, name.c_str());
      Outcome(fgetxattr(fd, name.c_str(), buffer, sizeof buffer));
      return;
    }
    case 7: {
      const int access = static_cast<int>(random_.Below(8));
      Say("faccessat2 slot%d %x", slot, access);
      Outcome(syscall(SYS_faccessat2, fd, "", access, AT_EMPTY_PATH | AT_EACCESS));
      return;
    }
    default:
      Say("fstat slot%d", slot);
      SayStat(fd, "", AT_EMPTY_PATH);
      return;
  }
}

void Session::SlotNames(int slot) {
  const int fd = SlotFd(slot);
  const std::string magic = "/proc/self/fd/" + std::to_string(fd);
  switch (random_.Below(6)) {
    case 0: {
      char text[4096] = {};
      Say("readlink of slot%d", slot);
      // A file that has, or had, several names is shown by one of those that are left, not always by the one that was
      // opened.
      struct stat status {};
      if (fstat(fd, &status) == 0 && !S_ISDIR(status.st_mode)) return;
      if (readlink(magic.c_str(), text, sizeof text - 1) < 0) return Say(" = %s", strerrorname_np(errno));
      std::string shown = text;
      if (shown.starts_with(options_.directory)) shown.replace(0, options_.directory.size(), "@");
      // A file without a name is shown by its inode number.
      if (const size_t number = shown.find("/#"); number != std::string::npos) shown.resize(number);
      return Say(" = %s", Escaped(shown).c_str());
    }
    case 1: {
      const Where to = RandomName();
      Say("linkat slot%d", slot);
      SayWhere(to);
      Outcome(linkat(fd, "", to.dirfd, to.path.c_str(), AT_EMPTY_PATH));
      return;
    }
    case 2: {
      const int flags = static_cast<int>(random_.Below(3)) | O_NONBLOCK | O_CLOEXEC;
      Say("reopen slot%d %x", slot, flags);
      const int again = open(magic.c_str(), flags);
      Outcome(again < 0 ? again : 0);
      return AfterOpen(again, flags);
    }
    case 3: Say("getdents slot%d", slot); return ListOpenDirectory(fd);
    case 4:
      Say("fchdir slot%d", slot);
      Outcome(fchdir(fd));
      return;
    default:
      if (random_.OneIn(2)) return Say("nothing");
      Say("close slot%d", slot);
      Outcome(close(fd));
      fds_[slot] = -1;
      return;
  }
}

}  // namespace usl::model
