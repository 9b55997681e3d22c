// Names: `..`, symlinks, chroot, races of renames with a walk, hard links, file handles, mounts, device nodes, inotify.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "attack.h"

namespace escape {
namespace {

Outcome DotDot() {
  EnterWorkDirectory();
  const std::string secret = Secret();
  return FirstEscape({[&] { return TryOpen(Climb(secret)); }, [&] { return TryOpen("/../../.." + secret); },
                      [&] { return TryOpen("/./..//../" + secret); }, [&] { return TryOpen("/proc/.." + secret); },
                      [&] { return TryOpen("/proc/self/../.." + secret); },
                      [&] { return TryOpen("/dev/../.." + secret); },
                      // Beside the root: one or two levels up from it.
                      [&] { return TryOpen("/../host/secret"); }, [&] { return TryOpen("/../../host/secret"); }});
}
ESCAPE_ATTACK(DotDot, "paths.dotdot", kEscapes, "view volume");

Outcome Absolute() {
  return TryOpen(Secret());
}
ESCAPE_ATTACK(Absolute, "paths.absolute", kEscapes, "view");

Outcome Symlinks() {
  EnterWorkDirectory();
  const std::string secret = Secret();
  auto through = [](const std::string& target, const std::string& rest) {
    static int number = 0;
    const std::string link = "link" + std::to_string(number++);
    if (symlink(target.c_str(), link.c_str()) < 0) return HeldErrno("symlink");
    return TryOpen(link + rest);
  };
  return FirstEscape(
      {[&] { return through(secret, ""); }, [&] { return through(Climb(secret), ""); },
       [&] { return through(HostDirectory(), "/secret"); }, [&] { return through("/proc/self/root/../../..", secret); },
       [&] { return through("/", "/.." + secret); }, [&] { return through("/proc/self/cwd", "/" + Climb(secret)); }});
}
ESCAPE_ATTACK(Symlinks, "paths.symlinks", kEscapes, "view volume");

// The classic: a directory held open outside the new root.
Outcome Chroot() {
  EnterWorkDirectory();
  mkdir("jail", 0755);
  int outside = open(".", O_RDONLY | O_DIRECTORY);
  if (chroot("jail") < 0) return HeldErrno("chroot");
  fchdir(outside);
  for (int i = 0; i < 64; ++i) chdir("..");
  if (chroot(".") < 0) return HeldErrno("chroot .");
  return FirstEscape({[] { return TryOpen(Secret()); }, [] { return TryOpen(Climb(Secret())); },
                      [&] { return JudgeFd(openat(outside, Climb(Secret()).c_str(), O_RDONLY), "openat"); }});
}
ESCAPE_ATTACK(Chroot, "paths.chroot", kNone, "view volume");

// The current directory's parent moves up and down while a walk climbs from it.
Outcome RenameRace() {
  EnterWorkDirectory();
  for (const char* name : {"a", "a/b", "a/b/c", "high", "low", "low/er", "low/er/est"}) mkdir(name, 0755);
  int below = open("a/b/c", O_RDONLY | O_DIRECTORY);
  chdir("a/b/c");
  const std::string climb = Climb(Secret());
  char top[PATH_MAX];
  if (below < 0 || realpath("../../..", top) == nullptr) return HeldErrno("realpath");
  const std::string base = top;
  return Race(
      "rename of the climber's parents",
      [&](unsigned round) {
        rename((base + "/a/b").c_str(), (base + "/low/er/est/b").c_str());
        rename((base + "/low/er").c_str(), (base + "/high/er").c_str());
        rename((base + "/high/er").c_str(), (base + "/low/er").c_str());
        rename((base + "/low/er/est/b").c_str(), (base + "/a/b").c_str());
        if (round % 8 == 0) rmdir((base + "/high").c_str());
        mkdir((base + "/high").c_str(), 0755);
      },
      [&] { return TryOpen(climb).escaped || JudgeFd(openat(below, climb.c_str(), O_RDONLY), "openat").escaped; });
}
ESCAPE_ATTACK(RenameRace, "paths.rename_race", kEscapes, "volume");

Outcome HardLink() {
  EnterWorkDirectory();
  if (link(Secret().c_str(), "linked") < 0) return HeldErrno("link");
  return TryOpen("linked");
}
ESCAPE_ATTACK(HardLink, "paths.hard_link", kEscapes, "");

Outcome Move() {
  EnterWorkDirectory();
  if (rename(Secret().c_str(), "moved") < 0) return HeldErrno("rename");
  return TryOpen("moved");
}
ESCAPE_ATTACK(Move, "paths.move", kEscapes, "");

// Does the host's tree show at all? And can it be changed?
Outcome Metadata() {
  const std::string secret = Secret(), climb = Climb(secret);
  for (const std::string& path : {secret, climb}) {
    struct stat status;
    char target[64];
    if (stat(path.c_str(), &status) == 0) return Escaped("stat " + path);
    if (lstat(path.c_str(), &status) == 0) return Escaped("lstat " + path);
    if (access(path.c_str(), F_OK) == 0) return Escaped("access " + path);
    if (errno != ENOENT && errno != EACCES) return Escaped("access " + path + " gave another errno");
    if (readlink(path.c_str(), target, sizeof target) >= 0 || errno == EINVAL) return Escaped("readlink " + path);
  }
  return HeldErrno("readlink");
}
ESCAPE_ATTACK(Metadata, "paths.metadata", kEscapes, "view");

Outcome Change() {
  const std::string directory = HostDirectory();
  for (const std::string& path : {directory, Climb(directory)}) {
    const std::string secret = path + "/secret", fresh = path + "/fresh";
    if (chmod(secret.c_str(), 0666) == 0) return Escaped("chmod");
    if (truncate(secret.c_str(), 0) == 0) return Escaped("truncate");
    if (mkdir(fresh.c_str(), 0755) == 0) return Escaped("mkdir");
    if (symlink("x", fresh.c_str()) == 0) return Escaped("symlink");
    if (mkfifo(fresh.c_str(), 0666) == 0) return Escaped("mkfifo");
    if (WriteFile(fresh, "x")) return Escaped("open for writing");
    if (unlink(secret.c_str()) == 0) return Escaped("unlink");
  }
  return HeldErrno("unlink");
}
ESCAPE_ATTACK(Change, "paths.change", kEscapes, "view");

Outcome Openat2() {
  EnterWorkDirectory();
  struct {
    uint64_t flags, mode, resolve;
  } how{O_RDONLY, 0, 0};
  int here = open(".", O_RDONLY | O_DIRECTORY);
  auto attempt = [&](const std::string& path) {
    return JudgeFd(static_cast<int>(syscall(SYS_openat2, here, path.c_str(), &how, sizeof how)), "openat2 " + path);
  };
  return FirstEscape({[&] { return attempt(Secret()); }, [&] { return attempt(Climb(Secret())); }});
}
ESCAPE_ATTACK(Openat2, "paths.openat2", kEscapes, "view volume");

Outcome FileHandles() {
  alignas(file_handle) char space[sizeof(file_handle) + 128];
  auto* handle = reinterpret_cast<file_handle*>(space);
  handle->handle_bytes = 128;
  int mount = 0;
  if (name_to_handle_at(AT_FDCWD, ".", handle, &mount, 0) == 0) return Escaped("name_to_handle_at");
  Outcome outcome = HeldErrno("name_to_handle_at");
  int here = open(".", O_RDONLY);
  // The root inode of ext4 and XFS has a handle that anybody can make.
  for (uint32_t inode : {2u, 64u, 96u, 128u}) {
    handle->handle_bytes = 8;
    handle->handle_type = 1;
    auto* words = reinterpret_cast<uint32_t*>(handle->f_handle);
    words[0] = inode;
    words[1] = 0;
    if (open_by_handle_at(here, handle, O_RDONLY) >= 0) return Escaped("open_by_handle_at");
  }
  return outcome;
}
ESCAPE_ATTACK(FileHandles, "paths.file_handles", kDepends, "view");

Outcome Inotify() {
  int fd = inotify_init1(0);
  for (const std::string& path : {Secret(), HostDirectory(), Climb(HostDirectory())}) {
    if (inotify_add_watch(fd, path.c_str(), IN_ALL_EVENTS) >= 0) return Escaped("inotify_add_watch " + path);
  }
  return HeldErrno("inotify_add_watch");
}
ESCAPE_ATTACK(Inotify, "paths.inotify", kEscapes, "view");

// Mounts: of the host's directory, over others, and of file systems that lead out.
Outcome Mounts() {
  EnterWorkDirectory();
  mkdir("m", 0755);
  const std::string host = HostDirectory();
  const std::string layers = "lowerdir=" + host + ":/,upperdir=" + host + ",workdir=" + host;
  struct {
    const char *source, *type;
    unsigned long flags;
    const char* data;
  } const mounts[] = {{host.c_str(), nullptr, MS_BIND, nullptr},
                      {Climb(host).c_str(), nullptr, MS_BIND | MS_REC, nullptr},
                      {"/proc/self/root/..", nullptr, MS_BIND | MS_REC, nullptr},
                      {"overlay", "overlay", 0, layers.c_str()},
                      {"/dev/vda", "ext4", 0, nullptr},
                      {"/dev/sda1", "ext4", 0, nullptr},
                      {host.c_str(), "9p", 0, "trans=unix"},
                      {host.c_str(), "drvfs", 0, nullptr},
                      {"devtmpfs", "devtmpfs", 0, nullptr},
                      {"none", "debugfs", 0, nullptr},
                      {"none", "securityfs", 0, nullptr},
                      {"fuse", "fuse", 0, "fd=3,rootmode=40000,user_id=0,group_id=0"}};
  for (const auto& entry : mounts) {
    if (mount(entry.source, "m", entry.type, entry.flags, entry.data) < 0) continue;
    for (const std::string& path :
         {std::string("m/secret"), "m/.." + Secret(), "m/" + Climb(Secret()), "m" + Secret()}) {
      Outcome outcome = TryOpen(path);
      if (outcome.escaped) return outcome;
    }
    for (const char* device : {"m/mem", "m/vda", "m/sda"}) {
      if (open(device, O_RDONLY) >= 0) return Escaped(std::string("a mount shows ") + device);
    }
    umount2("m", MNT_DETACH);
  }
  syscall(SYS_pivot_root, ".", "m");
  return FirstEscape({[] { return TryOpen(Secret()); }, [] { return TryOpen(Climb(Secret())); }});
}
ESCAPE_ATTACK(Mounts, "paths.mounts", kNone, "");

Outcome Devices() {
  EnterWorkDirectory();
  auto harmless = [](mode_t type, unsigned major, unsigned minor) {
    if (type != S_IFCHR) return false;
    if (major == 1) return minor == 3 || minor == 5 || minor == 7 || minor == 8 || minor == 9;
    if (major == 5) return minor == 0 || minor == 2;
    return major == 136;  // the instance's own terminals
  };
  for (mode_t type : {S_IFCHR, S_IFBLK}) {
    for (unsigned major :
         {1u, 2u, 4u, 5u, 7u, 8u, 10u, 13u, 21u, 29u, 108u, 136u, 189u, 202u, 226u, 248u, 250u, 253u, 254u, 259u}) {
      for (unsigned minor : {0u,   1u,   2u,   3u,   4u,   5u,   8u,   11u,  64u,  125u, 126u, 127u,
                             183u, 200u, 223u, 229u, 232u, 234u, 235u, 236u, 237u, 238u, 242u}) {
        if (harmless(type, major, minor)) continue;
        unlink("node");
        if (mknod("node", type | 0666, makedev(major, minor)) < 0) continue;
        if (type == S_IFCHR && major == 1 && minor == 11 && !IsNative()) {
          // The instance has a kernel log of its own, which says so at its start.
          const int log = open("node", O_RDONLY | O_NONBLOCK);
          if (log >= 0 && ReadAll(log).find("usl@usl") == std::string::npos) return Escaped("the host's kernel log");
          continue;
        }
        if (open("node", O_RDWR | O_NONBLOCK | O_NOCTTY) >= 0 || open("node", O_RDONLY | O_NONBLOCK | O_NOCTTY) >= 0) {
          return Escaped("device " + std::to_string(major) + ":" + std::to_string(minor) + " opens");
        }
      }
    }
  }
  return HeldErrno("open of device nodes");
}
ESCAPE_ATTACK(Devices, "paths.devices", kNone, "");

}  // namespace
}  // namespace escape
