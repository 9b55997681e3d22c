// execve(2): everything between a guest's call and its new program. ARCHITECTURE.md, "The way of one exec".
//
// 1. The notified execve is checked here by the guest's paths: permissions, set-id, `#!`, ELF, interpreter. The opened
// files,
//    the plan and the new credentials become the thread group's pending exec.
// 2. The task is made to call execve(pico page) natively, which starts the loader with the caller's own argv and envp.
// 3. The loader's hypercall is accepted only in an address space without pico page, so not from a sibling thread; the
//    new credentials are committed then, and the plan and its descriptors handed over.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "fs/proc_binfmt.h"
#include "kernel/exec_credentials.h"
#include "kernel/syscall_context.h"
#include "kernel/task.h"
#include "platform/exec_redirect.h"
#include "protocol/exec_plan.h"

namespace usl::kernel {

struct PendingExec {
  UniqueFd image;
  UniqueFd interpreter;
  UniqueFd binary;  // what an interpreter of binfmt_misc gets as AT_EXECFD, or empty
  std::unique_ptr<protocol::ExecPlan> plan;
  cred::CredentialsRef credentials;
  bool secure = false;  // AT_SECURE
  // Where rights are gained: what the process gets instead if it turns out to be in somebody's hands at the end.
  std::optional<ExecCredentials> without_gain;
  Ref<FsContext> fs;
  std::shared_ptr<const Program> program;
  bool readable = true;  // the images, by the caller; else the process is not dumpable
  bool dumpable = true;
  // Of a traced task: what it had blocked before its stub blocked everything (kPlanRestoreSignalMask).
  std::optional<uint64_t> signal_mask;
  // Its tracer waits for it behind the exec stop (ExecService::Follow): a SIGTRAP stops it at the new program's start.
  bool followed = false;
  // Its tracer let it go on from the exec stop to the end of the native execve.
  bool exit_stop_taken = false;
};

class ExecService {
 public:
  ExecService(Kernel& kernel, uint64_t pico_base, int pico_fd);

  struct Request {
    vfs::Path path;           // what to run, or empty and
    UniqueFd native;          // ... an open host file of the guest without a place (fexecve of a memfd)
    std::string name;         // as the caller named it: AT_EXECFN, the script's argument
    bool through_fd = false;  // name is /dev/fd/N...: a script could not be opened again if the fd closes on exec
    bool close_on_exec = false;
    platform::GuestAddress argv, envp;
  };
  // Serves an execve or execveat. Errors as execve(2).
  Result<Reply> Execute(SyscallContext& context, Request request);
  // The loader's hypercall and the debugger stub's.
  bool IsHypercall(const platform::Notification& notification) const;
  Result<Reply> Hypercall(SyscallContext& context);
  // The handler that stands before the guest's own, where that has no SA_RESTART.
  uint64_t SignalTrampoline() const { return pico_base_ + protocol::kPicoSignalOffset; }
  // A call from the code of the pico page.
  bool IsOwnCode(const platform::Notification& notification) const {
    return notification.instruction_pointer - pico_base_ < protocol::kPicoSize;
  }

  // Before a tracer touches a tracee. Linux stops a tracee at PTRACE_EVENT_EXEC with its new program mapped; here it
  // stops where the loader starts. In that state the caller is made to let it finish the loader's work first and then
  // to make its call again: true, and the call has been answered. False: nothing is to be done, go on.
  bool Follow(SyscallContext& context, Process& tracee);
  // Has the process executed natively, but not asked for its plan yet? What the exec stop shows is the new program.
  bool AtExecStop(const Process& process) const;

  // The pending exec of the instance's first process: `image` is an ELF file of USL's own.
  Result<void> PrepareFirst(Task& task, UniqueFd image, const std::string& name);
  // A task of the process died, or it executes something else: what was pending goes.
  void Forget(Process& process);

  // The table of interpreters by magic and extension; none until this is called.
  void SetBinfmt(Ref<fs::BinfmtMisc> binfmt) { binfmt_ = std::move(binfmt); }
  // Opens the interpreter of an F entry when that is registered, by the writer's tree. Errors as execve(2).
  Result<fs::FixedInterpreter> OpenFixed(const fs::WriterContext& writer, const std::string& path);

  // From now on programs may run without randomised addresses (personality(2)); before, nobody has to be asked.
  void MayHaveFixedAddresses() { may_have_fixed_addresses_ = true; }

 private:
  struct Opened;
  struct Chain;
  struct Step;
  // From the file that was named to the one that is run: `#!` lines and binfmt_misc.
  Result<void> FollowInterpreters(const vfs::Context& context, const Request& request, Chain& chain);
  Result<std::optional<Step>> NextStep(const Chain& chain) const;
  Result<Opened> OpenFixedProgram(const fs::FixedInterpreter& fixed);
  Result<std::unique_ptr<PendingExec>> Prepare(SyscallContext& context, Request& request);
  Result<Opened> OpenProgram(const vfs::Context& context, const vfs::Path& path);
  Result<Opened> OpenInterpreter(const vfs::Context& context, const std::string& path);
  // Fills in what the program will be; whether it gains rights.
  Result<bool> PlanCredentials(const SyscallContext& context, const Chain& chain, PendingExec& pending);
  // `random`: the addresses are random.
  Result<void> PlanImages(PendingExec& pending, Opened& program, const vfs::Context& context, bool random);
  Result<Reply> StubHypercall(SyscallContext& context);
  // For where a program is loaded: eight random bytes, asked of the host many at a time.
  Result<uint64_t> RandomNumber();
  void GiveUpGain(PendingExec& pending);
  void AddIdentity(PendingExec& pending);
  Result<Reply> HandOver(SyscallContext& context, std::unique_ptr<PendingExec> pending);

  Kernel& kernel_;
  const uint64_t pico_base_;
  const int pico_fd_;
  platform::TracedExecs traced_;
  Ref<fs::BinfmtMisc> binfmt_;
  bool may_have_fixed_addresses_;
  std::array<uint64_t, 32> random_numbers_{};
  size_t random_left_ = 0;
};

}  // namespace usl::kernel
