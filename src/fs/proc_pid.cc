#include "fs/proc_pid.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <span>

#include "base/format.h"
#include "fs/proc_text.h"

namespace usl::fs {
namespace {

enum class EntryKind {
  kText,     // `read` makes it
  kHost,     // the host's file, donated with the rights asked for: content and writes are native
  kRefused,  // is there and opens for nobody (EACCES)
  kExe,
  kCwd,
  kRoot,
  kFd,
  kFdInfo,
  kNs,
  kNet,
  kTask,
};

enum EntryPlace { kBoth, kProcessOnly, kThreadOnly };

struct PidEntry {
  std::string_view name;
  uint32_t mode;
  EntryKind kind;
  EntryPlace place = kBoth;
  ProcAccess access = ProcAccess::kAny;
  ProcTextReader read = nullptr;
  ProcTextWriter write = nullptr;
};

template <size_t N>
struct FixedText {
  char text[N];
  constexpr FixedText(const char (&value)[N]) { std::copy_n(value, N, text); }  // NOLINT: a literal
};
template <FixedText kText>
Result<std::string> Constant(const ProcRead&) {
  return std::string(kText.text);
}

// Writes that change nothing here but must succeed (pam_loginuid, newuidmap's check).
Result<void> IgnoreWrite(ProcFs&, const ProcTarget&, const WriterContext&, std::string_view) {
  return {};
}

constexpr uint32_t kReg = S_IFREG, kDir = S_IFDIR, kLnk = S_IFLNK;
using enum EntryKind;
using enum ProcAccess;

// mem: a debugger's way to memory. The host refuses what matters even through it: the pico page is a shared mapping of
// a sealed file. Attach permission is the guest's, and nobody attaches while an exec is pending. map_files stays out:
// it would show the host's names; attr, too, as the host's security modules are not shown.
constexpr PidEntry kEntries[] = {
    {"task", kDir | 0555, kTask, kProcessOnly},
    {"fd", kDir | 0500, kFd},
    {"fdinfo", kDir | 0555, kFdInfo},
    {"ns", kDir | 0511, kNs},
    {"net", kDir | 0555, kNet},
    {"environ", kReg | 0400, kHost, kBoth, kRead},
    {"auxv", kReg | 0400, kText, kBoth, kRead, ReadProcAuxv},
    {"status", kReg | 0444, kText, kBoth, kAny, ReadProcStatus},
    {"personality", kReg | 0400, kHost, kBoth, kAttach},
    {"limits", kReg | 0444, kText, kBoth, kAny, ReadProcLimits},
    {"sched", kReg | 0644, kHost},
    {"autogroup", kReg | 0444, kHost, kProcessOnly},
    {"comm", kReg | 0644, kHost},
    {"syscall", kReg | 0400, kText, kBoth, kAttach, ReadProcSyscall},
    {"cmdline", kReg | 0444, kText, kBoth, kAny, ReadProcCmdline},
    {"stat", kReg | 0444, kText, kBoth, kAny, ReadProcStat},
    {"statm", kReg | 0444, kHost},
    {"maps", kReg | 0444, kText, kBoth, kRead, ReadProcMaps},
    {"children", kReg | 0444, kText, kThreadOnly, kAny, ReadProcChildren},
    {"numa_maps", kReg | 0444, kText, kBoth, kRead, ReadProcNumaMaps},
    {"mem", kReg | 0600, kHost, kBoth, kAttach},
    {"cwd", kLnk | 0777, kCwd},
    {"root", kLnk | 0777, kRoot},
    {"exe", kLnk | 0777, kExe},
    {"mounts", kReg | 0444, kText, kBoth, kAny, ReadProcMounts},
    {"mountinfo", kReg | 0444, kText, kBoth, kAny, ReadProcMountInfo},
    {"mountstats", kReg | 0400, kText, kProcessOnly, kAny, ReadProcMountStats},
    // Without capabilities the host shows no physical addresses in it.
    {"pagemap", kReg | 0400, kHost, kBoth, kRead},
    {"timers", kReg | 0444, kHost, kProcessOnly},
    {"clear_refs", kReg | 0200, kHost, kBoth, kRead},
    {"smaps", kReg | 0444, kText, kBoth, kRead, ReadProcSmaps},
    {"smaps_rollup", kReg | 0444, kText, kBoth, kRead, ReadProcSmapsRollup},
    {"wchan", kReg | 0444, kHost},
    {"stack", kReg | 0400, kRefused},
    {"schedstat", kReg | 0444, kHost},
    {"cpuset", kReg | 0444, kText, kBoth, kAny, Constant<"/\n">},
    {"cgroup", kReg | 0444, kText, kBoth, kAny, Constant<"0::/\n">},
    {"oom_score", kReg | 0444, kHost},
    {"oom_adj", kReg | 0644, kText, kBoth, kAny, ReadProcOomAdj, WriteProcOomAdj},
    {"oom_score_adj", kReg | 0644, kText, kBoth, kAny, ReadProcOomScoreAdj, WriteProcOomScoreAdj},
    {"loginuid", kReg | 0644, kText, kBoth, kAny, Constant<"4294967295">, IgnoreWrite},
    {"sessionid", kReg | 0444, kText, kBoth, kAny, Constant<"4294967295">},
    {"coredump_filter", kReg | 0644, kHost, kProcessOnly},
    {"io", kReg | 0400, kHost, kBoth, kRead},
    {"uid_map", kReg | 0644, kText, kBoth, kAny, Constant<"         0          0 4294967295\n">},
    {"gid_map", kReg | 0644, kText, kBoth, kAny, Constant<"         0          0 4294967295\n">},
    {"projid_map", kReg | 0644, kText, kBoth, kAny, Constant<"         0          0 4294967295\n">},
    {"setgroups", kReg | 0644, kText, kBoth, kAny, Constant<"allow\n">},
    {"timens_offsets", kReg | 0644, kText, kProcessOnly, kAny,
     Constant<"monotonic           0         0\nboottime            0         0\n">},
    {"timerslack_ns", kReg | 0666, kHost, kProcessOnly},
};

class PidText final : public SyntheticFile, public ProcBound {
 public:
  PidText(ProcFs& proc, std::string path, const ProcId& id, const PidEntry& entry)
      : SyntheticFile(proc, std::move(path), entry.mode), ProcBound(proc, id), entry_(entry) {}

  Result<void> CheckOpen(int, const vfs::Context& context) override {
    USL_TRY_VOID(CheckedTarget(context, entry_.access));
    return {};
  }
  Result<std::string> Read(const vfs::Context& context) override {
    const ProcTarget target = USL_TRY(Target());
    return entry_.read(ProcRead{proc(), target, context});
  }
  Result<void> Write(const WriterContext& writer, std::string_view data) override {
    const ProcTarget target = USL_TRY(Target());
    return entry_.write(proc(), target, writer, data);
  }
  bool IsWritable() const override { return entry_.write != nullptr; }

 protected:
  void FillOwner(vfs::Attributes& attributes) override { FillProcOwner(attributes); }

 private:
  const PidEntry& entry_;
};

// The host's own file of the process. It keeps belonging to that process, whoever gets its number later.
class PidHostFile final : public SyntheticInode, public ProcBound {
 public:
  PidHostFile(ProcFs& proc, std::string path, const ProcId& id, const PidEntry& entry)
      : SyntheticInode(proc, std::move(path), entry.mode), ProcBound(proc, id), entry_(entry) {}

  Result<UniqueFd> Open(int flags, const vfs::Context& context) override {
    if (flags & O_PATH) return Fail(EOPNOTSUPP);
    const int access = flags & O_ACCMODE;
    if (access != O_RDONLY && !(entry_.mode & 0200)) return Fail(EACCES);
    if (entry_.kind == kRefused) return Fail(EACCES);
    const ProcTarget target = USL_TRY(CheckedTarget(context, entry_.access));
    const std::string name(entry_.name);
    UniqueFd fd(openat(target.host.get(), name.c_str(), access | (flags & O_APPEND) | O_CLOEXEC | O_NOCTTY));
    if (!fd) return FailErrno();
    return fd;
  }

 protected:
  void FillOwner(vfs::Attributes& attributes) override { FillProcOwner(attributes); }

 private:
  const PidEntry& entry_;
};

class TaskDirectory;

class PidDirectory final : public SyntheticDirectory, public ProcBound {
 public:
  PidDirectory(ProcFs& proc, std::string path, const ProcId& id)
      : SyntheticDirectory(proc, std::move(path)), ProcBound(proc, id) {}

  Result<Ref<vfs::Inode>> Lookup(std::string_view name, const vfs::Context&) override {
    const auto entry = std::ranges::find(kEntries, name, &PidEntry::name);
    if (entry == std::end(kEntries) || !Has(*entry)) return Fail(ENOENT);
    if (!Target()) return Fail(ESRCH);
    const std::string child = ChildPath(name);
    return ReuseOrMake(proc(), child, id(), [&] { return Make(*entry, child); });
  }
  bool CacheableNames() const override { return false; }
  Result<vfs::Attributes> GetAttributes() override {
    vfs::Attributes attributes = USL_TRY(SyntheticDirectory::GetAttributes());
    attributes.nlink = id().of_thread ? 7 : 8;
    return attributes;
  }

 protected:
  void FillOwner(vfs::Attributes& attributes) override { FillProcOwner(attributes); }
  Result<std::vector<SyntheticEntry>> List() override {
    if (!Target()) return Fail(ENOENT);
    std::vector<SyntheticEntry> entries;
    int64_t position = kFirstPosition;
    for (const PidEntry& entry : kEntries) {
      if (Has(entry)) entries.push_back({std::string(entry.name), DirectoryType(entry.mode), position});
      ++position;
    }
    return entries;
  }

 private:
  bool Has(const PidEntry& entry) const {
    return entry.place == kBoth || (entry.place == kThreadOnly) == id().of_thread;
  }
  Ref<vfs::Inode> Make(const PidEntry& entry, const std::string& child);
};

class TaskDirectory final : public SyntheticDirectory, public ProcBound {
 public:
  TaskDirectory(ProcFs& proc, std::string path, const ProcId& id)
      : SyntheticDirectory(proc, std::move(path)), ProcBound(proc, id) {}

  Result<Ref<vfs::Inode>> Lookup(std::string_view name, const vfs::Context&) override {
    const auto number = ParseProcNumber(name);
    if (!number) return Fail(ENOENT);
    const pid_t tid = *number == 1 && id().pid == proc().guests().InitPid() ? id().pid : *number;
    const ProcTarget target = USL_TRY(Target());
    struct stat status;
    if (fstatat(target.host.get(), format("task/{}", tid).c_str(), &status, 0) != 0) return Fail(ENOENT);
    return FindOrMakePidDirectory(proc(), ChildPath(name), ProcId{id().pid, tid, id().serial, true});
  }
  bool CacheableNames() const override { return false; }

 protected:
  void FillOwner(vfs::Attributes& attributes) override { FillProcOwner(attributes); }
  Result<std::vector<SyntheticEntry>> List() override {
    const ProcTarget target = USL_TRY(Target());
    std::vector<SyntheticEntry> entries;
    for (const int64_t tid : ListNumbers(target.host.get(), "task")) {
      const pid_t shown = proc().ShownPid(static_cast<pid_t>(tid));
      entries.push_back({std::to_string(shown), DT_DIR, kFirstPosition + shown});
    }
    return entries;
  }
};

Ref<vfs::Inode> PidDirectory::Make(const PidEntry& entry, const std::string& child) {
  switch (entry.kind) {
    case kText: return MakeRef<PidText>(proc(), child, id(), entry);
    case kHost:
    case kRefused: return MakeRef<PidHostFile>(proc(), child, id(), entry);
    case kExe: return MakePlaceLink(proc(), child, id(), PlaceLink::kExe);
    case kCwd: return MakePlaceLink(proc(), child, id(), PlaceLink::kCwd);
    case kRoot: return MakePlaceLink(proc(), child, id(), PlaceLink::kRoot);
    case kFd: return MakeFdDirectory(proc(), child, id());
    case kFdInfo: return MakeFdInfoDirectory(proc(), child, id());
    case kNs: return MakeNsDirectory(proc(), child, id());
    case kNet: return MakeNetDirectory(proc(), child, id());
    case kTask: return MakeRef<TaskDirectory>(proc(), child, id());
  }
  return nullptr;
}

}  // namespace

Result<ProcTarget> ProcBound::CheckedTarget(const vfs::Context& context, ProcAccess access) const {
  ProcTarget target = USL_TRY(Target());
  if (!MayAccess(context.credentials, context.thread_group, target, access)) return Fail(EACCES);
  return target;
}

void ProcBound::FillProcOwner(vfs::Attributes& attributes) const {
  const auto process = proc_.guests().Find(id_.pid, id_.tid);
  if (!process || process->serial != id_.serial || !process->credentials) return;
  if (!process->dumpable && attributes.mode != (S_IFDIR | 0555)) return;
  attributes.uid = process->credentials->euid;
  attributes.gid = process->credentials->egid;
}

Ref<vfs::Inode> FindOrMakePidDirectory(ProcFs& proc, const std::string& path, const ProcId& id) {
  return ReuseOrMake(proc, path, id, [&] { return MakeRef<PidDirectory>(proc, path, id); });
}

const ProcId* ProcessOfPidDirectory(const vfs::Inode& inode) {
  const auto* directory = dynamic_cast<const PidDirectory*>(&inode);
  return directory && !directory->id().of_thread ? &directory->id() : nullptr;
}

std::vector<int64_t> ListNumbers(int directory, const char* name) {
  std::vector<int64_t> numbers;
  UniqueFd fd(openat(directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return numbers;
  DIR* stream = fdopendir(fd.get());
  if (!stream) return numbers;
  static_cast<void>(fd.Release());  // the stream owns it now
  while (const dirent* entry = readdir(stream)) {
    if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9') numbers.push_back(strtoll(entry->d_name, nullptr, 10));
  }
  closedir(stream);
  std::ranges::sort(numbers);
  return numbers;
}

}  // namespace usl::fs
