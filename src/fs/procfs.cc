#include "fs/procfs.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <sys/stat.h>

#include <charconv>

#include "base/format.h"
#include "fs/proc_pid.h"
#include "fs/proc_text.h"

namespace usl::fs {
namespace {

constexpr int64_t kFirstPidPosition = 0x10000;  // behind all static entries; one position for each number

// Static entries, then processes. self and thread-self depend on the reader.
class ProcRoot final : public StaticDirectory {
 public:
  explicit ProcRoot(ProcFs& file_system) : StaticDirectory(file_system, "/"), proc_(file_system) {}

  Result<Ref<vfs::Inode>> Lookup(std::string_view name, const vfs::Context& context) override {
    const auto number = ParseProcNumber(name);
    if (!number) return StaticDirectory::Lookup(name, context);
    const ProcId id = USL_TRY(proc_.Resolve(*number));
    return Ref<vfs::Inode>(FindOrMakePidDirectory(proc_, ChildPath(name), id));
  }
  bool CacheableNames() const override { return false; }

 protected:
  Result<std::vector<SyntheticEntry>> List() override {
    std::vector<SyntheticEntry> entries = USL_TRY(StaticDirectory::List());
    const pid_t init = proc_.guests().InitPid();
    if (init != 0) entries.push_back({"1", DT_DIR, kFirstPidPosition + 1});
    for (const pid_t pid : proc_.guests().Processes()) {
      if (pid != init) entries.push_back({std::to_string(pid), DT_DIR, kFirstPidPosition + pid});
    }
    return entries;
  }

 private:
  ProcFs& proc_;
};

void AddSelfLinks(ProcFs& proc, StaticDirectory& root) {
  root.Add("self",
           MakeRef<SyntheticSymlink>(proc, "/self", [&proc](const vfs::Context& context) -> Result<std::string> {
             if (context.thread_group == 0) return Fail(ENOENT);
             return std::to_string(proc.ShownPid(context.thread_group));
           }));
  root.Add("thread-self",
           MakeRef<SyntheticSymlink>(proc, "/thread-self", [&proc](const vfs::Context& context) -> Result<std::string> {
             if (context.thread == 0) return Fail(ENOENT);
             return format("{}/task/{}", proc.ShownPid(context.thread_group), proc.ShownPid(context.thread));
           }));
}

}  // namespace

ProcFs::ProcFs(ProcSource& source, const SyntheticInstance& instance)
    : SyntheticFileSystem("proc", PROC_SUPER_MAGIC, instance), source_(source) {
  struct stat status;
  if (stat("/proc/self", &status) == 0) host_proc_device_ = status.st_dev;
}

Ref<ProcFs> ProcFs::Create(ProcSource& source, const SyntheticInstance& instance) {
  auto proc = MakeRef<ProcFs>(source, instance);
  auto root = MakeRef<ProcRoot>(*proc);
  AddSelfLinks(*proc, *root);
  AddSystemFiles(*proc, *root);
  AddSysctls(*proc, *root->AddDirectory("sys"));
  proc->SetRoot(root);
  return proc;
}

Result<ProcId> ProcFs::Resolve(pid_t shown) const {
  const pid_t init = source_.InitPid();
  const pid_t tid = shown == 1 && init != 0 ? init : shown;
  pid_t pid = tid;
  if (!source_.HasProcess(pid)) {
    // A thread's own number opens too, though it is not listed.
    const auto status = ReadHostFile(AT_FDCWD, format("/proc/{}/status", tid).c_str());
    if (!status) return Fail(ENOENT);
    pid = static_cast<pid_t>(StatusNumber(*status, "Tgid:"));
    if (pid == tid || !source_.HasProcess(pid)) return Fail(ENOENT);
  }
  const auto process = source_.Find(pid, tid);
  if (!process) return Fail(ENOENT);
  return ProcId{pid, tid, process->serial, false};
}

Result<ProcTarget> ProcFs::Target(const ProcId& id) const {
  const std::string path = id.of_thread ? format("/proc/{}/task/{}", id.pid, id.tid) : format("/proc/{}", id.tid);
  ProcTarget target;
  target.id = id;
  target.host = UniqueFd(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!target.host) return Fail(ESRCH);
  // Only now: a record that is alive after the open means that the directory is this process's.
  auto process = source_.Find(id.pid, id.tid);
  if (!process || process->serial != id.serial || !process->credentials) return Fail(ESRCH);
  target.process = *std::move(process);
  return target;
}

pid_t ProcFs::ShownPid(pid_t host) const {
  return host != 0 && host == source_.InitPid() ? 1 : host;
}

pid_t ProcFs::ShownParent(pid_t pid, pid_t host_parent) const {
  if (pid == source_.InitPid()) return 0;
  if (source_.HasProcess(host_parent)) return ShownPid(host_parent);
  return 1;
}

pid_t ProcFs::ShownGroup(pid_t host) const {
  if (host <= 0 || source_.HasProcess(host)) return ShownPid(host);
  // Its leader may have died; a living one of the host is none of the guest's business.
  struct stat status;
  return stat(format("/proc/{}", host).c_str(), &status) == 0 ? 0 : host;
}

Ref<vfs::Inode> ProcFs::WalkPath(std::string_view path) {
  if (path.starts_with(kNamespaceObjectPath)) return MakeNamespaceObject(*this, path);
  return SyntheticFileSystem::WalkPath(path);
}

Result<UniqueFd> ProcFs::NamespaceFd(const std::string& path) {
  constexpr size_t kMaxKept = 64;  // guests may make namespaces without end
  auto found = namespaces_.find(path);
  if (found == namespaces_.end()) {
    if (namespaces_.size() >= kMaxKept) namespaces_.clear();
    found = namespaces_.emplace(path, USL_TRY(MakeContentFd(path, {}, O_RDONLY))).first;
  }
  UniqueFd fd(fcntl(found->second.get(), F_DUPFD_CLOEXEC, 0));
  if (!fd) return FailErrno();
  return fd;
}

std::vector<dev_t> ProcFs::HostDevices() const {
  std::vector<dev_t> devices = SyntheticFileSystem::HostDevices();
  devices.push_back(host_proc_device_);
  return devices;
}

std::string ProcFs::PathOfHostPath(std::string_view host_path, const struct stat& status) const {
  static constexpr std::string_view kHostProc = "/proc/";
  if (status.st_dev != host_proc_device_ || !host_path.starts_with(kHostProc)) return {};
  host_path.remove_prefix(kHostProc.size() - 1);
  const std::string_view first = host_path.substr(1, host_path.find('/', 1) - 1);
  const auto number = ParseProcNumber(first);
  if (!number) return std::string(host_path);
  return format("/{}{}", ShownPid(*number), host_path.substr(1 + first.size()));
}

bool MayAccess(const cred::Credentials& reader, pid_t reader_group, const ProcTarget& target, ProcAccess access) {
  if (access == ProcAccess::kAny || reader_group == target.id.pid) return true;
  const bool privileged = reader.Has(CAP_SYS_PTRACE);
  if (access == ProcAccess::kAttach && target.process.exec_pending) return false;
  if (privileged) return true;
  const cred::Credentials& it = *target.process.credentials;
  const bool same_user = reader.fsuid == it.euid && reader.fsuid == it.suid && reader.fsuid == it.uid &&
                         reader.fsgid == it.egid && reader.fsgid == it.sgid && reader.fsgid == it.gid;
  if (!same_user || !target.process.dumpable) return false;
  return (it.permitted & ~reader.permitted) == 0;
}

}  // namespace usl::fs
