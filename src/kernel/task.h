// Guest threads (Task) and processes (Process, a thread group). The host has the truth about their life, parents, groups
// and signals; these records keep only what the host does not: identity, file tree, names. Guarded by the kernel lock.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ref.h"
#include "base/unique_fd.h"
#include "cred/credentials.h"
#include "kernel/fs_context.h"
#include "kernel/uts.h"
#include "platform/guest_memory.h"
#include "vfs/path.h"

namespace usl::kernel {

class Process;
struct PendingExec;

// One guest thread, known from its first served call on.
class Task : public RefCounted {
 public:
  Task(pid_t tid, Ref<Process> process) : tid_(tid), process_(std::move(process)) {}

  pid_t tid() const { return tid_; }
  Process& process() const { return *process_; }
  const Ref<Process>& process_ref() const { return process_; }
  bool IsLeader() const;

  const cred::Credentials& credentials() const { return *credentials_; }
  const cred::CredentialsRef& credentials_ref() const { return credentials_; }
  // Replaces the credentials; the change is seen by forks from now on.
  void SetCredentials(cred::Credentials credentials);

  const Ref<FsContext>& fs() const { return fs_; }
  void SetFs(Ref<FsContext> fs) { fs_ = std::move(fs); }

 private:
  friend class TaskTable;
  pid_t tid_;
  Ref<Process> process_;
  cred::CredentialsRef credentials_;
  Ref<FsContext> fs_;
};

// What a fork hands to its child, frozen at the fork: found again by the token in the child's RLIMIT_LOCKS.
struct ForkState;

class Process : public RefCounted {
 public:
  Process(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}

  pid_t pid() const { return pid_; }  // the host's number, which is the guest's too
  int pidfd() const { return pidfd_.get(); }
  // Is the record still that of the process that has this number now? (A zombie counts.)
  bool IsAlive() const;

  // The guest's memory, for calls of any of its threads. Reading and writing need the process to live.
  platform::GuestMemory& memory() { return memory_; }

  // The program: where it came from (for /proc/PID/exe), its name there, arguments that a script put in front.
  vfs::Path executable;
  std::string executable_text;
  std::vector<std::string> command_prefix;
  size_t command_drop = 0;  // arguments of the native command line that the prefix replaces

  Ref<UtsNames> uts;
  // The record of the parent at fork, for getppid while it lives.
  Ref<Process> parent;
  bool dumpable = true;  // PR_SET_DUMPABLE is virtual: natively it stays on, or the kernel could not read the memory
  bool keep_capabilities = false;
  bool has_executed = false;
  // Virtual limits: set where the host's value is not the guest's (RLIMIT_CORE, RLIMIT_LOCKS, raised beyond the host's).
  std::array<std::optional<rlimit>, RLIM_NLIMITS> limits;
  pid_t tracer = 0;  // process that traces it with the guest's ptrace, 0 = none

  // An exec that was accepted and whose loader has not asked for its plan yet.
  std::unique_ptr<PendingExec> pending_exec;

  ~Process() override;

 private:
  friend class TaskTable;
  pid_t pid_;
  UniqueFd pidfd_;
  platform::GuestMemory memory_{0};
  // The token in RLIMIT_LOCKS that its children inherit, and the state that it stands for.
  uint64_t token_ = 0;
  std::shared_ptr<const ForkState> token_state_;
};

}  // namespace usl::kernel
