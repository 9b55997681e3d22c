// /proc: what guests see of themselves, made from the host's /proc and the kernel's records (ProcSource).
//
// Processes that are not of the instance do not exist here. Every read of the host's /proc/PID goes through a directory
// fd that was opened before the kernel's record was checked to be alive, so a number that the host gives to another
// process in between cannot leak that one.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "fs/proc_source.h"
#include "fs/synthetic.h"
#include "fs/synthetic_directory.h"
#include "fs/synthetic_mirror.h"

namespace usl::fs {

// Which process (thread) an inode belongs to.
struct ProcId {
  pid_t pid = 0;  // thread group
  pid_t tid = 0;
  uint64_t serial = 0;     // of the process's record
  bool of_thread = false;  // below task/: numbers of the thread instead of the whole process
  friend bool operator==(const ProcId&, const ProcId&) = default;
};

// A process at the moment of a call.
struct ProcTarget {
  ProcId id;
  ProcProcess process;
  UniqueFd host;  // the host's /proc/PID or /proc/PID/task/TID
};

class ProcFs final : public SyntheticFileSystem {
 public:
  // `source` and `instance` outlive the file system.
  static Ref<ProcFs> Create(ProcSource& source, const SyntheticInstance& instance);

  ProcSource& guests() const { return source_; }

  // The id of a living process by a number as guests write it (1 = init), a thread's number too; ENOENT.
  Result<ProcId> Resolve(pid_t shown) const;
  // The process behind an id, now; ESRCH when it has gone or another one has its number.
  Result<ProcTarget> Target(const ProcId& id) const;

  // How a process number is shown: init as 1.
  pid_t ShownPid(pid_t host) const;
  // The parent: 1 for orphans and init's children, 0 for init.
  pid_t ShownParent(pid_t pid, pid_t host_parent) const;
  // A process group or session: 0 when a host process leads it, as Linux shows those of outer pid namespaces.
  pid_t ShownGroup(pid_t host) const;

  // Values that guests wrote to oom_score_adj and the host refused to take from an ordinary user.
  std::map<uint64_t, int>& virtual_oom_adjustments() { return virtual_oom_adjustments_; }
  // Sysctl values that guests wrote, by path ("/sys/vm/swappiness").
  std::map<std::string, std::string, std::less<>>& sysctls() { return sysctls_; }

  // A descriptor that stands for a namespace; the same object each time, so that programs may compare by stat(2).
  Result<UniqueFd> NamespaceFd(const std::string& path);
  MirrorPolicy& net_policy() { return net_policy_; }  // of /proc/sys/net

  Ref<vfs::Inode> WalkPath(std::string_view path) override;
  std::vector<dev_t> HostDevices() const override;

 protected:
  std::string PathOfHostPath(std::string_view host_path, const struct stat& status) const override;

 private:
  template <typename T, typename... Args>
  friend Ref<T> usl::MakeRef(Args&&...);
  ProcFs(ProcSource& source, const SyntheticInstance& instance);

  ProcSource& source_;
  dev_t host_proc_device_ = 0;
  std::map<uint64_t, int> virtual_oom_adjustments_;
  std::map<std::string, std::string, std::less<>> sysctls_;
  std::map<std::string, UniqueFd> namespaces_;
  MirrorPolicy net_policy_;
};

// Ptrace access of `reader` (with thread group `reader_group`) to a process: __ptrace_may_access(), with fsuid and
// fsgid.
enum class ProcAccess { kAny, kRead, kAttach };
bool MayAccess(const cred::Credentials& reader, pid_t reader_group, const ProcTarget& target, ProcAccess access);

// The root's static part: cpuinfo, meminfo, sys/... (proc_system.cc, proc_sys.cc).
void AddSystemFiles(ProcFs& file_system, StaticDirectory& root);
void AddSysctls(ProcFs& file_system, StaticDirectory& sys);

}  // namespace usl::fs
