// rt_sigaction(2). The host keeps the actions; a handler without SA_RESTART is set behind the signal trampoline.
#include <signal.h>

#include "kernel/exec_service.h"
#include "kernel/kernel.h"
#include "kernel/signal_actions.h"
#include "platform/exec_redirect.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {
namespace {

using kernel::Reply;
using kernel::SignalAction;
using kernel::SignalActions;
using kernel::SyscallContext;

constexpr uint64_t kRestorer = 0x04000000;  // SA_RESTORER

// With SA_RESETHAND the host forgets the handler when it runs, unseen.
bool NeedsTrampoline(const SignalAction& action) {
  if (action.handler == reinterpret_cast<uint64_t>(SIG_DFL) || action.handler == reinterpret_cast<uint64_t>(SIG_IGN)) {
    return false;
  }
  return (action.flags & kRestorer) && !(action.flags & (SA_RESTART | SA_RESETHAND));
}

const SignalAction* Recorded(const kernel::Process& process, int signal) {
  if (!process.signal_actions) return nullptr;
  auto found = process.signal_actions->behind_trampoline.find(signal);
  return found == process.signal_actions->behind_trampoline.end() ? nullptr : &found->second;
}

void Record(kernel::Process& process, int signal, const SignalAction* action) {
  if (!action && !Recorded(process, signal)) return;
  auto changed = process.signal_actions ? std::make_shared<SignalActions>(*process.signal_actions)
                                        : std::make_shared<SignalActions>();
  if (action) {
    changed->behind_trampoline[signal] = *action;
  } else {
    changed->behind_trampoline.erase(signal);
  }
  process.signal_actions = std::move(changed);
}

}  // namespace

// What the struct in memory says concerns the caller's own signals only, so the host may read it whatever it has
// become.
Result<Reply> sys_rt_sigaction(SyscallContext& context) {
  constexpr uint64_t kSetSize = 8;
  constexpr uint64_t kUncatchable = uint64_t{1} << (SIGKILL - 1) | uint64_t{1} << (SIGSTOP - 1);
  kernel::Process& process = context.process();
  const int signal = context.IntArg(0);
  if (context.Arg(3) != kSetSize) return Fail(EINVAL);
  const SignalAction* known = Recorded(process, signal);
  SignalAction action;
  if (context.Arg(1) != 0) action = USL_TRY(context.memory().ReadObject<SignalAction>(context.AddressArg(1)));
  if (context.Arg(2) != 0 && known) {
    // The host would tell of the trampoline. Where the action is set as well, that is a second call.
    USL_TRY_VOID(context.CopyOut(2, *known));
    if (context.Arg(1) == 0) return 0;
    auto again = platform::RepeatWithoutThirdArgument(context.kernel().listener(), context.notification());
    if (again || again.error() == Error(ESRCH)) return Reply::Answered();
    // A traced task: it is told of the trampoline, and may give that back later.
  }
  if (context.Arg(1) == 0) return Reply::ContinueByRegisters();
  const uint64_t trampoline = context.kernel().exec().SignalTrampoline();
  if (action.handler == trampoline && known) action = *known;
  if (!NeedsTrampoline(action)) {
    Record(process, signal, nullptr);
    return Reply::ContinueByRegisters();
  }
  SignalAction native = action;
  native.handler = trampoline;
  native.restorer = action.handler;
  native.flags |= SA_RESTART;
  // Read-only memory stays as it is, and the handler without the trampoline.
  const bool behind = context.memory().WriteObject(context.AddressArg(1), native).has_value();
  action.mask &= ~kUncatchable;
  Record(process, signal, behind ? &action : nullptr);
  return Reply::ContinueByRegisters();
}

}  // namespace usl::syscalls
