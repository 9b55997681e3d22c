// The copy-on-write view of the host's root: what is written to a file that shows there stays in the view, and the
// sockets, FIFOs and devices there are dead. test_view.py looks at the host's files afterwards.
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "attack.h"

namespace escape {
namespace {

bool AddsLink(const char* path) {
  return linkat(AT_FDCWD, path, AT_FDCWD, "linked", AT_SYMLINK_FOLLOW) == 0 || link("f0", "linked") == 0;
}

// Changes each of the files fN in another way; all of it may succeed, in the view.
Outcome Change() {
  if (chdir(Fact("shared").c_str()) < 0) return HeldErrno("chdir");
  int unseen = 0;
  auto each = [&](int number, auto change) {
    const std::string name = "f" + std::to_string(number);
    if (access(name.c_str(), F_OK) < 0) ++unseen;
    change(name.c_str());
  };
  each(0, [](const char* name) { WriteFile(name, "changed"); });
  each(1, [](const char* name) { chmod(name, 0777); });
  each(2, [](const char* name) { truncate(name, 1); });
  each(3, [](const char* name) { unlink(name); });
  each(4, [](const char* name) { rename(name, "renamed"); });
  each(5, [](const char* name) {
    // A hard link in the upper layer must not be one to the host's file.
    link(name, "linked");
    WriteFile("linked", "changed through a link");
  });
  each(6, [](const char* name) {
    int fd = open(name, O_RDWR);
    void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) memset(page, 'x', 4);
  });
  each(7, [](const char* name) {
    int fd = open(name, O_RDONLY);
    fchmod(fd, 0777);
    fchown(fd, 5, 5);
    fsetxattr(fd, "user.a", "b", 1, 0);
    const timespec times[2] = {{1, 0}, {1, 0}};
    futimens(fd, times);
    unsigned flags = FS_NODUMP_FL;
    ioctl(fd, FS_IOC_SETFLAGS, &flags);
    link(("/proc/self/fd/" + std::to_string(fd)).c_str(), "linked2");
  });
  each(8, [](const char* name) {
    // Opened for reading before the copy: it stays the host's file, and gives no right to write.
    int before = open(name, O_RDONLY);
    WriteFile(name, "changed");
    int again = open(("/proc/self/fd/" + std::to_string(before)).c_str(), O_RDWR);
    pwrite(again, "reopened", 8, 0);
    void* page = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, before, 0);
    if (page != MAP_FAILED && mprotect(page, 4096, PROT_READ | PROT_WRITE) == 0) memset(page, 'x', 4);
  });
  each(9, [](const char* name) {
    int from = open("f0", O_RDONLY), to = open(name, O_RDWR);
    ioctl(to, FICLONE, from);
    copy_file_range(from, nullptr, to, nullptr, 10, 0);
    fallocate(to, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4);
  });
  mkdir("fresh", 0755);
  symlink("f0", "fresh-link");
  WriteFile("directory/inner", "changed");
  unlink("directory/inner2");
  rename("directory", "moved");
  rmdir("empty");
  WriteFile("to-f9", "changed through the host's symlink");
  return Held("unseen: " + std::to_string(unseen));
}
ESCAPE_ATTACK(Change, "view.change", kNone, "helper");

Outcome Connect() {
  const std::string shared = Fact("shared");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, (shared + "/socket").c_str(), sizeof address.sun_path - 1);
  struct stat status;
  const bool seen = stat(address.sun_path, &status) == 0;
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
    return Escaped("connected to the host's socket");
  const std::string reason = strerror(errno);
  if (link((shared + "/socket").c_str(), (shared + "/socket2").c_str()) == 0) {
    strncpy(address.sun_path, (shared + "/socket2").c_str(), sizeof address.sun_path - 1);
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
      return Escaped("connected through a link");
  }
  // A reader of the host waits at the other end.
  int fifo = open((shared + "/fifo").c_str(), O_WRONLY | O_NONBLOCK);
  if (fifo >= 0 && write(fifo, "x", 1) == 1) return Escaped("wrote to a reader on the host");
  return Held(std::string(seen ? "seen" : "not seen") + ", connect: " + reason);
}
ESCAPE_ATTACK(Connect, "view.connect", kNone, "helper");

// A volume that was given for reading: as root of the guest, by path and by descriptor, and by mounting it again.
Outcome ReadOnlyVolume() {
  if (chdir("/volume") < 0) return HeldErrno("chdir");
  for (int round = 0; round < 3; ++round) {
    int fd = open("f0", O_RDONLY);
    if (fd < 0) return Held("cannot be opened at all");
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    const timespec times[2] = {{1, 0}, {1, 0}};
    if (open("f0", O_RDWR) >= 0 || open("f0", O_RDONLY | O_TRUNC) >= 0) return Escaped("open for writing");
    if (open(link.c_str(), O_RDWR) >= 0) return Escaped("reopened for writing");
    if (truncate("f0", 0) == 0 || truncate(link.c_str(), 0) == 0 || ftruncate(fd, 0) == 0) return Escaped("truncate");
    if (chmod("f0", 0777) == 0 || fchmod(fd, 0777) == 0) return Escaped("chmod");
    if (chown("f0", 5, 5) == 0 || fchown(fd, 5, 5) == 0) return Escaped("chown");
    if (futimens(fd, times) == 0 || utimensat(AT_FDCWD, "f0", times, 0) == 0) return Escaped("utimensat");
    if (setxattr("f0", "user.a", "b", 1, 0) == 0 || fsetxattr(fd, "user.a", "b", 1, 0) == 0) return Escaped("setxattr");
    if (unlink("f1") == 0 || rename("f1", "f2") == 0 || AddsLink(link.c_str())) return Escaped("a name");
    if (mkdir("fresh", 0755) == 0 || WriteFile("fresh", "x")) return Escaped("a new file");
    if (mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED)
      return Escaped("mmap for writing");
    close(fd);
    // Guest root may mount again; the volume stays what it is.
    if (round == 0) mount("none", "/volume", nullptr, MS_REMOUNT | MS_BIND, nullptr);
    if (round == 1) {
      mkdir("/tmp/again", 0755);
      mount("/volume", "/tmp/again", nullptr, MS_BIND, nullptr);
      mount("none", "/tmp/again", nullptr, MS_REMOUNT | MS_BIND, nullptr);
      if (chdir("/tmp/again") < 0) return HeldErrno("chdir");
    }
  }
  return HeldErrno("all of them, the last");
}
ESCAPE_ATTACK(ReadOnlyVolume, "view.read_only_volume", kNone, "helper");

// Descriptors and variables that the caller of `usl run` happens to have are not the guest's.
Outcome Leaks() {
  for (int fd = 3; fd < 1024; ++fd) {
    if (fcntl(fd, F_GETFD) < 0) continue;
    if (openat(fd, "secret", O_RDONLY) >= 0) return Escaped("openat of descriptor " + std::to_string(fd));
    return Escaped("descriptor " + std::to_string(fd) + " is open");
  }
  for (char** variable = environ; *variable; ++variable) {
    if (HasMarker(*variable)) return Escaped("the environment");
  }
  for (const char* path : {"/proc/self/environ", "/proc/1/environ"}) {
    int fd = open(path, O_RDONLY);
    if (fd >= 0 && HasMarker(ReadAll(fd))) return Escaped(path);
  }
  return Held("neither");
}
ESCAPE_ATTACK(Leaks, "view.leaks", kNone, "helper");

}  // namespace
}  // namespace escape
