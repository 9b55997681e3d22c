// Guest threads (Task) and processes (Process, a thread group). The host has the truth about their life, parents,
// groups and signals; these records keep only what the host does not: identity, file tree, names. Guarded by the kernel
// lock.
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
#include "platform/memory_file.h"
#include "vfs/path.h"

namespace usl::kernel {

class Process;
struct FastProcess;
struct PendingExec;
struct ForkState;
struct SignalActions;

// One guest thread, known from its first served call on.
class Task : public RefCounted {
 public:
  Task(pid_t tid, Ref<Process> process, cred::CredentialsRef credentials, Ref<FsContext> fs)
      : tid_(tid), process_(std::move(process)), credentials_(std::move(credentials)), fs_(std::move(fs)) {}

  pid_t tid() const { return tid_; }
  Process& process() const { return *process_; }
  const Ref<Process>& process_ref() const { return process_; }
  bool IsLeader() const;

  const cred::Credentials& credentials() const { return *credentials_; }
  const cred::CredentialsRef& credentials_ref() const { return credentials_; }
  // Replaces the credentials; the change is seen by forks from now on.
  void SetCredentials(cred::Credentials credentials) {
    credentials_ = std::make_shared<const cred::Credentials>(std::move(credentials));
  }
  void SetCredentials(cred::CredentialsRef credentials) { credentials_ = std::move(credentials); }

  const Ref<FsContext>& fs() const { return fs_; }
  void SetFs(Ref<FsContext> fs) { fs_ = std::move(fs); }

  // The thread has a descriptor table that is not its leader's: unshare(CLONE_FILES), or a clone without it.
  bool own_descriptors = false;

 private:
  pid_t tid_;
  Ref<Process> process_;
  cred::CredentialsRef credentials_;
  Ref<FsContext> fs_;
};

// What a process runs: set at exec, shared with the children that have not executed anything yet.
struct Program {
  vfs::Path path;                   // for /proc/PID/exe; empty when it was executed from a native fd (a memfd)
  std::string name;                 // the path text by which it was executed
  std::vector<std::string> prefix;  // arguments that scripts put in front of the native command line
  size_t dropped = 0;               // arguments of the native command line that the prefix replaces
};

class Process : public RefCounted {
 public:
  Process(pid_t pid, UniqueFd pidfd);
  ~Process() override;

  pid_t pid() const { return pid_; }  // the host's number, which is the guest's too
  int pidfd() const { return pidfd_.get(); }
  // Does this number still belong to the process of this record? A zombie counts.
  bool IsAlive() const;

  // The cached memory file, opened through `tid` if need be; null when it cannot be had.
  const platform::MemoryFile* MemoryForReading(pid_t tid);
  // At every accepted exec: the cached file shows the address space before it.
  void DropMemoryFile() { memory_file_.reset(); }

  uint64_t serial = 0;  // distinguishes processes that had the same number
  // The process that forked it. Its record outlives it, for as long as this one is not told otherwise.
  Ref<Process> parent;
  std::shared_ptr<const Program> program;
  std::shared_ptr<const SignalActions> signal_actions;  // null where there are none
  Ref<UtsNames> uts;
  bool dumpable = true;  // PR_SET_DUMPABLE is virtual: natively it stays on, or the kernel could not read the memory
  // Another process was allowed to trace it or to reach its memory, by a call that the host carries out at some time
  // after the check: it may be in that one's hands at any time, and gains no rights by exec any more.
  bool within_reach = false;
  bool was_traced = false;         // by a guest, or it comes from a process that was
  bool keep_capabilities = false;  // PR_SET_KEEPCAPS
  bool child_subreaper = false;    // natively set too; kept for PR_GET
  bool has_executed = false;       // since its fork (setpgid(2)'s EACCES)
  int parent_death_signal = 0;
  int seccomp_mode = 0;  // of the guest's own filters: 0 or 2
  unsigned guest_filters = 0;
  // Virtual limits: set where the host's value is not the guest's (RLIMIT_CORE, RLIMIT_LOCKS, raised beyond the
  // host's).
  std::array<std::optional<rlimit>, RLIM_NLIMITS> limits;

  // The leader's, set when the process has ended: messages that it sent may still be read.
  cred::CredentialsRef last_credentials;
  // An exec that was accepted and whose loader has not asked for its plan yet: one for the thread group.
  std::unique_ptr<PendingExec> pending_exec;

  // Its address space's part in the fast path; null before the first exec.
  std::unique_ptr<FastProcess> fast;

  // Known threads, the leader included once it made a call.
  const std::vector<pid_t>& threads() const { return threads_; }

 private:
  friend class TaskTable;
  pid_t pid_;
  UniqueFd pidfd_;
  std::optional<platform::MemoryFile> memory_file_;
  std::vector<pid_t> threads_;
  size_t thread_sweep_at_ = 64;
  uint64_t token_ = 0;  // in RLIMIT_LOCKS now, so what its children inherit; 0 = not one of its own yet
  // Tokens that stand for earlier states of this process, to be used again when it returns to one.
  std::vector<uint64_t> tokens_;
};

}  // namespace usl::kernel
