#include "kernel/exec_service.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <optional>

#include "base/log.h"
#include "kernel/exec/elf.h"
#include "kernel/exec/plan.h"
#include "kernel/exec/script.h"
#include "kernel/exec_credentials.h"
#include "kernel/kernel.h"

namespace usl::kernel {
namespace {

constexpr int kMayExecute = 1;
constexpr int kMayRead = 4;
// Linux rewrites a program at most this often (search_binary_handler).
constexpr int kMaxInterpreterDepth = 5;

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

Result<ExecService::Opened> ExecService::OpenProgram(const vfs::Context& context, const vfs::Path& path) {
  vfs::Inode* inode = path.inode();
  if (!inode) return Fail(ENOENT);
  if (!inode->IsRegular()) return Fail(EACCES);
  if (path.mount->flags() & MS_NOEXEC) return Fail(EACCES);
  USL_TRY_VOID(kernel_.vfs().CheckPermission(context.credentials, *inode, kMayExecute));
  Opened opened;
  opened.attributes = USL_TRY(inode->GetAttributes());
  // Root may execute what has any execute bit at all.
  if (!(opened.attributes.mode & 0111)) return Fail(EACCES);
  opened.fd = USL_TRY(inode->OpenForKernel());
  // Taking a read lease fails with EAGAIN exactly when somebody has the file open for writing: Linux's ETXTBSY.
  if (fcntl(opened.fd.get(), F_SETLEASE, F_RDLCK) == 0) {
    fcntl(opened.fd.get(), F_SETLEASE, F_UNLCK);
  } else if (errno == EAGAIN) {
    return Fail(ETXTBSY);
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

Result<void> ExecService::PlanImages(PendingExec& pending, Opened& program, const vfs::Context& context) {
  protocol::ExecPlan& plan = *pending.plan;
  exec::ElfImage image = USL_TRY(exec::ParseElf(program.Head(), program.Reader()));
  uint64_t random = 0;
  if (getrandom(&random, sizeof random, 0) != sizeof random) return FailErrno();
  USL_TRY_VOID(exec::FillImage(image, pico_base_, exec::ChooseHint(image, random), plan.image));
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

  Opened program;
  vfs::Path path = request.path;
  if (path) {
    program = USL_TRY(OpenProgram(view, path));
  } else {
    program.fd = std::move(request.native);
    program.attributes.mode = S_IFREG | 0700;
    USL_TRY_VOID(program.ReadHead());
  }

  std::vector<std::string> prefix;
  std::string name = request.name;
  bool is_script = false;
  for (int depth = 0;; ++depth) {
    auto script = exec::ParseScript(program.Head());
    if (!script) {
      if (script.error() == Error(ENOEXEC)) break;
      return Fail(script.error());
    }
    if (depth >= kMaxInterpreterDepth) return Fail(ELOOP);
    if (request.through_fd && request.close_on_exec) return Fail(ENOENT);
    // The new interpreter goes in front; the first round replaces argv[0] by the script's name.
    std::vector<std::string> front{script->interpreter};
    if (script->argument) front.push_back(*script->argument);
    if (!is_script) {
      front.push_back(name);
      prefix = std::move(front);
    } else {
      // prefix[0] is the name of the interpreter that turned out to be a script itself.
      front.push_back(name);
      front.insert(front.end(), prefix.begin() + 1, prefix.end());
      prefix = std::move(front);
    }
    is_script = true;
    name = script->interpreter;
    path = USL_TRY(kernel_.vfs().Walk(view, {.at = view.cwd, .path = name}, 0));
    program = USL_TRY(OpenProgram(view, path));
  }

  bool allow_set_id = program.set_id_allowed && !context.credentials().no_new_privs;
  auto after =
      USL_TRY(CredentialsAfterExec(context.credentials(), program.attributes, program.capabilities, allow_set_id));
  // Under a debugger nothing is gained (LSM_UNSAFE_PTRACE). Who traces is asked when the new address space is there: a
  // debugger may come until then.
  if (after.privileged && !context.credentials().Has(CAP_SYS_PTRACE)) {
    pending->without_gain =
        USL_TRY(CredentialsAfterExec(context.credentials(), program.attributes, program.capabilities, false));
  }
  pending->credentials = std::make_shared<const cred::Credentials>(std::move(after.credentials));
  pending->secure = after.secure;
  pending->readable = program.readable;
  pending->dumpable = !after.privileged && program.readable;
  // What CLONE_FS shares stays shared over an exec.
  pending->fs = context.task().fs();
  USL_TRY_VOID(PlanImages(*pending, program, view));
  USL_TRY_VOID(exec::SetExecfn(*pending->plan, request.name));
  exec::SetComm(*pending->plan, request.name);
  if (is_script) USL_TRY_VOID(exec::SetPrefix(*pending->plan, prefix, 1));

  auto new_program = std::make_shared<Program>();
  new_program->path = path;
  if (path.inode()) path.inode()->MarkExecuted();
  new_program->name = request.name;
  new_program->prefix = std::move(prefix);
  new_program->dropped = is_script ? 1 : 0;
  pending->program = std::move(new_program);
  return pending;
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

Result<Reply> ExecService::Hypercall(SyscallContext& context) {
  const platform::Notification& notification = context.notification();
  if (notification.args[0] == pico_base_ + protocol::kHypercallOffset - 8) {
    return traced_.RestoreAfterStub(notification.tid);
  }
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
  plan.pico_fd = USL_TRY(listener.AddFd(notification.id, pico_fd_, true));
  plan.image.fd = USL_TRY(listener.AddFd(notification.id, pending->image.get(), true));
  if (pending->interpreter) {
    plan.interpreter.fd = USL_TRY(listener.AddFd(notification.id, pending->interpreter.get(), true));
  }
  platform::GuestMemory memory(notification.tid);
  USL_TRY_VOID(memory.WriteObject(platform::GuestAddress(notification.args[1]), plan));

  process.program = pending->program;
  process.dumpable = pending->dumpable;
  process.keep_capabilities = false;
  process.has_executed = true;
  kernel_.tasks().KeepOnlyLeader(process, pending->credentials, pending->fs);
  kernel_.OnExec(process);
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
  USL_TRY_VOID(PlanImages(*pending, program, view));
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
