#include "fs/cgroupfs.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <unistd.h>

#include <cstdio>

#include "base/format.h"
#include "fs/synthetic_directory.h"

namespace usl::fs {
namespace {

pid_t Shown(ProcSource& source, pid_t pid) {
  return pid == source.InitPid() ? 1 : pid;
}

std::string ListProcesses(ProcSource& source) {
  std::string out;
  for (const pid_t pid : source.Processes()) out += format("{}\n", Shown(source, pid));
  return out;
}

// Resident memory of all processes: what the host would charge the group with, but for the page cache.
uint64_t ResidentBytes(ProcSource& source) {
  uint64_t pages = 0;
  for (const pid_t pid : source.Processes()) {
    const auto text = ReadHostFile(AT_FDCWD, format("/proc/{}/statm", pid).c_str(), 256);
    unsigned long total = 0, resident = 0, shared = 0;
    if (text && sscanf(text->c_str(), "%lu %lu %lu", &total, &resident, &shared) == 3) pages += resident - shared;
  }
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

constexpr std::pair<const char*, const char*> kTexts[] = {
    {"cgroup.controllers", "cpu memory pids\n"},
    {"cgroup.events", "populated 1\nfrozen 0\n"},
    {"cgroup.freeze", "0\n"},
    {"cgroup.max.depth", "max\n"},
    {"cgroup.max.descendants", "max\n"},
    {"cgroup.stat", "nr_descendants 0\nnr_dying_descendants 0\n"},
    {"cgroup.subtree_control", "\n"},
    {"cgroup.type", "domain\n"},
    {"cpu.max", "max 100000\n"},
    {"cpu.weight", "100\n"},
    {"memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n"},
    {"memory.high", "max\n"},
    {"memory.low", "0\n"},
    {"memory.max", "max\n"},
    {"memory.min", "0\n"},
    {"memory.swap.current", "0\n"},
    {"memory.swap.max", "max\n"},
    {"pids.max", "max\n"},
};

void Build(StaticDirectory& root, ProcSource& source) {
  for (const auto& [name, text] : kTexts) root.AddText(name, text);
  // Whoever is put into the group is there already.
  const auto accept = [](const WriterContext&, std::string_view) { return Result<void>(); };
  for (const char* name : {"cgroup.procs", "cgroup.threads"}) {
    root.AddFile(
        name, 0644, [&source](const vfs::Context&) { return ListProcesses(source); }, accept);
  }
  root.AddFile("memory.current", 0444,
               [&source](const vfs::Context&) { return format("{}\n", ResidentBytes(source)); });
  root.AddFile("pids.current", 0444,
               [&source](const vfs::Context&) { return format("{}\n", source.Processes().size()); });
  for (const char* name : {"cpuset.cpus.effective", "cpuset.mems.effective"}) {
    const bool cpus = std::string_view(name).starts_with("cpuset.cpus");
    root.AddHostCopy(name, cpus ? "/sys/devices/system/cpu/online" : "/sys/devices/system/node/online");
  }
}

}  // namespace

CgroupFs::CgroupFs(const SyntheticInstance& instance) : SyntheticFileSystem("cgroup2", CGROUP2_SUPER_MAGIC, instance) {}

Ref<CgroupFs> CgroupFs::Create(ProcSource& source, const SyntheticInstance& instance) {
  auto cgroup = MakeRef<CgroupFs>(instance);
  auto root = MakeRef<StaticDirectory>(*cgroup, "/");
  Build(*root, source);
  cgroup->SetRoot(root);
  return cgroup;
}

}  // namespace usl::fs
