#include "kernel/proc_source.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "fs/proc_pid.h"
#include "fs/synthetic.h"
#include "kernel/exec_service.h"
#include "kernel/namespaces.h"
#include "platform/fd_access.h"
#include "vfs/handle_table.h"

namespace usl::kernel {

std::vector<pid_t> KernelProcSource::Processes() {
  std::vector<pid_t> pids;
  for (const Ref<Process>& process : kernel_.tasks().List()) {
    if (process->IsAlive()) pids.push_back(process->pid());
  }
  return pids;
}

bool KernelProcSource::HasProcess(pid_t pid) {
  return static_cast<bool>(kernel_.tasks().FindProcess(pid));
}

pid_t KernelProcSource::InitPid() {
  const Ref<Process>& init = kernel_.tasks().init();
  return init ? init->pid() : 0;
}

std::optional<fs::ProcProcess> KernelProcSource::Find(pid_t pid, pid_t tid) {
  Ref<Process> process = kernel_.tasks().FindProcess(pid);
  if (!process) return std::nullopt;
  Ref<Task> task = kernel_.tasks().FindTask(tid);
  if (!task || task->process_ref() != process) task = kernel_.tasks().FindTask(pid);
  if (!task) return std::nullopt;
  fs::ProcProcess result;
  result.serial = process->serial;
  result.credentials = task->credentials_ref();
  const bool executed = kernel_.exec().AtExecStop(*process);
  if (const auto& program = executed ? process->pending_exec->program : process->program) {
    result.executable = program->path;
    result.command_prefix = program->prefix;
    result.command_drop = program->dropped;
  }
  result.cwd = task->fs()->cwd;
  result.root = task->fs()->root;
  result.umask = task->fs()->umask;
  result.dumpable = process->dumpable;
  // A debugger reaches the memory of an ordinary program from its exec on; that of one which gains rights nobody does,
  // nor that of init, which is USL's own.
  result.exec_pending =
      process == kernel_.tasks().init() || (process->pending_exec && !process->pending_exec->dumpable);
  result.seccomp_mode = process->seccomp_mode;
  result.seccomp_filters = process->guest_filters;
  return result;
}

std::optional<rlimit> KernelProcSource::VirtualLimit(pid_t pid, int resource) {
  Ref<Process> process = kernel_.tasks().FindProcess(pid);
  if (!process || resource < 0 || resource >= static_cast<int>(RLIM_NLIMITS)) return std::nullopt;
  if (process->limits[resource]) return process->limits[resource];
  if (resource == RLIMIT_CORE) return rlimit{0, RLIM_INFINITY};
  if (resource == RLIMIT_LOCKS) return rlimit{RLIM_INFINITY, RLIM_INFINITY};
  return std::nullopt;
}

uint64_t KernelProcSource::NamespaceId(pid_t pid, fs::ProcNamespace kind) {
  Ref<Task> task = kernel_.tasks().FindTask(pid);
  return task ? NamespaceNumber(kernel_, *task, kind) : 0;
}

std::vector<fs::ProcMount> KernelProcSource::Mounts(pid_t pid) {
  Ref<Task> task = kernel_.tasks().FindTask(pid);
  if (!task) return {};
  return fs::ListMounts(kernel_.vfs(), *task->fs()->mounts, task->fs()->root);
}

std::string KernelProcSource::PathText(const vfs::Path& path, const vfs::Path& root) {
  return kernel_.vfs().PathText(path, root);
}

Result<fs::ProcDescriptor> KernelProcSource::Descriptor(pid_t pid, int fd, const vfs::Path& reader_root) {
  Ref<Task> task = kernel_.tasks().FindTask(pid);
  if (!task) return Fail(ESRCH);
  fs::ProcDescriptor result;
  result.object = USL_TRY(kernel_.DuplicateGuestFd(*task, fd));
  vfs::FileIdentity identity = kernel_.vfs().Identify(result.object.get(), task->fs()->mounts.get());
  result.path = identity.path;
  // What stands for an O_PATH descriptor is not the file itself.
  if (kernel_.vfs().handles().IsPathOnly(result.object.get())) result.object.Reset();
  const auto* synthetic = dynamic_cast<const fs::SyntheticInode*>(identity.inode.get());
  if (synthetic && synthetic->path().starts_with(fs::kNamespaceObjectPath)) {
    // "mnt:[4026531841]": it has no place, whatever it is looked at through.
    result.text = synthetic->path().substr(fs::kNamespaceObjectPath.size());
    if (result.object) result.path = {};
  } else if (identity.path) {
    result.text = PathText(identity.path, reader_root);
  } else {
    result.text = USL_TRY(platform::FdPath(result.object.get()));
    // Whatever has a place on the host but none in the guest is not the guest's to see.
    if (result.text.starts_with('/') && !result.text.starts_with("/memfd:")) result.text = "anon_inode:[file]";
  }
  return result;
}

std::optional<fs::ProcFileName> KernelProcSource::MappedFile(pid_t pid, dev_t, ino_t inode,
                                                             std::string_view host_path) {
  if (!host_path.starts_with('/')) return std::nullopt;
  open_how how{.flags = O_PATH | O_CLOEXEC, .mode = 0, .resolve = RESOLVE_NO_SYMLINKS};
  std::string path(host_path);
  UniqueFd fd(static_cast<int>(syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
  struct stat status;
  if (!fd || fstat(fd.get(), &status) < 0 || status.st_ino != inode) return std::nullopt;
  vfs::FileIdentity identity = kernel_.vfs().Identify(fd.get());
  Ref<Task> task = kernel_.tasks().FindTask(pid);
  if (!identity.path || !task) return std::nullopt;
  auto shown = kernel_.vfs().Stat(identity.path);
  if (!shown) return std::nullopt;
  return fs::ProcFileName{PathText(identity.path, task->fs()->root), shown->st_dev, shown->st_ino};
}

fs::ProcSource::Uts KernelProcSource::UtsNames(pid_t pid) {
  utsname host{};
  uname(&host);
  Ref<Process> process = kernel_.tasks().FindProcess(pid);
  if (!process) process = kernel_.tasks().init();
  Uts names;
  names.release = kernel_.options().release.empty() ? host.release : kernel_.options().release;
  names.version = host.version;
  if (process) {
    names.host_name = process->uts->node_name;
    names.domain_name = process->uts->domain_name;
  }
  return names;
}

Result<void> KernelProcSource::SetHostName(pid_t pid, std::string_view name) {
  Ref<Process> process = kernel_.tasks().FindProcess(pid);
  if (!process) return Fail(ESRCH);
  process->uts->node_name = name;
  return {};
}

Result<void> KernelProcSource::SetDomainName(pid_t pid, std::string_view name) {
  Ref<Process> process = kernel_.tasks().FindProcess(pid);
  if (!process) return Fail(ESRCH);
  process->uts->domain_name = name;
  return {};
}

}  // namespace usl::kernel
