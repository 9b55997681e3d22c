#include "kernel/task_table.h"

#include <poll.h>
#include <sched.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <unordered_set>

#include "base/log.h"
#include "kernel/exec_service.h"
#include "kernel/fast_path.h"
#include "kernel/host_proc.h"
#include "platform/fd_access.h"
#include "platform/task_token.h"

namespace usl::kernel {
namespace {

// The flags that change what a child starts with. A thread is told by its thread group, so CLONE_THREAD is kept only
// for one that gets a descriptor table of its own.
uint64_t InheritanceFlags(uint64_t flags) {
  uint64_t kept = flags & (CLONE_FS | CLONE_PARENT);
  if (!(flags & CLONE_THREAD)) kept |= flags & CLONE_VM;
  if ((flags & (CLONE_THREAD | CLONE_FILES)) == CLONE_THREAD) kept |= CLONE_THREAD;
  return kept;
}

// How many earlier states of a process keep their token for use again.
constexpr size_t kReusedTokens = 8;

bool SameState(const ForkState& a, const ForkState& b) {
  auto same_limits = [](const auto& x, const auto& y) {
    for (size_t i = 0; i < x.size(); ++i) {
      if (x[i].has_value() != y[i].has_value()) return false;
      if (x[i] && (x[i]->rlim_cur != y[i]->rlim_cur || x[i]->rlim_max != y[i]->rlim_max)) return false;
    }
    return true;
  };
  return a.flags == b.flags && a.credentials == b.credentials && a.fs == b.fs && a.root == b.root && a.cwd == b.cwd &&
         a.umask == b.umask && a.mounts == b.mounts && a.uts == b.uts && a.program == b.program &&
         a.signal_actions == b.signal_actions && a.dumpable == b.dumpable &&
         a.keep_capabilities == b.keep_capabilities && a.seccomp_mode == b.seccomp_mode &&
         a.guest_filters == b.guest_filters && a.root_context == b.root_context && a.cwd_context == b.cwd_context &&
         a.fast_area == b.fast_area && a.fast_has_stubs == b.fast_has_stubs && a.fast_off == b.fast_off &&
         a.was_traced == b.was_traced && same_limits(a.limits, b.limits);
}

}  // namespace

TaskTable::TaskTable(ProcessCallback on_new, ProcessCallback on_removed)
    : on_new_(std::move(on_new)), on_removed_(std::move(on_removed)) {
  uint64_t random = 0;
  while (getrandom(&random, sizeof random, 0) != sizeof random) {
    if (errno != EINTR) std::abort();
  }
  next_token_ = (random >> 2) | (uint64_t{1} << 48);  // far from no limit, and from limits that people set
}

Result<Ref<Process>> TaskTable::MakeProcess(pid_t pid) {
  UniqueFd pidfd = USL_TRY(platform::OpenPidfd(pid));
  auto process = MakeRef<Process>(pid, std::move(pidfd));
  process->serial = ++last_serial_;
  processes_[pid] = process;
  on_new_(*process);
  return process;
}

Ref<Task> TaskTable::AddTask(pid_t tid, const Ref<Process>& process, cred::CredentialsRef credentials,
                             Ref<FsContext> fs) {
  auto task = MakeRef<Task>(tid, process, std::move(credentials), std::move(fs));
  tasks_[tid] = task;
  process->threads_.push_back(tid);
  if (process->threads_.size() > process->thread_sweep_at_) SweepThreads(*process);
  return task;
}

Result<Ref<Task>> TaskTable::AddFirst(pid_t pid, cred::Credentials credentials, Ref<FsContext> fs, Ref<UtsNames> uts) {
  Ref<Process> process = USL_TRY(MakeProcess(pid));
  process->uts = std::move(uts);
  process->program = std::make_shared<const Program>();
  init_ = process;
  return AddTask(pid, process, std::make_shared<const cred::Credentials>(std::move(credentials)), std::move(fs));
}

// A record stands for whoever has its number now only while that process (and thread) has not been reaped: numbers are
// used again, and a stale record would lend its identity.
bool TaskTable::IsCurrent(const Task& task) const {
  const Process& process = task.process();
  if (!process.IsAlive()) return false;
  return task.IsLeader() || platform::IsThreadOf(process.pid(), task.tid());
}

Result<Ref<Task>> TaskTable::Resolve(pid_t tid) {
  if (auto found = tasks_.find(tid); found != tasks_.end()) {
    Ref<Task> task = found->second;
    if (IsCurrent(*task)) return task;
    if (!task->process().IsAlive()) {
      Remove(task->process());
    } else {
      std::erase(task->process().threads_, tid);
      tasks_.erase(tid);
    }
  }
  return Match(tid);
}

Result<Ref<Task>> TaskTable::Match(pid_t tid) {
  uint64_t token = USL_TRY(platform::ReadToken(tid));
  auto found = tokens_.find(token);
  if (found == tokens_.end()) return Fail(ESRCH);
  std::shared_ptr<const ForkState> state = found->second;

  const Ref<Process>& forker = state->process;
  if (forker->IsAlive() && platform::IsThreadOf(forker->pid(), tid)) {
    Ref<Task> thread = AddTask(tid, forker, cred::WithoutOwnKeyrings(state->credentials, false), state->fs);
    thread->own_descriptors = state->flags & CLONE_THREAD;
    return thread;
  }
  Ref<Process> child;
  if (auto known = processes_.find(tid); known != processes_.end() && known->second->IsAlive()) {
    child = known->second;  // the leader of a process that other threads made known
  } else {
    if (known != processes_.end()) Remove(*known->second);
    child = USL_TRY(MakeProcess(tid));
  }
  child->parent = (state->flags & CLONE_PARENT) ? forker->parent : forker;
  child->uts = state->uts;
  child->program = state->program;
  child->signal_actions = state->signal_actions;
  child->limits = state->limits;
  child->dumpable = state->dumpable;
  child->keep_capabilities = state->keep_capabilities;
  child->seccomp_mode = state->seccomp_mode;
  child->guest_filters = state->guest_filters;
  child->was_traced = state->was_traced;
  child->fast = std::make_unique<FastProcess>();
  child->fast->area = state->fast_area;
  child->fast->has_stubs = state->fast_has_stubs;
  child->fast->off = state->fast_off;
  child->fast->shared = state->flags & CLONE_VM;
  Ref<FsContext> fs = state->fs;
  if (!(state->flags & CLONE_FS)) {
    fs = MakeRef<FsContext>();
    fs->root = state->root;
    fs->cwd = state->cwd;
    fs->umask = state->umask;
    fs->mounts = state->mounts;
    fs->root_context = state->root_context;
    fs->cwd_context = state->cwd_context;
  }
  return AddTask(tid, child, cred::WithoutOwnKeyrings(state->credentials, true), std::move(fs));
}

Ref<Task> TaskTable::FindTask(pid_t tid) {
  if (tid <= 0) return nullptr;
  if (tid == 1 && init_) tid = init_->pid();
  auto task = Resolve(tid);
  return task ? *task : nullptr;
}

Ref<Process> TaskTable::FindProcess(pid_t pid) {
  if (pid == 1 && init_) return init_;
  // A zombie or a process whose leader has made no call may be known by its process record only.
  if (auto known = processes_.find(pid); known != processes_.end() && known->second->IsAlive()) return known->second;
  Ref<Task> task = FindTask(pid);
  return task && task->IsLeader() ? task->process_ref() : nullptr;
}

Result<void> TaskTable::PrepareFork(Task& task, uint64_t flags, const NewNamespaces& namespaces) {
  Process& process = task.process();
  auto state = std::make_shared<ForkState>();
  const FsContext& fs = namespaces.fs ? *namespaces.fs : *task.fs();
  state->process = task.process_ref();
  state->flags = InheritanceFlags(flags);
  state->credentials = task.credentials_ref();
  state->fs = namespaces.fs ? namespaces.fs : task.fs();
  state->root = fs.root;
  state->cwd = fs.cwd;
  state->umask = fs.umask;
  state->mounts = fs.mounts;
  state->uts = namespaces.uts ? namespaces.uts : process.uts;
  state->program = process.program;
  state->signal_actions = process.signal_actions;
  state->limits = process.limits;
  state->dumpable = process.dumpable;
  state->keep_capabilities = process.keep_capabilities;
  state->seccomp_mode = process.seccomp_mode;
  state->guest_filters = process.guest_filters;
  state->was_traced = process.was_traced;
  state->root_context = fs.root_context;
  state->cwd_context = fs.cwd_context;
  if (process.fast) {
    state->fast_area = process.fast->area;
    state->fast_has_stubs = process.fast->has_stubs;
    state->fast_off = process.fast->off;
  }

  for (auto token = process.tokens_.rbegin(); token != process.tokens_.rend(); ++token) {
    if (!SameState(*tokens_.at(*token), *state)) continue;
    if (*token == process.token_) return {};
    USL_TRY_VOID(platform::WriteToken(task.tid(), *token));
    process.token_ = *token;
    return {};
  }
  if (tokens_.size() >= sweep_tokens_at_) SweepTokens();
  uint64_t token = next_token_++;
  tokens_[token] = std::move(state);
  USL_TRY_VOID(platform::WriteToken(task.tid(), token));
  process.token_ = token;
  process.tokens_.push_back(token);
  if (process.tokens_.size() > kReusedTokens) process.tokens_.erase(process.tokens_.begin());
  return {};
}

Ref<Task> TaskTable::KeepOnlyLeader(Process& process, cred::CredentialsRef credentials, Ref<FsContext> fs) {
  Ref<Process> self(&process);
  for (pid_t tid : process.threads_) tasks_.erase(tid);
  process.threads_.clear();
  return AddTask(process.pid(), self, std::move(credentials), std::move(fs));
}

Ref<Process> TaskTable::FindEnded(pid_t pid, int pidfd) const {
  auto found = processes_.find(pid);
  return found != processes_.end() && found->second->pidfd() == pidfd ? found->second : nullptr;
}

void TaskTable::Remove(Process& process) {
  Ref<Process> self(&process);
  Ref<vfs::MountNamespace> mounts;
  if (const auto leader = tasks_.find(process.pid()); leader != tasks_.end()) mounts = leader->second->fs()->mounts;
  for (pid_t tid : process.threads_) {
    auto task = tasks_.find(tid);
    if (task == tasks_.end() || &task->second->process() != &process) continue;
    if (tid == process.pid()) process.last_credentials = cred::WithoutKeyrings(task->second->credentials_ref());
    tasks_.erase(task);
  }
  process.threads_.clear();
  process.pending_exec.reset();
  process.DropMemoryFile();
  process.parent = nullptr;
  auto found = processes_.find(process.pid());
  if (found != processes_.end() && found->second == self) processes_.erase(found);
  DropStaleTokens(std::move(mounts));
  on_removed_(process);
  process.pidfd_.Reset();  // tokens may hold the record for long, and a descriptor is dear
}

// A mount namespace ends with its last process, not with the tokens of those that were.
void TaskTable::DropStaleTokens(Ref<vfs::MountNamespace> mounts) {
  const auto first = init_ ? tasks_.find(init_->pid()) : tasks_.end();
  if (!mounts || first == tasks_.end() || first->second->fs()->mounts == mounts) return;
  const bool is_used =
      std::ranges::any_of(tasks_, [&](const auto& entry) { return entry.second->fs()->mounts == mounts; });
  if (!is_used) SweepTokens();
}

std::vector<Ref<Process>> TaskTable::List() {
  // A child that has made no served call yet is known to the host only.
  if (init_) {
    for (pid_t pid : DescendantsOfInit(init_->pid())) FindProcess(pid);
  }
  std::vector<Ref<Process>> list;
  for (const auto& [pid, process] : processes_) list.push_back(process);
  std::ranges::sort(list, {}, [](const Ref<Process>& process) { return process->pid(); });
  return list;
}

pid_t TaskTable::ParentOf(const Process& process) const {
  if (&process == init_.get()) return 0;
  // Init's children stay that; a parent that has not exited yet is the one (a zombie has no children any more).
  if (process.parent == init_) return 1;
  if (process.parent && process.parent->pidfd() >= 0) {
    pollfd exited{process.parent->pidfd(), POLLIN, 0};
    if (poll(&exited, 1, 0) == 0) return process.parent->pid();
  }
  auto stat = ReadHostStat(process.pid());
  if (!stat || (init_ && stat->parent == init_->pid())) return 1;
  return processes_.contains(stat->parent) ? stat->parent : 1;
}

void TaskTable::SweepThreads(Process& process) {
  std::erase_if(process.threads_, [&](pid_t tid) {
    if (platform::IsThreadOf(process.pid(), tid)) return false;
    tasks_.erase(tid);
    return true;
  });
  process.thread_sweep_at_ = std::max<size_t>(64, 2 * process.threads_.size());
}

// Tokens that no living process carries and no process uses again go. Rare: at each doubling of what lives.
void TaskTable::SweepTokens() {
  std::unordered_set<uint64_t> living;
  for (pid_t pid : init_ ? DescendantsOfInit(init_->pid()) : std::vector<pid_t>{}) {
    if (auto token = platform::ReadToken(pid)) living.insert(*token);
  }
  for (const auto& [pid, process] : processes_) living.insert(process->tokens_.begin(), process->tokens_.end());
  std::erase_if(tokens_, [&](const auto& entry) { return !living.contains(entry.first); });
  sweep_tokens_at_ = std::max<size_t>(4096, 2 * tokens_.size());
}

}  // namespace usl::kernel
