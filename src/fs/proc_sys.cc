// /proc/sys. Values are the host's where they tell what the host's kernel really does, constants where USL decides, and
// what a guest writes is kept here and changes nothing on the host.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/format.h"
#include "fs/procfs.h"
#include "fs/synthetic_mirror.h"

namespace usl::fs {
namespace {

constexpr size_t kMaxValue = 4096;  // of a sysctl, in bytes
constexpr size_t kMaxName = 64;     // __NEW_UTS_LEN

enum Source : uint8_t {
  kHost,      // the host's value; the text here when the host has no such file or keeps it from us
  kConstant,  // USL's own
};
struct Sysctl {
  const char* path;  // below /proc/sys
  Source source;
  const char* value;
  uint32_t permissions = 0644;
};

constexpr Sysctl kSysctls[] = {
    {"abi/vsyscall32", kConstant, "1"},
    {"debug/exception-trace", kConstant, "0"},
    {"dev/tty/legacy_tiocsti", kConstant, "0"},
    {"dev/tty/ldisc_autoload", kConstant, "0"},

    {"fs/aio-max-nr", kHost, "65536"},
    {"fs/aio-nr", kHost, "0", 0444},
    {"fs/dentry-state", kHost, "0\t0\t45\t0\t0\t0", 0444},
    {"fs/dentry-negative", kConstant, "0"},
    {"fs/dir-notify-enable", kConstant, "0"},
    {"fs/file-max", kHost, "9223372036854775807"},
    {"fs/file-nr", kHost, "0\t0\t9223372036854775807", 0444},
    {"fs/inode-nr", kHost, "0\t0", 0444},
    {"fs/inode-state", kHost, "0\t0\t0\t0\t0\t0\t0", 0444},
    {"fs/lease-break-time", kHost, "45"},
    {"fs/leases-enable", kConstant, "0"},
    {"fs/mount-max", kHost, "100000"},
    {"fs/nr_open", kHost, "1048576"},
    {"fs/overflowgid", kConstant, "65534"},
    {"fs/overflowuid", kConstant, "65534"},
    {"fs/pipe-max-size", kHost, "1048576"},
    {"fs/pipe-user-pages-hard", kHost, "0"},
    {"fs/pipe-user-pages-soft", kHost, "16384"},
    {"fs/protected_fifos", kConstant, nullptr, 0600},
    {"fs/protected_hardlinks", kConstant, nullptr, 0600},
    {"fs/protected_regular", kConstant, nullptr, 0600},
    {"fs/protected_symlinks", kConstant, nullptr, 0600},
    {"fs/suid_dumpable", kConstant, "0"},
    {"fs/epoll/max_user_watches", kHost, "1048576"},
    {"fs/fanotify/max_queued_events", kConstant, "16384"},
    {"fs/fanotify/max_user_groups", kConstant, "128"},
    {"fs/fanotify/max_user_marks", kConstant, "8192"},
    {"fs/inotify/max_queued_events", kHost, "16384"},
    {"fs/inotify/max_user_instances", kHost, "128"},
    {"fs/inotify/max_user_watches", kHost, "8192"},
    {"fs/mqueue/msg_default", kHost, "10"},
    {"fs/mqueue/msg_max", kHost, "10"},
    {"fs/mqueue/msgsize_default", kHost, "8192"},
    {"fs/mqueue/msgsize_max", kHost, "8192"},
    {"fs/mqueue/queues_max", kHost, "256"},

    {"kernel/acct", kConstant, "4\t2\t30"},
    {"kernel/arch", kConstant, "x86_64", 0444},
    {"kernel/auto_msgmni", kConstant, "0"},
    {"kernel/bpf_stats_enabled", kConstant, "0"},
    {"kernel/cad_pid", kConstant, "1", 0600},
    {"kernel/cap_last_cap", kConstant, "40", 0444},
    {"kernel/core_pattern", kConstant, "core"},
    {"kernel/core_pipe_limit", kConstant, "0"},
    {"kernel/core_uses_pid", kConstant, "0"},
    {"kernel/ctrl-alt-del", kConstant, "0"},
    {"kernel/dmesg_restrict", kConstant, "1"},
    {"kernel/hung_task_check_count", kHost, "4194304"},
    {"kernel/hung_task_timeout_secs", kHost, "120"},
    {"kernel/hung_task_warnings", kConstant, "10"},
    {"kernel/io_uring_group", kConstant, "-1"},
    {"kernel/io_uring_disabled", kConstant, "2"},
    {"kernel/keys/gc_delay", kConstant, "300"},
    {"kernel/keys/maxbytes", kConstant, "20000"},
    {"kernel/keys/maxkeys", kConstant, "200"},
    {"kernel/keys/root_maxbytes", kConstant, "25000000"},
    {"kernel/keys/root_maxkeys", kConstant, "1000000"},
    {"kernel/kptr_restrict", kConstant, "1"},
    {"kernel/modprobe", kConstant, "/sbin/modprobe"},
    {"kernel/modules_disabled", kConstant, "1"},
    {"kernel/msg_next_id", kConstant, "-1"},
    {"kernel/msgmax", kHost, "8192"},
    {"kernel/msgmnb", kHost, "16384"},
    {"kernel/msgmni", kHost, "32000"},
    {"kernel/ngroups_max", kHost, "65536", 0444},
    {"kernel/nmi_watchdog", kConstant, "0"},
    {"kernel/numa_balancing", kHost, "0"},
    {"kernel/osrelease", kConstant, nullptr, 0444},  // see Special()
    {"kernel/ostype", kConstant, "Linux", 0444},
    {"kernel/overflowgid", kConstant, "65534"},
    {"kernel/overflowuid", kConstant, "65534"},
    {"kernel/panic", kConstant, "0"},
    {"kernel/panic_on_oops", kConstant, "0"},
    {"kernel/panic_on_warn", kConstant, "0"},
    {"kernel/perf_cpu_time_max_percent", kConstant, "25"},
    {"kernel/perf_event_max_stack", kConstant, "127"},
    {"kernel/perf_event_paranoid", kConstant, "3"},
    {"kernel/perf_event_max_sample_rate", kHost, "100000"},
    {"kernel/perf_event_mlock_kb", kHost, "516"},
    {"kernel/pid_max", kHost, "4194304"},
    {"kernel/poweroff_cmd", kConstant, "/sbin/poweroff"},
    {"kernel/print-fatal-signals", kConstant, "0"},
    {"kernel/printk", kConstant, "4\t4\t1\t7"},
    {"kernel/printk_ratelimit", kConstant, "5"},
    {"kernel/printk_delay", kConstant, "0"},
    {"kernel/printk_devkmsg", kConstant, "on"},
    {"kernel/printk_ratelimit_burst", kConstant, "10"},
    {"kernel/pty/max", kHost, "4096"},
    {"kernel/pty/nr", kHost, "0", 0444},
    {"kernel/pty/reserve", kHost, "1024"},
    {"kernel/random/boot_id", kConstant, nullptr, 0444},
    {"kernel/random/entropy_avail", kHost, "256", 0444},
    {"kernel/random/poolsize", kHost, "256", 0444},
    {"kernel/random/urandom_min_reseed_secs", kHost, "60"},
    {"kernel/random/uuid", kConstant, nullptr, 0444},
    {"kernel/random/write_wakeup_threshold", kHost, "256"},
    {"kernel/randomize_va_space", kHost, "2"},
    {"kernel/real-root-dev", kConstant, "0"},
    {"kernel/sched_autogroup_enabled", kHost, "0"},
    {"kernel/sched_child_runs_first", kHost, "0"},
    {"kernel/sched_cfs_bandwidth_slice_us", kHost, "5000"},
    {"kernel/sched_deadline_period_max_us", kHost, "4194304"},
    {"kernel/sched_deadline_period_min_us", kHost, "100"},
    {"kernel/sched_rr_timeslice_ms", kHost, "100"},
    {"kernel/sched_rt_period_us", kHost, "1000000"},
    {"kernel/sched_rt_runtime_us", kHost, "950000"},
    {"kernel/seccomp/actions_avail", kHost, "kill_process kill_thread trap errno user_notif trace log allow", 0444},
    {"kernel/seccomp/actions_logged", kHost, "kill_process kill_thread trap errno user_notif trace log"},
    {"kernel/sem", kHost, "32000\t1024000000\t500\t32000"},
    {"kernel/sem_next_id", kConstant, "-1"},
    {"kernel/shm_next_id", kConstant, "-1"},
    {"kernel/shm_rmid_forced", kConstant, "0"},
    {"kernel/shmall", kHost, "18446744073692774399"},
    {"kernel/shmmax", kHost, "18446744073692774399"},
    {"kernel/shmmni", kHost, "4096"},
    {"kernel/soft_watchdog", kConstant, "0"},
    {"kernel/sysctl_writes_strict", kConstant, "1"},
    {"kernel/sysrq", kConstant, "0"},
    {"kernel/tainted", kConstant, "0"},
    {"kernel/task_delayacct", kConstant, "0"},
    {"kernel/threads-max", kHost, "127000"},
    {"kernel/timer_migration", kHost, "1"},
    {"kernel/unprivileged_bpf_disabled", kConstant, "2"},
    {"kernel/unprivileged_userns_clone", kConstant, "0"},
    {"kernel/version", kConstant, nullptr, 0444},
    {"kernel/warn_limit", kConstant, "0"},
    {"kernel/watchdog", kConstant, "0"},
    {"kernel/watchdog_thresh", kConstant, "10"},
    // What the host enforces natively.
    {"kernel/yama/ptrace_scope", kHost, "0"},

    {"user/max_cgroup_namespaces", kConstant, "0"},
    {"user/max_inotify_instances", kHost, "128"},
    {"user/max_inotify_watches", kHost, "8192"},
    {"user/max_ipc_namespaces", kConstant, "0"},
    {"user/max_mnt_namespaces", kHost, "63000"},
    {"user/max_net_namespaces", kConstant, "0"},
    {"user/max_pid_namespaces", kConstant, "0"},
    {"user/max_time_namespaces", kConstant, "0"},
    {"user/max_user_namespaces", kConstant, "0"},
    {"user/max_uts_namespaces", kHost, "63000"},

    {"vm/admin_reserve_kbytes", kHost, "8192"},
    {"vm/compact_memory", kConstant, "", 0200},
    {"vm/compact_unevictable_allowed", kHost, "1"},
    {"vm/compaction_proactiveness", kHost, "20"},
    {"vm/dirty_background_bytes", kHost, "0"},
    {"vm/dirty_background_ratio", kHost, "10"},
    {"vm/dirty_bytes", kHost, "0"},
    {"vm/dirty_expire_centisecs", kHost, "3000"},
    {"vm/dirty_ratio", kHost, "20"},
    {"vm/dirty_writeback_centisecs", kHost, "500"},
    {"vm/dirtytime_expire_seconds", kHost, "43200"},
    {"vm/drop_caches", kConstant, "0", 0200},
    {"vm/extfrag_threshold", kHost, "500"},
    {"vm/hugetlb_shm_group", kConstant, "0"},
    {"vm/laptop_mode", kConstant, "0"},
    {"vm/legacy_va_layout", kHost, "0"},
    {"vm/lowmem_reserve_ratio", kHost, "256\t256\t32\t0\t0"},
    {"vm/max_map_count", kHost, "65530"},
    {"vm/memfd_noexec", kHost, "0"},
    {"vm/min_free_kbytes", kHost, "67584"},
    {"vm/min_slab_ratio", kHost, "5"},
    {"vm/min_unmapped_ratio", kHost, "1"},
    {"vm/mmap_min_addr", kHost, "65536"},
    {"vm/mmap_rnd_bits", kHost, "28"},
    {"vm/mmap_rnd_compat_bits", kHost, "8"},
    {"vm/nr_hugepages", kHost, "0"},
    {"vm/nr_hugepages_mempolicy", kHost, "0"},
    {"vm/nr_overcommit_hugepages", kHost, "0"},
    {"vm/numa_stat", kHost, "1"},
    {"vm/numa_zonelist_order", kConstant, "Node"},
    {"vm/oom_dump_tasks", kHost, "1"},
    {"vm/oom_kill_allocating_task", kHost, "0"},
    {"vm/overcommit_kbytes", kHost, "0"},
    {"vm/overcommit_memory", kHost, "0"},
    {"vm/overcommit_ratio", kHost, "50"},
    {"vm/page-cluster", kHost, "3"},
    {"vm/page_lock_unfairness", kHost, "5"},
    {"vm/panic_on_oom", kConstant, "0"},
    {"vm/percpu_pagelist_high_fraction", kHost, "0"},
    {"vm/stat_interval", kHost, "1"},
    {"vm/swappiness", kHost, "60"},
    {"vm/unprivileged_userfaultfd", kConstant, "0"},
    {"vm/user_reserve_kbytes", kHost, "131072"},
    {"vm/vfs_cache_pressure", kHost, "100"},
    {"vm/watermark_boost_factor", kHost, "15000"},
    {"vm/watermark_scale_factor", kHost, "10"},
    {"vm/zone_reclaim_mode", kHost, "0"},
};

std::string RandomUuid() {
  std::string hex = SyntheticInstance::MakeSecret();
  hex[12] = '4';  // version
  hex[16] = "89ab"[(hex[16] >= 'a' ? hex[16] - 'a' + 10 : hex[16] - '0') & 3];
  return format("{}-{}-{}-{}-{}", hex.substr(0, 8), hex.substr(8, 4), hex.substr(12, 4), hex.substr(16, 4),
                hex.substr(20));
}

std::string_view FirstLine(std::string_view data) {
  return data.substr(0, data.find_first_of(std::string_view("\n\0", 2)));
}

// sysctl's own rule is no capability but the file's mode; root's values matter to all, so ask for CAP_SYS_ADMIN too.
Result<void> StoreValue(ProcFs& proc, const std::string& path, const WriterContext& writer, std::string_view data) {
  if (!writer.credentials.Has(CAP_SYS_ADMIN) && !writer.credentials.Has(CAP_NET_ADMIN)) return Fail(EPERM);
  const std::string_view value = FirstLine(data);
  if (value.size() >= kMaxValue) return Fail(EINVAL);
  proc.sysctls().insert_or_assign(path, std::string(value) + "\n");
  static constexpr std::string_view kTop = "/sys/";
  if (path.starts_with(kTop)) proc.guests().SysctlWritten(std::string_view(path).substr(kTop.size()), value);
  return {};
}

void AddTableFile(ProcFs& proc, StaticDirectory& directory, const std::string& name, const Sysctl& sysctl) {
  const std::string path = directory.ChildPath(name);
  auto read = [&proc, path, &sysctl](const vfs::Context&) -> Result<std::string> {
    if (auto kept = proc.guests().SysctlValue(sysctl.path)) return *kept + "\n";
    const auto stored = proc.sysctls().find(path);
    if (stored != proc.sysctls().end()) return stored->second;
    if (sysctl.source == kHost) {
      auto host = ReadHostFile(AT_FDCWD, format("/proc/sys/{}", sysctl.path).c_str());
      if (host) return *std::move(host);
    }
    return format("{}\n", sysctl.value);
  };
  GeneratedFile::Writer write;
  if (sysctl.permissions & 0200) {
    write = [&proc, path](const WriterContext& writer, std::string_view data) {
      return StoreValue(proc, path, writer, data);
    };
  }
  directory.AddFile(name, sysctl.permissions, std::move(read), std::move(write));
}

// fs.protected_*: the VFS's own settings.
bool AddProtection(ProcFs& proc, StaticDirectory& directory, const std::string& name, std::string_view path) {
  struct Setting {
    std::string_view path;
    int vfs::Protection::*member;
    int most;
  };
  static constexpr Setting kSettings[] = {{"fs/protected_fifos", &vfs::Protection::fifos, 2},
                                          {"fs/protected_hardlinks", &vfs::Protection::hardlinks, 1},
                                          {"fs/protected_regular", &vfs::Protection::regular, 2},
                                          {"fs/protected_symlinks", &vfs::Protection::symlinks, 1}};
  const Setting* setting = std::ranges::find(kSettings, path, &Setting::path);
  if (setting == std::end(kSettings)) return false;
  directory.AddFile(
      name, 0600,
      [&proc, setting](const vfs::Context&) -> Result<std::string> {
        const vfs::Protection* protection = proc.guests().FileProtection();
        return format("{}\n", protection ? protection->*setting->member : 0);
      },
      [&proc, setting](const WriterContext& writer, std::string_view data) -> Result<void> {
        if (!writer.credentials.Has(CAP_SYS_ADMIN)) return Fail(EPERM);
        const std::string_view text = FirstLine(data);
        vfs::Protection* protection = proc.guests().FileProtection();
        // One digit is all that there is.
        if (!protection || text.size() != 1 || text[0] < '0' || text[0] > '0' + setting->most) return Fail(EINVAL);
        protection->*setting->member = text[0] - '0';
        return {};
      });
  return true;
}

// Those that a function answers.
bool AddSpecial(ProcFs& proc, StaticDirectory& directory, const std::string& name, std::string_view path) {
  if (AddProtection(proc, directory, name, path)) return true;
  GeneratedFile::Reader read;
  if (path == "kernel/osrelease") {
    read = [&proc](const vfs::Context& c) { return proc.guests().UtsNames(c.thread_group).release + "\n"; };
  } else if (path == "kernel/version") {
    read = [&proc](const vfs::Context& c) { return proc.guests().UtsNames(c.thread_group).version + "\n"; };
  } else if (path == "kernel/random/uuid") {
    read = [](const vfs::Context&) { return RandomUuid() + "\n"; };
  } else if (path == "kernel/random/boot_id") {
    // One for each start of the instance: that is its boot.
    read = [id = RandomUuid() + "\n"](const vfs::Context&) { return id; };
  } else {
    return false;
  }
  directory.AddFile(name, 0444, std::move(read));
  return true;
}

void AddUtsNames(ProcFs& proc, StaticDirectory& kernel) {
  const auto checked = [&proc](auto set) {
    return [&proc, set](const WriterContext& writer, std::string_view data) -> Result<void> {
      if (!writer.credentials.Has(CAP_SYS_ADMIN)) return Fail(EPERM);
      return (proc.guests().*set)(writer.thread_group, FirstLine(data).substr(0, kMaxName));
    };
  };
  kernel.AddFile(
      "hostname", 0644,
      [&proc](const vfs::Context& c) { return proc.guests().UtsNames(c.thread_group).host_name + "\n"; },
      checked(&ProcSource::SetHostName));
  kernel.AddFile(
      "domainname", 0644,
      [&proc](const vfs::Context& c) { return proc.guests().UtsNames(c.thread_group).domain_name + "\n"; },
      checked(&ProcSource::SetDomainName));
}

// Root's own of the host (secrets, keys of TCP Fast Open): USL cannot read them, and has no other value to show.
bool IsKeptFromUs(const std::string& host_path) {
  struct stat status;
  if (stat(host_path.c_str(), &status) != 0) return true;
  return (status.st_mode & 0444) != 0 && faccessat(AT_FDCWD, host_path.c_str(), R_OK, AT_EACCESS) != 0;
}

// net/: a mirror of the host's, as interfaces come and go.
const MirrorPolicy& NetPolicy(ProcFs& proc) {
  static constexpr std::string_view kRoot = "/proc/sys/net/";
  proc.net_policy() = MirrorPolicy{
      .visible =
          [&proc](std::string_view host_path) {
            const std::string full_path(host_path);
            host_path.remove_prefix(std::min(kRoot.size(), host_path.size()));
            const std::string_view top = host_path.substr(0, host_path.find('/'));
            const bool shown =
                top == "core" || top == "unix" || ((top == "ipv4" || top == "ipv6") && proc.guests().HasNetwork());
            return shown && !IsKeptFromUs(full_path);
          },
      .replacement = [&proc](const std::string& path) -> const std::string* {
        const auto found = proc.sysctls().find(path);
        return found == proc.sysctls().end() ? nullptr : &found->second;
      },
      .write = [&proc](const std::string& path, const WriterContext& writer,
                       std::string_view data) { return StoreValue(proc, path, writer, data); },
  };
  return proc.net_policy();
}

}  // namespace

void AddSysctls(ProcFs& proc, StaticDirectory& sys) {
  std::map<std::string, Ref<StaticDirectory>> directories;
  const auto directory_of = [&](std::string_view path) {
    Ref<StaticDirectory> directory(&sys);
    for (size_t slash = path.find('/'); slash != std::string_view::npos; slash = path.find('/', slash + 1)) {
      const std::string prefix(path.substr(0, slash));
      Ref<StaticDirectory>& next = directories[prefix];
      if (!next) next = directory->AddDirectory(prefix.substr(prefix.rfind('/') + 1));
      directory = next;
    }
    return directory;
  };
  for (const Sysctl& sysctl : kSysctls) {
    const std::string_view path = sysctl.path;
    const Ref<StaticDirectory> directory = directory_of(path);
    const std::string name(path.substr(path.rfind('/') + 1));
    if (!AddSpecial(proc, *directory, name, path)) AddTableFile(proc, *directory, name, sysctl);
  }
  AddUtsNames(proc, *directory_of("kernel/"));
  directory_of("fs/")->AddDirectory("binfmt_misc");  // a mount point
  sys.Add("net", MakeRef<MirrorDirectory>(proc, sys.ChildPath("net"), "/proc/sys/net", NetPolicy(proc)));
}

}  // namespace usl::fs
