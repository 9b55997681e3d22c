// Mounts, detached trees and namespaces of the guest: none leads to a file, a mount or a namespace of the host.
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "attack.h"

namespace escape {
namespace {

constexpr int kOpenTree = 428, kMoveMount = 429, kFsOpen = 430, kFsConfig = 431, kFsMount = 432, kFsPick = 433;
constexpr int kMountSetAttr = 442, kStatMount = 457, kListMount = 458;
constexpr unsigned kClone = 1, kRecursive = 0x8000, kFromEmpty = 4;

int OpenTree(int at, const char* path, unsigned flags) {
  return static_cast<int>(syscall(kOpenTree, at, path, flags));
}

// The secret's path, tried through everything that could name the host's tree.
Outcome ReadBelow(int directory, const std::string& what) {
  const std::string secret = Secret();
  const std::string climb = Climb(secret);
  for (const std::string& path : {secret.substr(1), climb}) {
    const int fd = openat(directory, path.c_str(), O_RDONLY);
    if (fd >= 0 && HasMarker(ReadAll(fd))) return Escaped(what + ": " + path);
    if (fd >= 0) close(fd);
  }
  return Held(what);
}

Outcome BindTheHost() {
  EnterWorkDirectory();
  mkdir("m", 0755);
  for (const std::string& source :
       {HostDirectory(), Climb(HostDirectory()), std::string("/proc/1/root") + HostDirectory(),
        "/proc/self/cwd/" + Climb(HostDirectory())}) {
    if (mount(source.c_str(), "m", nullptr, MS_BIND | MS_REC, nullptr) == 0) {
      const Outcome outcome = TryOpen("m/" + Secret().substr(Secret().rfind('/') + 1));
      if (outcome.escaped) return outcome;
      umount2("m", MNT_DETACH);
    }
    const int tree = OpenTree(AT_FDCWD, source.c_str(), kClone | kRecursive);
    if (tree >= 0) {
      const int fd = openat(tree, Secret().substr(Secret().rfind('/') + 1).c_str(), O_RDONLY);
      if (fd >= 0 && HasMarker(ReadAll(fd))) return Escaped("open_tree of " + source);
    }
  }
  return HeldErrno("mount");
}
ESCAPE_ATTACK(BindTheHost, "mounts.bind_the_host", kNone, "view");

// Block devices, overlays and network file systems would be the host's.
Outcome TypesOfTheHost() {
  EnterWorkDirectory();
  mkdir("m", 0755);
  for (const char* type : {"ext4", "overlay", "nfs", "9p", "fuse", "bpf", "debugfs", "tracefs", "securityfs", "cgroup",
                           "hugetlbfs", "configfs", "efivarfs", "pstore"}) {
    const std::string options =
        "lowerdir=/," + std::string("upperdir=/tmp,workdir=/tmp,fd=0,rootmode=40000,user_id=0,group_id=0");
    if (mount("/dev/vda", "m", type, 0, options.c_str()) == 0) {
      const Outcome outcome = ReadBelow(open("m", O_RDONLY | O_DIRECTORY), type);
      if (outcome.escaped) return outcome;
      umount2("m", MNT_DETACH);
    }
    const int context = static_cast<int>(syscall(kFsOpen, type, 0));
    if (context < 0) continue;
    syscall(kFsConfig, context, FSCONFIG_SET_STRING, "source", Secret().c_str(), 0);
    syscall(kFsConfig, context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0);
    const int made = static_cast<int>(syscall(kFsMount, context, 0, 0));
    const Outcome outcome = ReadBelow(made, std::string("fsmount of ") + type);
    if (outcome.escaped) return outcome;
  }
  return Held("no such type");
}
ESCAPE_ATTACK(TypesOfTheHost, "mounts.types_of_the_host", kNone, "");

// Descriptors of trees are stand-ins on the host: what is native on them must lead nowhere.
Outcome TreeDescriptors() {
  EnterWorkDirectory();
  mkdir("m", 0755);
  mount("t", "m", "tmpfs", 0, nullptr);
  const int context = static_cast<int>(syscall(kFsOpen, "tmpfs", 0));
  syscall(kFsConfig, context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0);
  const int trees[] = {OpenTree(AT_FDCWD, "m", kClone),
                       OpenTree(AT_FDCWD, "/", kClone | kRecursive),
                       OpenTree(AT_FDCWD, "m", 0),
                       static_cast<int>(syscall(kFsMount, context, 0, 0)),
                       context,
                       static_cast<int>(syscall(kFsPick, AT_FDCWD, "m", 0))};
  for (int tree : trees) {
    if (tree < 0) continue;
    Outcome outcome = ReadBelow(tree, "a tree");
    if (outcome.escaped) return outcome;
    const std::string own = "/proc/self/fd/" + std::to_string(tree);
    outcome = ReadBelow(open(own.c_str(), O_RDONLY), "a tree opened again");
    if (outcome.escaped) return outcome;
    outcome = ReadBelow(open((own + "/..").c_str(), O_RDONLY | O_DIRECTORY), "above a tree");
    if (outcome.escaped) return outcome;
    if (fchdir(tree) == 0) {
      outcome = ReadBelow(AT_FDCWD, "a tree as working directory");
      if (outcome.escaped) return outcome;
      if (chdir("..") == 0 && (outcome = ReadBelow(AT_FDCWD, "above a working directory")).escaped) return outcome;
    }
    char link[4096];
    const ssize_t size = readlink(own.c_str(), link, sizeof link);
    if (size > 0 && std::string(link, static_cast<size_t>(size)).find("usl") != std::string::npos) {
      return Escaped("the host's path shows: " + std::string(link, static_cast<size_t>(size)));
    }
  }
  return Held("nothing above a tree");
}
ESCAPE_ATTACK(TreeDescriptors, "mounts.tree_descriptors", kNone, "view");

// A chrooted or unmounted place, left by a directory that was moved or by a mount that went away below.
Outcome RootsThatGoAway() {
  EnterWorkDirectory();
  mkdir("m", 0755);
  if (mount("t", "m", "tmpfs", 0, nullptr) != 0) return HeldErrno("mount");
  mkdir("m/a", 0755);
  mkdir("m/a/b", 0755);
  mkdir("m/jail", 0755);
  mount("m/a", "m/jail", nullptr, MS_BIND, nullptr);
  const int inside = open("m/jail/b", O_RDONLY | O_DIRECTORY);
  rename("m/a/b", "m/b");
  Outcome outcome = ReadBelow(inside, "a directory that left its bind mount");
  if (outcome.escaped) return outcome;
  umount2("m", MNT_DETACH);
  outcome = ReadBelow(inside, "a detached mount");
  if (outcome.escaped) return outcome;
  if (fchdir(inside) == 0 && chroot(".") == 0) outcome = ReadBelow(AT_FDCWD, "a detached root");
  return outcome;
}
ESCAPE_ATTACK(RootsThatGoAway, "mounts.roots_that_go_away", kNone, "view");

// Namespaces are virtual: the host must not have made one, and none of the host's is entered.
Outcome Namespaces() {
  EnterWorkDirectory();
  for (const char* name : {"mnt", "uts", "net", "pid", "user", "ipc", "cgroup"}) {
    for (const std::string& process : {std::string("self"), std::string("1"), std::to_string(Victim())}) {
      const int fd = open(("/proc/" + process + "/ns/" + name).c_str(), O_RDONLY);
      if (fd < 0) continue;
      if (process == std::to_string(Victim())) return Escaped("a namespace of the host opens");
      setns(fd, 0);
      const Outcome outcome = ReadBelow(AT_FDCWD, std::string("after setns to ") + name);
      if (outcome.escaped) return outcome;
    }
  }
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, Victim(), 0));
  if (pidfd >= 0 && setns(pidfd, CLONE_NEWNS) == 0) return Escaped("setns to a process of the host");
  unshare(CLONE_NEWNS | CLONE_NEWUTS);
  if (ReadBelow(AT_FDCWD, "unshare").escaped) return Escaped("unshare");
  const long child = syscall(SYS_clone, CLONE_NEWNS | CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0);
  if (child == 0) _exit(ReadBelow(AT_FDCWD, "clone").escaped ? 1 : 0);
  if (child > 0 && WaitStatus(static_cast<pid_t>(child)) != 0) return Escaped("clone with a new namespace");
  return Held("the guest's own");
}
ESCAPE_ATTACK(Namespaces, "mounts.namespaces", kNone, "");

// The marks of clone's second call are the kernel's: a guest that makes them up gets a plain child.
Outcome ForgedCloneMarks() {
  EnterWorkDirectory();
  char before[65], after[65];
  gethostname(before, sizeof before);
  for (uint64_t high = 1; high != 0; high <<= 1) {
    const uint64_t flags = (high << 32) | SIGCHLD;
    if ((flags >> 32) == 0) break;
    const long child = syscall(SYS_clone, flags, 0, 0, 0, 0);
    if (child == 0) {
      // A host namespace of its own would let it change the host's view of itself; natively it has no rights at all.
      _exit(ReadBelow(AT_FDCWD, "forged").escaped ? 1 : 0);
    }
    if (child > 0 && WaitStatus(static_cast<pid_t>(child)) != 0) return Escaped("by a forged mark");
  }
  gethostname(after, sizeof after);
  return std::string(before) == after ? Held("plain children") : Escaped("the host name changed");
}
ESCAPE_ATTACK(ForgedCloneMarks, "mounts.forged_clone_marks", kNone, "");

// What is listed and shown are mounts of the instance, without a path of the host.
Outcome NothingOfTheHostIsListed() {
  uint64_t ids[4096];
  struct {
    uint32_t size = 24, spare = 0;
    uint64_t id = ~uint64_t{0}, parameter = 0;
  } request;
  const long count = syscall(kListMount, &request, ids, 4096, 0);
  char result[8192];
  for (long i = 0; i < count; ++i) {
    request.id = ids[i];
    request.parameter = 0x7ff;
    memset(result, 0, sizeof result);
    if (syscall(kStatMount, &request, result, sizeof result, 0) != 0) continue;
    const std::string text(result, sizeof result);
    if (text.find(HostDirectory()) != std::string::npos || text.find("usl-tmpfs") != std::string::npos) {
      return Escaped("a path of the host is shown");
    }
  }
  return count > 0 ? Held("own mounts only") : HeldErrno("listmount");
}
ESCAPE_ATTACK(NothingOfTheHostIsListed, "mounts.listed", kNone, "");

// An ordinary user of the guest has none of it.
Outcome WithoutPrivilege() {
  EnterWorkDirectory();
  mkdir("m", 0755);
  mount_attr attr{.attr_clr = MOUNT_ATTR_NOSUID | MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV};
  if (mount("t", "m", "tmpfs", 0, nullptr) == 0) return Escaped("mount");
  if (mount("/etc", "m", nullptr, MS_BIND, nullptr) == 0) return Escaped("bind");
  if (umount2("/proc", MNT_DETACH) == 0) return Escaped("umount");
  if (OpenTree(AT_FDCWD, "/", kClone) >= 0) return Escaped("open_tree");
  if (syscall(kFsOpen, "tmpfs", 0) >= 0) return Escaped("fsopen");
  if (syscall(kFsPick, AT_FDCWD, "/", 0) >= 0) return Escaped("fspick");
  if (syscall(kMountSetAttr, AT_FDCWD, "/proc", 0, &attr, sizeof attr) == 0) return Escaped("mount_setattr");
  if (syscall(kMoveMount, AT_FDCWD, "/proc", AT_FDCWD, "m", 0) == 0) return Escaped("move_mount");
  if (syscall(SYS_pivot_root, "/", "/") == 0) return Escaped("pivot_root");
  if (unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUTS) == 0) return Escaped("unshare");
  const long child = syscall(SYS_clone, CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0);
  if (child == 0) _exit(0);
  if (child > 0) return Escaped("clone");
  return HeldErrno("all of them");
}
ESCAPE_ATTACK(WithoutPrivilege, "mounts.without_privilege", kNone, "user");

}  // namespace
}  // namespace escape
