#include "kernel/process_access.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <string_view>

#include "base/format.h"
#include "kernel/exec_service.h"
#include "kernel/host_proc.h"
#include "platform/task_token.h"

namespace usl::kernel {

Result<Ref<Task>> TaskByPid(Kernel& kernel, Task& caller, pid_t pid) {
  if (pid == 0 || pid == caller.tid()) return Ref<Task>(&caller);
  Ref<Task> task = kernel.tasks().FindTask(pid);
  if (!task) return Fail(ESRCH);
  return task;
}

Result<Ref<Process>> ProcessByPid(Kernel& kernel, pid_t pid) {
  Ref<Process> process = pid > 0 ? kernel.tasks().FindProcess(pid) : nullptr;
  if (!process) return Fail(ESRCH);
  return process;
}

Result<Ref<Process>> ProcessOfPidfd(Kernel& kernel, int pidfd) {
  const UniqueFd info(open(format("/proc/self/fdinfo/{}", pidfd).c_str(), O_RDONLY | O_CLOEXEC));
  if (!info) return FailErrno();
  char text[1024];
  const ssize_t size = read(info.get(), text, sizeof text);
  const std::string_view lines(text, size > 0 ? static_cast<size_t>(size) : 0);
  const size_t at = lines.find("\nPid:\t");
  if (at == lines.npos) return Fail(EBADF);
  pid_t pid = 0;
  std::from_chars(lines.data() + at + 6, lines.data() + lines.size(), pid);
  if (pid <= 0) return Fail(ESRCH);
  if (const Ref<Task> task = kernel.tasks().FindTask(pid)) return task->process_ref();
  return ProcessByPid(kernel, pid);
}

cred::CredentialsRef CredentialsOf(Kernel& kernel, const Process& process) {
  Ref<Task> leader = kernel.tasks().FindTask(process.pid());
  if (leader) return leader->credentials_ref();
  return std::make_shared<const cred::Credentials>(cred::RootCredentials());
}

Result<void> CheckSignal(Kernel& kernel, Task& sender, const Process& target, int signal) {
  const cred::Credentials& mine = sender.credentials();
  if (&target == &sender.process() || mine.Has(CAP_KILL)) return {};
  cred::CredentialsRef other = CredentialsOf(kernel, target);
  for (uid_t id : {mine.uid, mine.euid}) {
    if (id == other->uid || id == other->suid) return {};
  }
  if (signal == SIGCONT) {
    auto a = ReadHostStat(sender.process().pid());
    auto b = ReadHostStat(target.pid());
    if (a && b && a->session == b->session) return {};
  }
  return Fail(EPERM);
}

Result<void> CheckTrace(Kernel& kernel, Task& caller, const Process& target) {
  if (&target == &caller.process()) return {};
  // USL's own init is no business of a guest's debugger.
  if (&target == kernel.tasks().init().get()) return Fail(EPERM);
  const cred::Credentials& mine = caller.credentials();
  if (mine.Has(CAP_SYS_PTRACE)) return {};
  cred::CredentialsRef other = CredentialsOf(kernel, target);
  bool same_user = mine.uid == other->uid && mine.uid == other->euid && mine.uid == other->suid;
  bool same_group = mine.gid == other->gid && mine.gid == other->egid && mine.gid == other->sgid;
  if (!same_user || !same_group || !target.dumpable) return Fail(EPERM);
  // The program that it is about to become counts already: its address space may be there.
  if (target.pending_exec && !target.pending_exec->dumpable) return Fail(EPERM);
  if ((other->permitted & ~mine.permitted) != 0) return Fail(EPERM);
  return {};
}

Result<void> CheckSchedule(Kernel& kernel, Task& caller, const Process& target) {
  const cred::Credentials& mine = caller.credentials();
  if (&target == &caller.process() || mine.Has(CAP_SYS_NICE)) return {};
  cred::CredentialsRef other = CredentialsOf(kernel, target);
  if (mine.euid == other->uid || mine.euid == other->euid) return {};
  return Fail(EPERM);
}

std::vector<Ref<Process>> ProcessesInGroup(Kernel& kernel, pid_t group) {
  std::vector<Ref<Process>> members;
  for (Ref<Process>& process : kernel.tasks().List()) {
    auto stat = ReadHostStat(process->pid());
    if (stat && stat->process_group == group) members.push_back(std::move(process));
  }
  return members;
}

Result<void> SendSignal(Kernel&, Task& sender, const Process& target, pid_t tid, int signal) {
  // The host lets nobody but the sender itself write SI_USER, so the receiver sees SI_QUEUE with the guest's ids.
  siginfo_t info{};
  info.si_signo = signal;
  info.si_code = SI_QUEUE;
  info.si_pid = sender.process().pid();
  info.si_uid = sender.credentials().uid;
  siginfo_t* sent = signal == 0 ? nullptr : &info;
  if (tid <= 0) {
    if (syscall(SYS_pidfd_send_signal, target.pidfd(), signal, sent, 0) == 0) return {};
    return FailErrno();
  }
  if (!target.IsAlive() || !platform::IsThreadOf(target.pid(), tid)) return Fail(ESRCH);
  if (signal == 0) return {};
  if (syscall(SYS_rt_tgsigqueueinfo, target.pid(), tid, signal, &info) == 0) return {};
  return FailErrno();
}

}  // namespace usl::kernel
