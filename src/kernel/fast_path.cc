#include "kernel/fast_path.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include <cstdio>
#include <string>
#include <utility>

#include "base/log.h"
#include "kernel/kernel.h"
#include "kernel/task.h"

namespace usl::kernel {
namespace {

// So many calls from one place are worth patching it: a stub costs about as much as two served calls.
constexpr uint32_t kHotCalls = 4;
// How far below the loader the range lies: room for what is mapped between, near enough for a 32-bit jump from there.
constexpr uint64_t kDistance = uint64_t{64} << 20;
// Programs that are linked to a fixed address lie from 4 MiB on as a rule. Others than those want their own layout
// (Wine).
constexpr uint64_t kLowImageEnd = uint64_t{1} << 30;
constexpr uint64_t kAreaOfLowImages = 0x70000000;
constexpr uint64_t kPage = 4096;
constexpr int kOpenTreeAttr = 467;  // Linux 6.15
// Access times are promised to rest for half a day (fs::Layer::AccessTimeRests).
constexpr int64_t kClearEvery = 6 * 60 * 60;

bool CanBeAnswered(int number) {
  switch (number) {
    case SYS_stat:
    case SYS_lstat:
    case SYS_newfstatat:
    case SYS_statx:
    case SYS_access:
    case SYS_faccessat:
    case SYS_faccessat2:
    case SYS_open:
    case SYS_openat:
    case SYS_readlink:
    case SYS_readlinkat:
    case SYS_getxattr:
    case SYS_lgetxattr: return true;
    default: return false;
  }
}

int64_t BootSeconds() {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec;
}

// Near the code that calls: the libraries, which are mapped below the loader's place, or a static program itself. 0 =
// nowhere.
uint64_t ChooseArea(const protocol::ExecPlan& plan, uint64_t loader_address) {
  const protocol::ExecImage& image = plan.image;
  uint64_t below = loader_address;
  if (plan.interpreter.segment_count == 0) {
    // The heap of a program at a fixed low address grows up to there and goes on by mmap then.
    if (image.fixed) return image.span_end < kLowImageEnd ? kAreaOfLowImages : 0;
    if (image.hint != 0) below = image.hint + image.span_start;
  }
  if (below < 2 * kDistance) return 0;
  return (below - kDistance - protocol::kFastRangeSize) & ~(kPage - 1);
}

bool HasOneThread(pid_t pid) {
  char path[32];
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  struct stat status;
  return stat(path, &status) == 0 && status.st_nlink == 3;
}

uint8_t CallsFor(bool follow, bool is_symlink) {
  if (!is_symlink) return protocol::kFastFollows | protocol::kFastStays;
  return follow ? protocol::kFastFollows : protocol::kFastStays;
}

}  // namespace

Result<std::unique_ptr<FastPath>> FastPath::Create(Kernel& kernel) {
  platform::FastMemory memory = USL_TRY(platform::FastMemory::Create());
  return std::unique_ptr<FastPath>(new FastPath(kernel, std::move(memory)));
}

FastPath::FastPath(Kernel& kernel, platform::FastMemory memory)
    : kernel_(kernel), memory_(std::move(memory)), owners_(protocol::kFastSlots), cleared_at_(BootSeconds()) {}

bool FastPath::PrepareExec(Process& process, uint64_t loader_address, protocol::ExecPlan& plan) {
  process.fast = std::make_unique<FastProcess>();
  if (process.seccomp_mode != 0 || process.was_traced) return false;
  process.fast->area = ChooseArea(plan, loader_address);
  plan.fast_address = process.fast->area;
  return process.fast->area != 0;
}

// Code is changed only where nobody can be running it.
bool FastPath::MayPatch(const Process& process) {
  return !process.fast->shared && !process.was_traced && process.seccomp_mode == 0 && HasOneThread(process.pid());
}

void FastPath::BeforeCall(SyscallContext& context) {
  const platform::Notification& call = context.notification();
  FastProcess* fast = context.process().fast.get();
  if (!fast || fast->area == 0 || fast->off || !CanBeAnswered(call.nr)) return;
  FastProcess::Site* site = nullptr;
  for (FastProcess::Site& known : fast->sites) {
    if (known.instruction_end == call.instruction_pointer) site = &known;
  }
  if (!site) {
    site = &fast->sites[fast->next_site++ % fast->sites.size()];
    *site = {.instruction_end = call.instruction_pointer};
  }
  if (site->settled || ++site->calls < kHotCalls) return;
  site->settled = true;
  Process& process = context.process();
  const platform::MemoryFile* file = process.MemoryForReading(call.tid);
  if (!file || !MayPatch(process)) return;
  auto patched = platform::PatchCallSite(*file, fast->area, call.instruction_pointer, static_cast<uint32_t>(call.nr),
                                         StateFor(context.task()));
  if (patched && *patched) fast->has_stubs = true;
  // A host that forbids forced writes, or a guest that has mapped something else there: it does without.
  if (!patched) fast->off = true;
}

platform::FastState FastPath::StateFor(const Task& task) const {
  const FsContext& fs = *task.fs();
  return {.enabled = !task.process().fast->off, .root_context = fs.root_context, .cwd_context = fs.cwd_context};
}

void FastPath::WriteState(Task& task) {
  Process& process = task.process();
  FastProcess* fast = process.fast.get();
  if (!fast || !fast->has_stubs) return;
  platform::FastState state = StateFor(task);
  // Two processes in one address space, and each in a place of its own: neither is answered here.
  if (fast->shared) state.root_context = state.cwd_context = 0;
  const platform::MemoryFile* file = process.MemoryForReading(task.tid());
  if (file) (void)platform::WriteFastState(*file, fast->area, state);  // it fails for a guest that has broken its own
}

bool FastPath::MovesTasks(int number) {
  switch (number) {
    case SYS_chdir:
    case SYS_fchdir:
    case SYS_chroot:
    case SYS_pivot_root:
    case SYS_unshare:
    case SYS_setns:
    case SYS_mount:
    case SYS_umount2:
    case SYS_move_mount:
    case SYS_mount_setattr:
    case kOpenTreeAttr:
    case SYS_fsconfig: return true;
    default: return false;
  }
}

void FastPath::AfterMove(Task& task, int number) {
  FsContext& fs = *task.fs();
  if (fs.root_context == 0) {  // shared between processes
    memory_.ClearAll();
    return;
  }
  const bool moves_root = number != SYS_chdir && number != SYS_fchdir;
  if (moves_root) {
    memory_.ClearAll();
    fs.root_context = ++last_context_;
  }
  fs.cwd_context = ++last_context_;
  // A thread that has got a place of its own (unshare): the area is its siblings' too.
  if (moves_root && !HasOneThread(task.process().pid())) SwitchOff(task.process());
  WriteState(task);
}

void FastPath::BeforeFork(Task& task, uint64_t flags) {
  if (flags & CLONE_THREAD) return;
  if (flags & CLONE_FS) {
    // Either process may move both.
    task.fs()->root_context = task.fs()->cwd_context = 0;
    WriteState(task);
  }
  // Two processes will run in one address space at the same time.
  if ((flags & (CLONE_VM | CLONE_VFORK)) == CLONE_VM) SwitchOff(task.process());
}

void FastPath::BeforeNamespaceFork(Task& task, FsContext& child) {
  FastProcess* fast = task.process().fast.get();
  if (fast && fast->has_stubs) {
    // The child's copy of the area would know the parent's places, and nobody could change it in time.
    task.fs()->root_context = task.fs()->cwd_context = 0;
    WriteState(task);
  }
  child.root_context = ++last_context_;
  child.cwd_context = ++last_context_;
}

void FastPath::SwitchOff(Process& process) {
  FastProcess* fast = process.fast.get();
  if (!fast || fast->off) return;
  fast->off = true;  // inherited by fork
  if (!fast->has_stubs) return;
  const platform::MemoryFile* file = process.MemoryForReading(process.pid());
  if (file) (void)platform::WriteFastState(*file, fast->area, {.enabled = false});
}

bool FastPath::ServesFrom(const Process& process) const {
  const FastProcess* fast = process.fast.get();
  return fast && fast->has_stubs && !fast->off;
}

uint32_t FastPath::ContextOf(const SyscallContext& context, std::string_view path) const {
  if (!ServesFrom(context.process()) || !platform::FastMemory::Fits(path)) return 0;
  const FsContext& fs = *context.task().fs();
  return path.front() == '/' ? fs.root_context : fs.cwd_context;
}

void FastPath::Publish(vfs::Dentry& dentry, const platform::FastAnswer& answer) {
  const uint32_t slot = memory_.Put(answer);
  Disown(slot);
  owners_[slot] = {&dentry, dentry.mark()};
  dentry.set_mark(slot + 1);
}

// Takes a slot off the list of the dentry that it hung on.
void FastPath::Disown(uint32_t slot) {
  vfs::Dentry* dentry = std::exchange(owners_[slot].dentry, nullptr);
  if (!dentry) return;
  const uint32_t next = owners_[slot].next;
  if (dentry->mark() == slot + 1) {
    dentry->set_mark(next);
    return;
  }
  for (uint32_t at = dentry->mark(); at != 0; at = owners_[at - 1].next) {
    if (owners_[at - 1].next == slot + 1) owners_[at - 1].next = next;
  }
}

void FastPath::Changed(vfs::Dentry& dentry) {
  for (uint32_t at = dentry.mark(); at != 0;) {
    Owner& owner = owners_[at - 1];
    memory_.Clear(at - 1);
    at = owner.next;
    owner = {};
  }
  dentry.set_mark(0);
}

void FastPath::TreeChanged() {
  memory_.ClearAll();
}

void FastPath::DropOld() {
  const int64_t now = BootSeconds();
  if (now - cleared_at_ < kClearEvery) return;
  cleared_at_ = now;
  memory_.ClearAll();
}

void FastPath::PublishFile(const SyscallContext& context, std::string_view path, bool follow, const vfs::Path& found,
                           const vfs::Attributes& attributes, const struct statx& status) {
  const uint32_t number = ContextOf(context, path);
  vfs::Dentry* dentry = found.dentry.get();
  if (number == 0 || !dentry->IsCached() || !dentry->inode()) return;
  DropOld();
  vfs::WalkReport report;
  const unsigned flags = follow ? 0u : unsigned{vfs::Vfs::kNoFollow};
  const vfs::Context view = context.FsView();
  auto again = context.vfs().WalkForAll(view, {.at = view.cwd, .path = path}, flags, &report);
  if (!again || !report.same_for_all || again->dentry != found.dentry) return;
  if (!dentry->inode()->IsSteady(attributes)) return;
  std::string target;
  if (!follow && dentry->inode()->IsSymlink()) {
    if (auto text = dentry->inode()->ReadLink(view)) target = std::move(*text);
  }
  // Whatever was asked for with links followed holds without as well, unless the path's end is one: then the two
  // differ, and only a walk that stays can tell.
  bool ends_in_link = !follow && dentry->inode()->IsSymlink();
  if (follow) {
    auto stays = context.vfs().WalkForAll(view, {.at = view.cwd, .path = path}, vfs::Vfs::kNoFollow, &report);
    ends_in_link = !stays || stays->dentry != found.dentry;
  }
  Publish(*dentry, {.context = number,
                    .path = path,
                    .kind = protocol::FastKind::kFile,
                    .calls = CallsFor(follow, ends_in_link),
                    .status = &status,
                    .target = target});
}

void FastPath::PublishMissing(const SyscallContext& context, std::string_view path, bool follow) {
  const uint32_t number = ContextOf(context, path);
  if (number == 0) return;
  vfs::WalkReport report;
  const unsigned flags = follow ? 0u : unsigned{vfs::Vfs::kNoFollow};
  const vfs::Context view = context.FsView();
  auto again = context.vfs().WalkForAll(view, {.at = view.cwd, .path = path}, flags, &report);
  if (again || again.error() != Error(ENOENT) || !report.same_for_all || !report.missing ||
      !report.missing->IsCached()) {
    return;
  }
  // A link that leads nowhere is there for those that do not follow it.
  vfs::Dentry& missing = *report.missing;
  Publish(missing, {.context = number,
                    .path = path,
                    .kind = protocol::FastKind::kMissing,
                    .calls = follow ? protocol::kFastFollows : CallsFor(false, false)});
}

void FastPath::PublishNoXattrs(const SyscallContext& context, std::string_view path, bool follow, vfs::Inode& inode) {
  const uint32_t number = ContextOf(context, path);
  if (number == 0) return;
  const int slot = memory_.Find(number, path, follow ? protocol::kFastFollows : protocol::kFastStays);
  if (slot < 0 || !owners_[static_cast<uint32_t>(slot)].dentry) return;
  if (owners_[static_cast<uint32_t>(slot)].dentry->inode().get() != &inode) return;
  auto names = inode.ListXattr();
  if (names && names->empty()) memory_.MarkWithoutXattrs(static_cast<uint32_t>(slot));
}

}  // namespace usl::kernel
