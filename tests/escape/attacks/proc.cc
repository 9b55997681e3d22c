// /proc: roots, working directories, descriptors and memory of host processes, and what shows of the host.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "attack.h"

namespace escape {
namespace {

Outcome Root() {
  const std::string secret = Secret(), climb = Climb(secret);
  return FirstEscape(
      {[&] { return TryOpen("/proc/self/root" + secret); }, [&] { return TryOpen("/proc/self/root/../.." + secret); },
       [&] { return TryOpen("/proc/1/root" + secret); }, [&] { return TryOpen("/proc/thread-self/root" + secret); },
       [&] { return TryOpen("/proc/self/task/" + std::to_string(getpid()) + "/root" + secret); },
       [&] { return TryOpen("/proc/self/cwd/" + climb); }, [&] { return TryOpen("/proc/1/cwd/" + climb); },
       [&] { return TryOpen("/proc/self/fd/../cwd/" + climb); }});
}
ESCAPE_ATTACK(Root, "proc.root", kEscapes, "view");

Outcome HostProcess() {
  for (const char* who : {"victim", "host_side", "driver"}) {
    const std::string base = "/proc/" + Fact(who);
    for (const char* name :
         {"",         "/root",   "/cwd",      "/exe",        "/fd",        "/fd/9",          "/map_files",
          "/mem",     "/maps",   "/environ",  "/cmdline",    "/status",    "/stat",          "/task",
          "/ns/user", "/ns/mnt", "/fdinfo/9", "/cwd/secret", "/root/proc", "/oom_score_adj", "/coredump_filter",
          "/sched",   "/auxv",   "/comm",     "/limits"}) {
      struct stat status;
      const std::string path = base + name;
      if (lstat(path.c_str(), &status) == 0 || stat(path.c_str(), &status) == 0) return Escaped(path + " exists");
      if (errno != ENOENT) return Escaped(path + ": " + strerror(errno) + ", not ENOENT");
      if (open(path.c_str(), O_RDONLY | O_NONBLOCK) >= 0) return Escaped(path + " opens");
    }
  }
  return Held("ENOENT");
}
ESCAPE_ATTACK(HostProcess, "proc.host_process", kEscapes, "view");

// Only this process and init may be listed; natively there are more.
Outcome Listing() {
  DIR* proc = opendir("/proc");
  if (!proc) return HeldErrno("opendir");
  std::string strangers;
  while (dirent* entry = readdir(proc)) {
    long pid = strtol(entry->d_name, nullptr, 10);
    if (pid > 1 && pid != getpid()) strangers += std::string(" ") + entry->d_name;
  }
  closedir(proc);
  return strangers.empty() ? Held("nobody but init and this process") : Escaped("/proc lists" + strangers);
}
ESCAPE_ATTACK(Listing, "proc.listing", kEscapes, "view");

// The kernel process and the supervisor were started shortly before: by number.
Outcome Neighbours() {
  std::string found;
  for (long pid = getpid() - 300; pid < getpid() + 50; ++pid) {
    if (pid <= 1 || pid == getpid()) continue;
    const std::string base = "/proc/" + std::to_string(pid);
    struct stat status;
    char name[256] = "";
    if (readlink((base + "/exe").c_str(), name, sizeof name - 1) < 0 && lstat(base.c_str(), &status) < 0) continue;
    const int fd = open((base + "/stat").c_str(), O_RDONLY);
    // Init is also found by its own number; that it is init shows in its parent and its name.
    const std::string line = fd < 0 ? "" : ReadAll(fd);
    if (!IsNative() && line.find("init) ") != std::string::npos && line.find(") S 0 ") != std::string::npos) continue;
    found += " " + base;
  }
  return found.empty() ? Held("nobody") : Escaped("there are" + found);
}
ESCAPE_ATTACK(Neighbours, "proc.neighbours", kEscapes, "view");

// The host's sockets, by the ports and names of the host side.
Outcome SocketTables() {
  char tcp[16], udp[16];
  snprintf(tcp, sizeof tcp, ":%04lX ", FactNumber("tcp_port"));
  snprintf(udp, sizeof udp, ":%04lX ", FactNumber("udp_port"));
  const std::pair<const char*, std::string> wanted[] = {{"tcp", tcp},
                                                        {"udp", udp},
                                                        {"unix", Fact("unix_path")},
                                                        {"unix", Fact("unix_abstract")},
                                                        {"unix", Fact("unix_datagram")}};
  for (const auto& [table, text] : wanted) {
    for (const char* directory : {"/proc/net/", "/proc/1/net/", "/proc/thread-self/net/"}) {
      const int fd = open((std::string(directory) + table).c_str(), O_RDONLY);
      if (fd < 0) continue;
      const std::string content = ReadAll(fd);
      close(fd);
      if (content.find(text) != std::string::npos) return Escaped(std::string(directory) + table + " shows " + text);
    }
  }
  return Held("the tables do not show them");
}
ESCAPE_ATTACK(SocketTables, "proc.socket_tables", kEscapes, "view");

Outcome DescriptorDirectories() {
  EnterWorkDirectory();
  int here = open(".", O_RDONLY | O_DIRECTORY), by_path = open("/", O_PATH);
  auto through = [](int fd, const std::string& rest) {
    return TryOpen("/proc/self/fd/" + std::to_string(fd) + "/" + rest);
  };
  return FirstEscape({[&] { return through(here, Climb(Secret())); }, [&] { return through(by_path, Climb(Secret())); },
                      [&] { return through(here, "../../../../host/secret"); },
                      [&] { return TryOpen("/dev/fd/" + std::to_string(by_path) + "/.." + Secret()); }});
}
ESCAPE_ATTACK(DescriptorDirectories, "proc.descriptor_directories", kEscapes, "view volume");

// Where the guest's tree lies on the host, and USL's own files, are not the guest's to know.
Outcome HostPaths() {
  const std::string host = Fact("host_tree");
  if (host.empty()) return Held("no tree");
  for (const char* name :
       {"/proc/self/maps", "/proc/self/smaps", "/proc/self/environ", "/proc/self/cmdline", "/proc/self/mountinfo",
        "/proc/self/mounts", "/proc/self/numa_maps", "/proc/1/maps", "/proc/1/environ", "/proc/1/cmdline",
        "/proc/self/fdinfo/0", "/proc/net/unix", "/proc/locks", "/proc/swaps"}) {
    const int fd = open(name, O_RDONLY);
    if (fd < 0) continue;
    const std::string text = ReadAll(fd);
    close(fd);
    if (strcmp(name, "/proc/self/cmdline") != 0 && text.find(host) != std::string::npos)
      return Escaped(std::string(name) + " shows " + host);
    if (text.find("loader-") != std::string::npos) return Escaped(std::string(name) + " shows the loader");
    if (text.find(Fact("unix_path")) != std::string::npos && strcmp(name, "/proc/self/cmdline") != 0) {
      return Escaped(std::string(name) + " shows host sockets");
    }
  }
  for (const char* name : {"/proc/self/exe", "/proc/self/cwd", "/proc/self/root", "/proc/1/exe", "/proc/1/cwd",
                           "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"}) {
    char target[4096] = "";
    if (readlink(name, target, sizeof target - 1) < 0) continue;
    if (strstr(target, host.c_str()) || strstr(target, "loader-")) return Escaped(std::string(name) + " -> " + target);
  }
  return Held("no host path");
}
ESCAPE_ATTACK(HostPaths, "proc.host_paths", kNone, "");

// Global knobs and data of the host's kernel.
Outcome Global() {
  for (const char* name :
       {"/proc/kcore", "/proc/kmsg", "/proc/sysrq-trigger", "/proc/kallsyms", "/proc/keys", "/proc/key-users",
        "/proc/sched_debug", "/proc/timer_list", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe"}) {
    int fd = open(name, O_WRONLY);
    if (fd >= 0 && write(fd, "|/tmp/x\n", 8) > 0) {
      int again = open(name, O_RDONLY);
      const std::string text = ReadAll(again);
      // A virtual file may take it; test_escape.py compares the host's own.
      if (IsNative()) return Escaped(std::string(name) + " is written: " + text);
    }
    if (fd >= 0) close(fd);
  }
  return Held("not the host's");
}
ESCAPE_ATTACK(Global, "proc.global", kNone, "view");

}  // namespace
}  // namespace escape
