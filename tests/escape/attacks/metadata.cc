// Attributes through descriptors that are for reading only, and forged attributes of USL's own.
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "attack.h"

namespace escape {
namespace {

// `target` is a file that the caller may read; inside it is root's and the caller is uid 1000, natively it is the
// caller's own, as every file of a guest is on the host.
Outcome ReadOnlyDescriptor() {
  EnterWorkDirectory();
  int fd = open(Fact("target").c_str(), O_RDONLY);
  if (fd < 0) return Held("cannot be opened at all");
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const timespec times[2] = {{1, 0}, {1, 0}};
  unsigned flags = FS_NODUMP_FL;
  struct fsxattr attributes {};
  if (fchmod(fd, 04777) == 0) return Escaped("fchmod");
  if (fchown(fd, getuid(), getgid()) == 0) return Escaped("fchown");
  if (fsetxattr(fd, "user.usl", "x", 1, 0) == 0) return Escaped("fsetxattr user.usl");
  if (fsetxattr(fd, "user.other", "x", 1, 0) == 0) return Escaped("fsetxattr");
  if (fremovexattr(fd, "user.usl") == 0) return Escaped("fremovexattr");
  if (futimens(fd, times) == 0) return Escaped("futimens");
  if (ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0) return Escaped("FS_IOC_SETFLAGS");
  if (ioctl(fd, FS_IOC_FSSETXATTR, &attributes) == 0) return Escaped("FS_IOC_FSSETXATTR");
  if (syscall(SYS_ioctl, fd, FS_IOC_SETFLAGS | 1UL << 32, &flags) == 0)
    return Escaped("FS_IOC_SETFLAGS with bit 32 set");
  if (ftruncate(fd, 0) == 0) return Escaped("ftruncate");
  if (fallocate(fd, 0, 0, 8192) == 0) return Escaped("fallocate");
  if (chmod(link.c_str(), 0777) == 0) return Escaped("chmod of /proc/self/fd");
  if (truncate(link.c_str(), 0) == 0) return Escaped("truncate of /proc/self/fd");
  if (open(link.c_str(), O_RDWR) >= 0) return Escaped("reopened for writing");
  if (open(link.c_str(), O_RDONLY | O_TRUNC) >= 0) return Escaped("reopened with O_TRUNC");
  if (utimensat(fd, "", times, AT_EMPTY_PATH) == 0) return Escaped("utimensat with AT_EMPTY_PATH");
  if (fchownat(fd, "", getuid(), getgid(), AT_EMPTY_PATH) == 0) return Escaped("fchownat with AT_EMPTY_PATH");
  return HeldErrno("all of them, the last");
}
ESCAPE_ATTACK(ReadOnlyDescriptor, "metadata.read_only_descriptor", kEscapes, "user");

// Linux's own protected_hardlinks refuses to link what one may not write; a guest root's link is an ordinary one.
Outcome LinkByDescriptor() {
  EnterWorkDirectory();
  int fd = open(Fact("target").c_str(), O_RDONLY);
  if (fd < 0) return Held("cannot be opened at all");
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  if (linkat(AT_FDCWD, link.c_str(), AT_FDCWD, "linked", AT_SYMLINK_FOLLOW) == 0)
    return Escaped("linkat of /proc/self/fd");
  if (linkat(fd, "", AT_FDCWD, "linked", AT_EMPTY_PATH) == 0) return Escaped("linkat with AT_EMPTY_PATH");
  return HeldErrno("linkat");
}
ESCAPE_ATTACK(LinkByDescriptor, "metadata.link_by_descriptor", kEscapes, "user");

std::string FromHex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

// The record of a root's set-id program, put on one's own file by every call that sets attributes. Whether a name that
// the guest chooses reaches the host's attribute is seen from outside too.
Outcome ForgedRecord() {
  EnterWorkDirectory();
  WriteFile("mine", "x", 0755);
  int fd = open("mine", O_RDWR);
  const std::string record = FromHex(Fact("suid_record"));
  const char* names[] = {"user.usl", "user.usl ", "user.usl.", "user.usl\n", "trusted.usl", "security.usl"};
  for (const char* name : names) {
    setxattr("mine", name, record.data(), record.size(), 0);
    lsetxattr("mine", name, record.data(), record.size(), 0);
    fsetxattr(fd, name, record.data(), record.size(), 0);
    struct {
      uint64_t value;
      uint32_t size, flags;
    } arguments{reinterpret_cast<uint64_t>(record.data()), static_cast<uint32_t>(record.size()), 0};
    syscall(463, AT_FDCWD, "mine", 0, name, &arguments, sizeof arguments);
    struct stat status;
    stat("mine", &status);
    if (status.st_mode & S_ISUID || (getuid() != 0 && status.st_uid == 0))
      return Escaped(std::string("forged by ") + name);
  }
  char value[512];
  if (IsNative() && getxattr("mine", "user.usl", value, sizeof value) > 0) return Escaped("user.usl is set");
  close(fd);
  return Held("owner and mode are unchanged");
}
ESCAPE_ATTACK(ForgedRecord, "metadata.forged_record", kDepends, "user");

// The record of a file with an owner is not shown, and not removed.
Outcome ShownRecord() {
  EnterWorkDirectory();
  WriteFile("owned", "x");
  if (!IsNative() && chown("owned", 33, 33) < 0) return HeldErrno("chown");
  if (IsNative()) setxattr("owned", "user.usl", "x", 1, 0);
  char value[4096];
  if (getxattr("owned", "user.usl", value, sizeof value) >= 0) return Escaped("getxattr shows it");
  ssize_t size = listxattr("owned", value, sizeof value);
  for (ssize_t at = 0; at < size; at += static_cast<ssize_t>(strlen(value + at)) + 1) {
    if (strcmp(value + at, "user.usl") == 0) return Escaped("listxattr shows it");
  }
  removexattr("owned", "user.usl");
  syscall(466, AT_FDCWD, "owned", 0, "user.usl");
  struct stat status;
  stat("owned", &status);
  return status.st_uid == 33 ? Held("hidden") : Escaped("removexattr removed it");
}
ESCAPE_ATTACK(ShownRecord, "metadata.shown_record", kDepends, "");

}  // namespace
}  // namespace escape
