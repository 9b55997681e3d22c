// All guest processes and threads that have made a served call, and how an unknown thread id is matched with its
// parent.
//
// A fork is noted before the host carries it out: the state that the child starts with is frozen under a token, which
// stands in the parent's soft RLIMIT_LOCKS, where the child inherits it (platform/task_token.h). The first served call
// of an unknown tid reads its token and so finds its process (a thread) or its parent's frozen state (a child). Forks
// without a change of state share one token, so fork costs no extra host call. Guarded by the kernel lock.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "kernel/namespaces.h"
#include "kernel/task.h"

namespace usl::kernel {

// What a fork hands to its child.
struct ForkState {
  Ref<Process> process;  // the one that forks
  uint64_t flags = 0;    // CLONE_FS, CLONE_PARENT, CLONE_VM; CLONE_THREAD for a thread without CLONE_FILES
  cred::CredentialsRef credentials;
  Ref<FsContext> fs;    // the parent's own
  vfs::Path root, cwd;  // and its content at the fork, for children without CLONE_FS
  mode_t umask = 022;
  Ref<vfs::MountNamespace> mounts;
  uint32_t root_context = 0, cwd_context = 0;  // as FsContext
  uint64_t fast_area = 0;                      // as FastProcess
  bool fast_has_stubs = false, fast_off = false, was_traced = false;
  Ref<UtsNames> uts;
  std::shared_ptr<const Program> program;
  std::shared_ptr<const SignalActions> signal_actions;
  std::array<std::optional<rlimit>, RLIM_NLIMITS> limits;
  bool dumpable = true;
  bool keep_capabilities = false;
  int seccomp_mode = 0;
  unsigned guest_filters = 0;
};

class TaskTable {
 public:
  // Told of each new process (its pidfd is to be watched) and of each removed one.
  using ProcessCallback = std::function<void(Process&)>;
  TaskTable(ProcessCallback on_new, ProcessCallback on_removed);

  // The first process, before it makes a call. ESRCH.
  Result<Ref<Task>> AddFirst(pid_t pid, cred::Credentials credentials, Ref<FsContext> fs, Ref<UtsNames> uts);
  // The task behind a notification of `tid`, which must be waiting in it: a record whose process or thread died is
  // replaced, an unknown tid is matched. ESRCH: no process of this instance.
  Result<Ref<Task>> Resolve(pid_t tid);
  // A record by number, checked to be alive; null for what is no process (thread) of this instance. Matches unknown
  // ones.
  Ref<Task> FindTask(pid_t tid);
  Ref<Process> FindProcess(pid_t pid);
  // Before a fork of `task` with CLONE_* `flags` goes on: freezes the state and sets the token.
  // The child starts with `namespaces` where they are given.
  Result<void> PrepareFork(Task& task, uint64_t flags, const NewNamespaces& namespaces);
  // Any served call of another process must not see stale thread records after an exec: the leader is the only one
  // left.
  Ref<Task> KeepOnlyLeader(Process& process, cred::CredentialsRef credentials, Ref<FsContext> fs);
  // The record of a process that has ended, as its watched pidfd tells; null if it was replaced already.
  Ref<Process> FindEnded(pid_t pid, int pidfd) const;
  // The process ended; its record goes.
  void Remove(Process& process);

  // All known processes; unknown ones (forked, no call made yet) are matched first by scanning the host's children.
  std::vector<Ref<Process>> List();
  // The guest's init (its number is what the guest sees as 1).
  const Ref<Process>& init() const { return init_; }
  pid_t ParentOf(const Process& process) const;  // as getppid(2) shows it: 1 for orphans and for init's children
  // Lets go of the states that no fork can start from any more, with what they hold: before a quota is called full.
  void DropUnusedStates() { SweepTokens(); }
  size_t token_count() const { return tokens_.size(); }

 private:
  Result<Ref<Task>> Match(pid_t tid);
  Result<Ref<Process>> MakeProcess(pid_t pid);
  Ref<Task> AddTask(pid_t tid, const Ref<Process>& process, cred::CredentialsRef credentials, Ref<FsContext> fs);
  bool IsCurrent(const Task& task) const;
  void SweepThreads(Process& process);
  void SweepTokens();
  void DropStaleTokens(Ref<vfs::MountNamespace> mounts);

  ProcessCallback on_new_, on_removed_;
  std::unordered_map<pid_t, Ref<Task>> tasks_;
  std::unordered_map<pid_t, Ref<Process>> processes_;
  std::unordered_map<uint64_t, std::shared_ptr<const ForkState>> tokens_;
  // Other instances of the same user have tokens too, and a process of theirs must never be taken for one of ours: the
  // numbers start at a random place.
  uint64_t next_token_;
  uint64_t last_serial_ = 0;
  size_t sweep_tokens_at_ = 4096;
  Ref<Process> init_;
};

}  // namespace usl::kernel
