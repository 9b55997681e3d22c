#include "kernel/exec_service.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <optional>

#include "base/log.h"
#include "fs/host_file.h"
#include "kernel/exec/elf.h"
#include "kernel/exec/front_arguments.h"
#include "kernel/exec/plan.h"
#include "kernel/exec/script.h"
#include "kernel/exec_credentials.h"
#include "kernel/fast_path.h"
#include "kernel/host_proc.h"
#include "kernel/kernel.h"

namespace usl::kernel {
namespace {

constexpr int kMayExecute = 1;
constexpr int kMayRead = 4;
// Linux rewrites a program at most this often (exec_binprm).
constexpr int kMaxInterpreterDepth = 5;
constexpr uint64_t kPreserveArgv0 = 1;  // AT_FLAGS_PRESERVE_ARGV0 of linux/binfmts.h

}  // namespace

struct ExecService::Opened {
  UniqueFd fd;
  std::array<std::byte, exec::kPageSize> head{};
  size_t head_size = 0;
  vfs::Attributes attributes;
  bool set_id_allowed = true;
  std::optional<FileCapabilities> capabilities;
  bool readable = true;

  exec::ReadAt Reader() const {
    return [file = fd.get()](uint64_t offset, std::span<std::byte> out) -> Result<size_t> {
      ssize_t count = pread(file, out.data(), out.size(), static_cast<off_t>(offset));
      if (count < 0) return FailErrno();
      return static_cast<size_t>(count);
    };
  }
  Result<void> ReadHead() {
    ssize_t count = pread(fd.get(), head.data(), head.size(), 0);
    if (count < 0) return FailErrno();
    head_size = static_cast<size_t>(count);
    return {};
  }
  std::span<const std::byte> Head() const { return {head.data(), head_size}; }
};

// What was found on the way from the named file to the one that runs.
struct ExecService::Chain {
  Opened program;    // the file at hand
  vfs::Path path;    // its place; empty for a native file
  std::string name;  // bprm->interp of Linux
  exec::FrontArguments front;
  std::optional<Opened> binary;     // flag O: the interpreter gets it as a descriptor
  bool binary_credentials = false;  // flag C: ids and capabilities come from it
  bool preserve_argv0 = false;      // flag P
  bool is_interpreted = false;
};

// One rewriting: who is to run the file at hand.
struct ExecService::Step {
  std::string interpreter;
  std::optional<std::string> argument;
  fs::FixedInterpreter fixed;
  bool keep_argv0 = false;
  bool open_binary = false;
  bool credentials = false;
};

ExecService::ExecService(Kernel& kernel, uint64_t pico_base, int pico_fd)
    : kernel_(kernel),
      pico_base_(pico_base),
      pico_fd_(pico_fd),
      traced_(pico_base),
      may_have_fixed_addresses_(personality(0xffffffff) & ADDR_NO_RANDOMIZE) {}

Result<ExecService::Opened> ExecService::OpenProgram(const vfs::Context& context, const vfs::Path& path) {
  vfs::Inode* inode = path.inode();
  if (!inode) return Fail(ENOENT);
  if (!inode->IsRegular()) return Fail(EACCES);
  if (path.mount->flags() & MS_NOEXEC) return Fail(EACCES);
  USL_TRY_VOID(kernel_.vfs().CheckPermission(context.credentials, *inode, kMayExecute));
  Opened opened;
  opened.attributes = USL_TRY(inode->GetPermissions());
  // Root may execute what has any execute bit at all.
  if (!(opened.attributes.mode & 0111)) return Fail(EACCES);
  opened.fd = USL_TRY(inode->OpenForKernel());
  // Taking a read lease fails with EAGAIN exactly when somebody has the file open for writing: Linux's ETXTBSY.
  if (inode->MayBeOpenForWriting()) {
    if (fcntl(opened.fd.get(), F_SETLEASE, F_RDLCK) == 0) {
      fcntl(opened.fd.get(), F_SETLEASE, F_UNLCK);
      inode->NotOpenForWriting();
    } else if (errno == EAGAIN) {
      return Fail(ETXTBSY);
    }
  }
  opened.set_id_allowed = !(path.mount->flags() & MS_NOSUID);
  opened.readable = kernel_.vfs().CheckPermission(context.credentials, *inode, kMayRead).has_value();
  if (auto value = inode->GetXattr("security.capability")) {
    opened.capabilities = USL_TRY(ParseFileCapabilities(*value));
  }
  USL_TRY_VOID(opened.ReadHead());
  return opened;
}

Result<ExecService::Opened> ExecService::OpenInterpreter(const vfs::Context& context, const std::string& path) {
  vfs::Path found = USL_TRY(kernel_.vfs().Walk(context, {.at = context.cwd, .path = path}, 0));
  return OpenProgram(context, found);
}

Result<uint64_t> ExecService::RandomNumber() {
  if (random_left_ == 0) {
    if (getrandom(random_numbers_.data(), sizeof random_numbers_, 0) != sizeof random_numbers_) return FailErrno();
    random_left_ = random_numbers_.size();
  }
  return std::exchange(random_numbers_[--random_left_], 0);
}

Result<void> ExecService::PlanImages(PendingExec& pending, Opened& program, const vfs::Context& context, bool random) {
  protocol::ExecPlan& plan = *pending.plan;
  exec::ElfImage image = USL_TRY(exec::ParseElf(program.Head(), program.Reader()));
  uint64_t number = 0;
  if (random) number = USL_TRY(RandomNumber());
  USL_TRY_VOID(exec::FillImage(image, pico_base_, exec::ChooseHint(image, number), plan.image));
  if (image.executable_stack) plan.flags |= protocol::kPlanExecutableStack;
  if (image.interpreter) {
    Opened interpreter = USL_TRY(OpenInterpreter(context, *image.interpreter));
    exec::ElfImage loader =
        USL_TRY(exec::ParseElf(interpreter.Head(), interpreter.Reader(), exec::ElfRole::kInterpreter));
    USL_TRY_VOID(exec::FillImage(loader, pico_base_, 0, plan.interpreter));
    pending.interpreter = std::move(interpreter.fd);
    // Linux: an interpreter that the caller may not read makes the process not dumpable, too (would_dump).
    pending.readable = pending.readable && interpreter.readable;
    pending.dumpable = pending.dumpable && interpreter.readable;
  }
  pending.image = std::move(program.fd);
  return {};
}

void ExecService::GiveUpGain(PendingExec& pending) {
  pending.credentials = std::make_shared<const cred::Credentials>(std::move(pending.without_gain->credentials));
  pending.secure = pending.without_gain->secure;
  pending.dumpable = pending.readable;
  pending.without_gain.reset();
}

void ExecService::AddIdentity(PendingExec& pending) {
  const cred::Credentials& credentials = *pending.credentials;
  const std::pair<uint64_t, uint64_t> entries[] = {{AT_UID, credentials.uid},
                                                   {AT_EUID, credentials.euid},
                                                   {AT_GID, credentials.gid},
                                                   {AT_EGID, credentials.egid},
                                                   {AT_SECURE, pending.secure ? 1u : 0u}};
  static_assert(std::size(entries) <= protocol::kMaxAuxPatches);
  for (auto [type, value] : entries) {
    if (!exec::AddAux(*pending.plan, type, value)) std::abort();  // they fit: see the assertion
  }
}

Result<std::unique_ptr<PendingExec>> ExecService::Prepare(SyscallContext& context, Request& request) {
  auto pending = std::make_unique<PendingExec>();
  pending->plan = std::make_unique<protocol::ExecPlan>();
  exec::NewPlan(*pending->plan);
  vfs::Context view = context.FsView();

  Chain chain;
  chain.path = request.path;
  chain.name = request.name;
  if (chain.path) {
    chain.program = USL_TRY(OpenProgram(view, chain.path));
  } else {
    chain.program.fd = std::move(request.native);
    chain.program.attributes.mode = S_IFREG | 0700;
    USL_TRY_VOID(chain.program.ReadHead());
  }
  USL_TRY_VOID(FollowInterpreters(view, request, chain));

  const bool gains = USL_TRY(PlanCredentials(context, chain, *pending));
  // What CLONE_FS shares stays shared over an exec.
  pending->fs = context.task().fs();
  // Linux forgets the flag where rights are gained (PER_CLEAR_ON_SETID).
  const bool random =
      gains || !may_have_fixed_addresses_ || !(PersonalityOf(context.notification().tid) & ADDR_NO_RANDOMIZE);
  USL_TRY_VOID(PlanImages(*pending, chain.program, view, random));
  USL_TRY_VOID(exec::SetExecfn(*pending->plan, request.name));
  exec::SetComm(*pending->plan, request.name);
  if (chain.is_interpreted) {
    USL_TRY_VOID(exec::SetPrefix(*pending->plan, chain.front.list(), chain.front.dropped()));
  }
  if (chain.preserve_argv0) USL_TRY_VOID(exec::AddAux(*pending->plan, AT_FLAGS, kPreserveArgv0));
  if (chain.binary) {
    pending->binary = std::move(chain.binary->fd);
    if (fcntl(pending->binary.get(), F_SETFL, 0) < 0) return FailErrno();  // the guest gets this one
  }

  auto new_program = std::make_shared<Program>();
  new_program->path = chain.path;
  if (chain.path.inode()) chain.path.inode()->MarkExecuted();
  new_program->name = request.name;
  new_program->prefix = chain.front.list();
  new_program->dropped = chain.front.dropped();
  pending->program = std::move(new_program);
  return pending;
}

Result<bool> ExecService::PlanCredentials(const SyscallContext& context, const Chain& chain, PendingExec& pending) {
  const Opened& source = chain.binary_credentials ? *chain.binary : chain.program;
  const bool allow_set_id = source.set_id_allowed && !context.credentials().no_new_privs;
  auto after =
      USL_TRY(CredentialsAfterExec(context.credentials(), source.attributes, source.capabilities, allow_set_id));
  // Under a debugger nothing is gained (LSM_UNSAFE_PTRACE). Who traces is asked when the new address space is there: a
  // debugger may come until then.
  if (after.privileged && !context.credentials().Has(CAP_SYS_PTRACE)) {
    pending.without_gain =
        USL_TRY(CredentialsAfterExec(context.credentials(), source.attributes, source.capabilities, false));
  }
  pending.credentials = std::make_shared<const cred::Credentials>(std::move(after.credentials));
  pending.secure = after.secure;
  pending.readable = chain.program.readable && (!chain.binary || chain.binary->readable);
  pending.dumpable = !after.privileged && pending.readable;
  return after.privileged;
}

Result<std::optional<ExecService::Step>> ExecService::NextStep(const Chain& chain) const {
  // In Linux's order: binfmt_misc is asked before scripts and ELF.
  if (binfmt_) {
    if (const fs::BinfmtEntry* entry = binfmt_->Match(chain.program.Head(), chain.name)) {
      return Step{.interpreter = entry->interpreter,
                  .argument = {},
                  .fixed = entry->fixed,
                  .keep_argv0 = entry->preserve_argv0,
                  .open_binary = entry->open_binary,
                  .credentials = entry->credentials};
    }
  }
  auto script = exec::ParseScript(chain.program.Head());
  if (!script) {
    if (script.error() == Error(ENOEXEC)) return std::nullopt;
    return Fail(script.error());
  }
  return Step{.interpreter = std::move(script->interpreter), .argument = std::move(script->argument), .fixed = {}};
}

Result<void> ExecService::FollowInterpreters(const vfs::Context& context, const Request& request, Chain& chain) {
  bool wants_binary = false;
  for (int depth = 0;; ++depth) {
    if (depth > kMaxInterpreterDepth) return Fail(ELOOP);
    std::optional<Step> step = USL_TRY(NextStep(chain));
    if (!step) return {};
    // The interpreter could not open it any more.
    if (request.through_fd && request.close_on_exec) return Fail(ENOENT);
    chain.is_interpreted = true;
    if (step->keep_argv0) {
      chain.preserve_argv0 = true;
    } else {
      chain.front.RemoveFirst();
    }
    chain.front.Push(chain.name);
    if (step->argument) chain.front.Push(*step->argument);
    chain.front.Push(step->interpreter);
    wants_binary = wants_binary || step->open_binary;
    chain.name = step->interpreter;
    Opened next;
    if (step->fixed.file) {
      chain.path = step->fixed.path;
      next = USL_TRY(OpenFixedProgram(step->fixed));
    } else {
      chain.path = USL_TRY(kernel_.vfs().Walk(context, {.at = context.cwd, .path = step->interpreter}, 0));
      next = USL_TRY(OpenProgram(context, chain.path));
    }
    chain.binary_credentials = chain.binary_credentials || step->credentials;
    if (wants_binary) {
      // Linux hands one binary over: an interpreter that got one cannot need an interpreter itself.
      if (chain.binary) return Fail(ENOEXEC);
      chain.binary = std::move(chain.program);
    }
    chain.program = std::move(next);
  }
}

Result<ExecService::Opened> ExecService::OpenFixedProgram(const fs::FixedInterpreter& fixed) {
  Opened opened;
  opened.fd = USL_TRY(fs::OpenHost({fixed.file->get(), ""}, O_RDONLY | O_NONBLOCK));
  opened.attributes.mode = S_IFREG | 0755;
  // It may have lost its name since; then nothing is known of it but what it holds.
  if (vfs::Inode* inode = fixed.path.inode()) {
    if (auto attributes = inode->GetAttributes()) opened.attributes = *attributes;
  }
  opened.set_id_allowed = !(fixed.path.mount->flags() & MS_NOSUID);
  USL_TRY_VOID(opened.ReadHead());
  return opened;
}

Result<fs::FixedInterpreter> ExecService::OpenFixed(const fs::WriterContext& writer, const std::string& path) {
  // The writer may be gone by now: what it wrote is applied afterwards.
  Ref<Task> task = kernel_.tasks().FindTask(writer.thread);
  if (!task) task = kernel_.tasks().FindTask(writer.thread_group);
  if (!task) return Fail(ESRCH);
  const vfs::Context view{.credentials = writer.credentials, .root = task->fs()->root, .cwd = task->fs()->cwd};
  fs::FixedInterpreter fixed;
  fixed.path = USL_TRY(kernel_.vfs().Walk(view, {.at = view.cwd, .path = path}, 0));
  fixed.file = std::make_shared<const UniqueFd>(USL_TRY(OpenProgram(view, fixed.path)).fd);
  return fixed;
}

Result<Reply> ExecService::Execute(SyscallContext& context, Request request) {
  Process& process = context.process();
  process.pending_exec = USL_TRY(Prepare(context, request));
  const platform::Notification& notification = context.notification();
  auto redirected = platform::RedirectExec(kernel_.listener(), notification, pico_base_, request.argv, request.envp);
  if (!redirected && redirected.error() == Error(EPERM)) {
    redirected = traced_.Redirect(kernel_.listener(), notification);
    if (!redirected && redirected.error() != Error(ESRCH)) {
      process.pending_exec.reset();
      return Fail(EPERM);
    }
  }
  if (!redirected) process.pending_exec.reset();  // the task died
  return Reply::Answered();
}

bool ExecService::IsHypercall(const platform::Notification& notification) const {
  uint64_t offset = notification.args[0] - pico_base_;
  return offset == protocol::kHypercallOffset || offset == protocol::kHypercallOffset - 8;
}

Result<Reply> ExecService::StubHypercall(SyscallContext& context) {
  const pid_t tid = context.notification().tid;
  const int64_t answer = traced_.RestoreAfterStub(tid);
  PendingExec* pending = context.process().pending_exec.get();
  // The stub blocks all signals next, and what was blocked before cannot be seen any more.
  const bool meant = answer != platform::TracedExecs::kNotMeant;
  if (meant && pending) pending->signal_mask = USL_TRY(platform::BlockedSignals(tid));
  return answer;
}

bool ExecService::AtExecStop(const Process& process) const {
  if (!process.pending_exec) return false;
  char byte;
  auto mapped = platform::GuestMemory(process.pid()).Read(platform::GuestAddress(pico_base_), &byte, 1);
  return !mapped && mapped.error() == Error(EFAULT);
}

bool ExecService::Follow(SyscallContext& context, Process& tracee) {
  PendingExec* pending = tracee.pending_exec.get();
  // Without the mask nothing would hold the SIGTRAP back: a debugger that came while the exec was under way.
  if (!pending || pending->followed || !pending->signal_mask || !AtExecStop(tracee)) return false;
  const platform::Notification& notification = context.notification();
  if (platform::TracerOf(tracee.pid()) != notification.tid) return false;
  pending->followed = true;
  auto gone = platform::FollowExec(kernel_.listener(), notification, pico_base_, tracee.pid());
  if (gone || gone.error() == Error(ESRCH)) return true;
  pending->followed = false;  // a tracer that is traced itself
  return false;
}

Result<Reply> ExecService::Hypercall(SyscallContext& context) {
  const platform::Notification& notification = context.notification();
  if (notification.args[0] == pico_base_ + protocol::kHypercallOffset - 8) return StubHypercall(context);
  Process& process = context.process();
  // A sibling thread of a task between its stop and its exec may try to get the descriptors of an image that it could
  // not read: only a new address space has no pico page.
  platform::GuestMemory memory(notification.tid);
  char byte;
  auto mapped = memory.Read(platform::GuestAddress(pico_base_), &byte, 1);
  if (mapped || mapped.error() != Error(EFAULT)) return Fail(EPERM);
  // Whatever happens next, the old address space is gone.
  process.DropMemoryFile();
  if (!process.pending_exec) return Fail(EPERM);
  auto pending = std::move(process.pending_exec);
  return HandOver(context, std::move(pending));
}

Result<Reply> ExecService::HandOver(SyscallContext& context, std::unique_ptr<PendingExec> pending) {
  const platform::Notification& notification = context.notification();
  const platform::Listener& listener = kernel_.listener();
  Process& process = context.process();
  if (notification.args[2] != sizeof(protocol::ExecPlan)) return Fail(EINVAL);
  if (pending->without_gain && (process.within_reach || platform::TracerOf(notification.tid) != 0))
    GiveUpGain(*pending);
  AddIdentity(*pending);
  protocol::ExecPlan& plan = *pending->plan;
  if (pending->signal_mask) {
    plan.flags |= protocol::kPlanRestoreSignalMask;
    plan.signal_mask = *pending->signal_mask;
  }
  // First, so that it gets the lowest free number, as on Linux; the loader closes the others.
  if (pending->binary) plan.exec_fd = USL_TRY(listener.AddFd(notification.id, pending->binary.get(), false));
  plan.pico_fd = USL_TRY(listener.AddFd(notification.id, pico_fd_, true));
  plan.image.fd = USL_TRY(listener.AddFd(notification.id, pending->image.get(), true));
  if (pending->interpreter) {
    plan.interpreter.fd = USL_TRY(listener.AddFd(notification.id, pending->interpreter.get(), true));
  }
  process.fast.reset();
  FastPath* fast = kernel_.fast_path();
  if (fast && fast->PrepareExec(process, notification.args[1], plan)) {
    plan.fast_fd = USL_TRY(listener.AddFd(notification.id, fast->fd(), true));
  }
  platform::GuestMemory memory(notification.tid);
  USL_TRY_VOID(memory.WriteObject(platform::GuestAddress(notification.args[1]), plan));

  process.program = pending->program;
  process.signal_actions.reset();
  process.dumpable = pending->dumpable;
  process.keep_capabilities = false;
  process.has_executed = true;
  kernel_.tasks().KeepOnlyLeader(process, pending->credentials, pending->fs);
  kernel_.OnExec(process);
  // Blocked until the loader's rt_sigreturn.
  if (pending->followed) syscall(SYS_pidfd_send_signal, process.pidfd(), SIGTRAP, nullptr, 0);
  return 0;
}

Result<void> ExecService::PrepareFirst(Task& task, UniqueFd image, const std::string& name) {
  auto pending = std::make_unique<PendingExec>();
  pending->plan = std::make_unique<protocol::ExecPlan>();
  exec::NewPlan(*pending->plan);
  Opened program;
  program.fd = std::move(image);
  USL_TRY_VOID(program.ReadHead());
  pending->credentials = task.credentials_ref();
  pending->fs = task.fs();
  vfs::Context view{.credentials = task.credentials(), .root = task.fs()->root, .cwd = task.fs()->cwd};
  USL_TRY_VOID(PlanImages(*pending, program, view, true));
  USL_TRY_VOID(exec::SetExecfn(*pending->plan, name));
  exec::SetComm(*pending->plan, name);
  auto first = std::make_shared<Program>();
  first->name = name;
  pending->program = std::move(first);
  task.process().pending_exec = std::move(pending);
  return {};
}

void ExecService::Forget(Process& process) {
  process.pending_exec.reset();
}

}  // namespace usl::kernel
