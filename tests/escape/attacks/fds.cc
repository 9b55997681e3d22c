// Descriptors: that of a directory leads nowhere else, one given for reading gives no more, and what the caller of
// `usl run` passes as standard input is not a door.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "attack.h"

namespace escape {
namespace {

Outcome DirectoryDotDot() {
  EnterWorkDirectory();
  mkdir("sub", 0755);
  const std::string climb = Climb(Secret());
  int here = open(".", O_RDONLY | O_DIRECTORY), by_path = open("sub", O_PATH | O_DIRECTORY), root = open("/", O_PATH);
  return FirstEscape({[&] { return JudgeFd(openat(here, climb.c_str(), O_RDONLY), "openat"); },
                      [&] { return JudgeFd(openat(by_path, climb.c_str(), O_RDONLY), "openat of an O_PATH"); },
                      [&] { return JudgeFd(openat(root, climb.c_str(), O_RDONLY), "openat of the root"); },
                      [&] {
                        fchdir(by_path);
                        return TryOpen(climb);
                      },
                      [&] {
                        fchdir(root);
                        return TryOpen(".." + Secret());
                      }});
}
ESCAPE_ATTACK(DirectoryDotDot, "fds.directory_dotdot", kEscapes, "view volume");

Outcome AtFamily() {
  EnterWorkDirectory();
  int here = open(".", O_RDONLY | O_DIRECTORY);
  const std::string text = Climb(Secret()), fresh = Climb(HostDirectory() + "/fresh");
  const char* path = text.c_str();
  struct stat status;
  struct statx statx_buffer;
  char target[64];
  if (fstatat(here, path, &status, 0) == 0) return Escaped("fstatat");
  if (statx(here, path, 0, STATX_BASIC_STATS, &statx_buffer) == 0) return Escaped("statx");
  if (faccessat(here, path, F_OK, 0) == 0) return Escaped("faccessat");
  if (syscall(SYS_faccessat2, here, path, F_OK, 0) == 0) return Escaped("faccessat2");
  if (readlinkat(here, path, target, sizeof target) >= 0 || errno == EINVAL) return Escaped("readlinkat");
  if (linkat(here, path, here, "linked", 0) == 0) return Escaped("linkat");
  if (fchmodat(here, path, 0644, 0) == 0) return Escaped("fchmodat");
  if (syscall(452, here, path, 0644, 0) == 0) return Escaped("fchmodat2");
  if (fchownat(here, path, getuid(), getgid(), 0) == 0) return Escaped("fchownat");
  if (utimensat(here, path, nullptr, 0) == 0) return Escaped("utimensat");
  if (mkdirat(here, fresh.c_str(), 0755) == 0) return Escaped("mkdirat");
  if (mknodat(here, fresh.c_str(), S_IFREG | 0644, 0) == 0) return Escaped("mknodat");
  if (symlinkat("x", here, fresh.c_str()) == 0) return Escaped("symlinkat");
  if (renameat(here, path, here, "moved") == 0) return Escaped("renameat");
  if (unlinkat(here, path, 0) == 0) return Escaped("unlinkat");
  if (syscall(SYS_open_tree, here, path, 0) >= 0) return Escaped("open_tree");
  return HeldErrno("all of them, the last");
}
ESCAPE_ATTACK(AtFamily, "fds.at_family", kEscapes, "view volume");

// A synthesised file is a memory file of the kernel: nobody may write to it and so change what others read.
Outcome SyntheticFile() {
  auto contents = [] {
    int fd = open("/proc/version", O_RDONLY);
    return fd < 0 ? std::string() : ReadAll(fd);
  };
  const std::string before = contents();
  int fd = open("/proc/version", O_RDONLY);
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  if (write(fd, "x", 1) == 1 || pwrite(fd, "x", 1, 0) == 1) return Escaped("write");
  if (ftruncate(fd, 0) == 0) return Escaped("ftruncate");
  if (fallocate(fd, 0, 0, 100) == 0) return Escaped("fallocate");
  if (mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED) return Escaped("mmap for writing");
  void* page = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
  if (page != MAP_FAILED && mprotect(page, 4096, PROT_READ | PROT_WRITE) == 0) return Escaped("mprotect for writing");
  int again = open(link.c_str(), O_RDWR);
  if (again >= 0 && pwrite(again, "x", 1, 0) == 1) return Escaped("reopened for writing");
  truncate(link.c_str(), 0);  // for root it succeeds without effect, as in Linux
  return contents() == before ? Held("unchanged") : Escaped("its content changed");
}
ESCAPE_ATTACK(SyntheticFile, "fds.synthetic_file", kNone, "");

// Standard input is a directory of the host.
Outcome InheritedDirectory() {
  int fd = openat(0, "secret", O_RDONLY);
  if (fd >= 0) return JudgeFd(fd, "openat of standard input");
  const std::string reason = strerror(errno);
  struct stat status;
  if (fstatat(0, "secret", &status, 0) == 0) return Escaped("fstatat");
  if (openat(0, "fresh", O_WRONLY | O_CREAT, 0644) >= 0) return Escaped("openat with O_CREAT");
  if (mkdirat(0, "fresh", 0755) == 0) return Escaped("mkdirat");
  if (unlinkat(0, "secret", 0) == 0) return Escaped("unlinkat");
  if (fchdir(0) == 0) {
    Outcome outcome = TryOpen("secret");
    if (outcome.escaped) return outcome;
  }
  char names[4096];
  if (syscall(SYS_getdents64, 0, names, sizeof names) > 0) return Escaped("getdents64");
  Outcome outcome = TryOpen("/proc/self/fd/0/secret");
  return outcome.escaped ? outcome : Held("openat: " + reason);
}
ESCAPE_ATTACK(InheritedDirectory, "fds.inherited_directory", kEscapes, "stdin=directory view");

// Standard input is a file of the host, opened for reading: it was given for that and for nothing else.
Outcome InheritedFile() {
  EnterWorkDirectory();
  // Modes and times of an object without a place in the guest's tree may be kept by the kernel; the driver looks
  // whether the file's own have changed.
  const timespec times[2] = {{1, 0}, {1, 0}};
  bool changed = fchmod(0, 0666) == 0;
  changed = futimens(0, times) == 0 || changed;
  changed = fsetxattr(0, "user.usl", "x", 1, 0) == 0 || changed;
  if (changed && IsNative()) return Escaped("fchmod, futimens, fsetxattr");
  if (linkat(0, "", AT_FDCWD, "linked", AT_EMPTY_PATH) == 0) return Escaped("linkat with AT_EMPTY_PATH");
  if (linkat(AT_FDCWD, "/proc/self/fd/0", AT_FDCWD, "linked", AT_SYMLINK_FOLLOW) == 0)
    return Escaped("linkat of /proc/self/fd");
  for (const char* path : {"/proc/self/fd/0", "/dev/stdin", "/dev/fd/0"}) {
    if (truncate(path, 3) == 0) return Escaped(std::string("truncate ") + path);
    if (chmod(path, 0666) == 0 && IsNative()) return Escaped(std::string("chmod ") + path);
    int again = open(path, O_RDWR);
    if (again >= 0 && pwrite(again, "x", 1, 0) == 1) return Escaped(std::string("reopened for writing: ") + path);
  }
  if (mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 0) != MAP_FAILED) return Escaped("mmap for writing");
  if (openat(0, "../secret", O_RDONLY) >= 0) return Escaped("openat");
  return Held("reading only");
}
ESCAPE_ATTACK(InheritedFile, "fds.inherited_file", kEscapes, "stdin=file view");

// Standard input is a log file, opened for appending only: its content stays unread.
Outcome InheritedLog() {
  EnterWorkDirectory();
  for (const char* path : {"/proc/self/fd/0", "/dev/stdin"}) {
    Outcome outcome = TryOpen(path);
    if (outcome.escaped) return outcome;
  }
  void* page = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, 0, 0);
  if (page != MAP_FAILED) return Escaped("mmap");
  int copy = open("copy", O_RDWR | O_CREAT, 0644);
  if (copy_file_range(0, nullptr, copy, nullptr, 100, 0) > 0) return Escaped("copy_file_range");
  return HeldErrno("all of them, the last");
}
ESCAPE_ATTACK(InheritedLog, "fds.inherited_log", kEscapes, "stdin=log view");

// Standard output is a pipe of the host's: who may write to it may not read what others wrote. Standard input is one,
// too.
Outcome InheritedPipe() {
  if (open("/proc/self/fd/1", O_RDONLY | O_NONBLOCK) >= 0) return Escaped("reads its standard output");
  if (open("/dev/stdout", O_RDWR | O_NONBLOCK) >= 0) return Escaped("reads its standard output by O_RDWR");
  if (open("/proc/self/fd/0", O_WRONLY | O_NONBLOCK) >= 0) return Escaped("writes to its standard input");
  return open("/dev/stdout", O_WRONLY) >= 0 ? Held("only as it was given") : Held("not at all");
}
ESCAPE_ATTACK(InheritedPipe, "fds.inherited_pipe", kEscapes, "stdin=pipe view");

// Leases stall the kernel's own opens; directory notification tells of the host.
Outcome Leases() {
  EnterWorkDirectory();
  WriteFile("leased", "x");
  int fd = open("leased", O_RDWR), here = open(".", O_RDONLY | O_DIRECTORY);
  if (fcntl(fd, F_SETLEASE, F_WRLCK) == 0) return Escaped("F_SETLEASE");
  if (fcntl(open("leased", O_RDONLY), F_SETLEASE, F_RDLCK) == 0) return Escaped("F_SETLEASE for reading");
  if (fcntl(here, F_NOTIFY, DN_CREATE | DN_MULTISHOT) == 0) return Escaped("F_NOTIFY");
  // The upper halves of int arguments are not looked at by Linux.
  const long high = 1L << 32;
  if (syscall(SYS_fcntl, fd, F_SETLEASE | high, F_WRLCK) == 0) return Escaped("F_SETLEASE with bit 32 set");
  if (syscall(SYS_fcntl, here | high, F_NOTIFY | high, DN_CREATE) == 0) return Escaped("F_NOTIFY with bit 32 set");
  return HeldErrno("fcntl");
}
ESCAPE_ATTACK(Leases, "fds.leases", kEscapes, "");

}  // namespace
}  // namespace escape
