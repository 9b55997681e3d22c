// The files of /proc that belong to no process.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>

#include "base/format.h"
#include "fs/proc_text.h"
#include "fs/procfs.h"

namespace usl::fs {
namespace {

// What mount(2) knows here.
constexpr const char* kFileSystems =
    "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tcgroup2\nnodev\tdevtmpfs\nnodev\tbinfmt_misc\nnodev\tmqueue\n"
    "nodev\tdevpts\nnodev\tramfs\nnodev\tdrvfs\nnodev\tvolfs\n";

constexpr const char* kDevices =
    "Character devices:\n  1 mem\n  4 tty\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n 10 misc\n128 ptm\n136 pts\n"
    "\nBlock devices:\n";

constexpr const char* kTtyDrivers =
    "/dev/tty             /dev/tty        5       0 system:/dev/tty\n"
    "/dev/console         /dev/console    5       1 system:console\n"
    "/dev/ptmx            /dev/ptmx       5       2 system\n"
    "pty_slave            /dev/pts      136 0-1048575 pty:slave\n"
    "pty_master           /dev/ptm      128 0-1048575 pty:master\n";

constexpr const char* kShmHeader =
    "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime"
    "      ctime                   rss                  swap\n";
constexpr const char* kMessageHeader =
    "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime"
    "      ctime\n";
constexpr const char* kSemaphoreHeader =
    "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n";

void AddSysvFile(ProcFs& proc, StaticDirectory& directory, std::string_view name, const char* header, SysvKind kind) {
  directory.AddFile(name, 0444, [&proc, header, kind](const vfs::Context&) {
    std::string out = header;
    for (const std::string& line : proc.guests().SysvObjects(kind)) out += line + "\n";
    return out;
  });
}

// Only locks of the instance's processes: the fifth field is the holder, 0 or -1 for OFD locks, which tell no owner.
std::string ReadLocks(ProcFs& proc) {
  const auto host = ReadHostFile(AT_FDCWD, "/proc/locks");
  std::string out;
  if (!host) return out;
  ForEachLine(*host, [&](std::string_view line) {
    std::string_view rest = line;
    for (int field = 0; field < 4; ++field) {
      rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
      if (rest.starts_with("->")) --field;  // a blocked one has an arrow in front
      rest.remove_prefix(std::min(rest.find(' '), rest.size()));
    }
    const pid_t pid = static_cast<pid_t>(strtol(std::string(rest.substr(0, 16)).c_str(), nullptr, 10));
    if (pid > 0 && proc.guests().HasProcess(pid)) out += format("{}\n", line);
  });
  return out;
}

// Reading takes from the log (syslog(2)'s SYSLOG_ACTION_READ), so it is no copy.
class KernelLogFile final : public SyntheticInode {
 public:
  explicit KernelLogFile(ProcFs& proc) : SyntheticInode(proc, "/kmsg", S_IFREG | 0400), proc_(proc) {}

  Result<UniqueFd> Open(int flags, const vfs::Context& context) override {
    if (flags & O_PATH) return Fail(EOPNOTSUPP);
    if ((flags & O_ACCMODE) != O_RDONLY) return Fail(EACCES);
    if (!context.credentials.Has(CAP_SYSLOG)) return Fail(EPERM);
    return proc_.guests().OpenKernelLog(flags);
  }

 private:
  ProcFs& proc_;
};

}  // namespace

void AddSystemFiles(ProcFs& proc, StaticDirectory& root) {
  // Uptime, boot time and the processes' start times are the host's, all of them: clock_gettime(CLOCK_BOOTTIME) is
  // native and would contradict anything else.
  for (const char* name : {"cpuinfo", "meminfo", "stat", "loadavg", "uptime", "vmstat", "zoneinfo", "buddyinfo",
                           "interrupts", "softirqs", "crypto", "schedstat"}) {
    root.AddHostFile(name, format("/proc/{}", name));
  }
  root.AddFile("version", 0444, [&proc](const vfs::Context& context) {
    const ProcSource::Uts uts = proc.guests().UtsNames(context.thread_group);
    return format("Linux version {} (usl@usl) (gcc) {}\n", uts.release, uts.version);
  });
  root.AddSymlink("mounts", "self/mounts");
  root.AddSymlink("net", "self/net");
  root.AddFile("filesystems", 0444, [&proc](const vfs::Context&) {
    std::string known = proc.guests().FileSystems();
    return known.empty() ? std::string(kFileSystems) : known;
  });
  root.AddText("cmdline", "usl\n");
  root.AddText("devices", kDevices);
  root.AddText("partitions", "major minor  #blocks  name\n\n");
  root.AddText("diskstats", "");
  root.AddText("swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
  root.AddText("modules", "");
  root.AddText("kallsyms", "");
  root.AddText("cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\n");
  root.AddText("execdomains", "0-0\tLinux           \t[kernel]\n");
  root.AddFile("keys", 0444, [&proc](const vfs::Context& context) { return proc.guests().Keys(context); });
  root.AddFile("key-users", 0444, [&proc](const vfs::Context&) { return proc.guests().KeyUsers(); });
  root.AddText("misc", "");
  root.AddText("consoles", "");
  root.AddText("fb", "");
  // What tells of the machine's hardware and kernel shows as Linux shows it to whom it must not tell.
  root.AddText("iomem", "00000000-00000000 : System RAM\n");
  root.AddText("ioports", "0000-0000 : PCI Bus 0000:00\n");
  root.AddText("dma", " 4: cascade\n");
  root.AddText(
      "slabinfo",
      "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : "
      "tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n",
      0400);
  root.AddText("vmallocinfo", "", 0400);
  root.AddText("pagetypeinfo", "", 0400);
  root.AddFile(
      "sysrq-trigger", 0200, [](const vfs::Context&) { return std::string(); },
      [](const WriterContext&, std::string_view) { return Result<void>(); });
  root.Add("kmsg", MakeRef<KernelLogFile>(proc));
  root.AddFile("locks", 0444, [&proc](const vfs::Context&) { return ReadLocks(proc); });

  const auto pressure = root.AddDirectory("pressure");
  for (const char* name : {"cpu", "io", "memory"}) pressure->AddHostFile(name, format("/proc/pressure/{}", name));
  const auto tty = root.AddDirectory("tty");
  tty->AddText("drivers", kTtyDrivers);
  tty->AddText("ldiscs", "n_tty       0\n");
  const auto sysv = root.AddDirectory("sysvipc");
  AddSysvFile(proc, *sysv, "shm", kShmHeader, SysvKind::kShm);
  AddSysvFile(proc, *sysv, "msg", kMessageHeader, SysvKind::kMessage);
  AddSysvFile(proc, *sysv, "sem", kSemaphoreHeader, SysvKind::kSemaphore);
  for (const char* name : {"bus", "driver", "fs"}) root.AddDirectory(name);
}

}  // namespace usl::fs
