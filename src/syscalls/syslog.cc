// syslog(2): the instance's own kernel log.
#include <linux/capability.h>

#include <algorithm>
#include <optional>

#include "kernel/kernel.h"
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {
namespace {

enum Action : int {
  kClose = 0,
  kOpen = 1,
  kRead = 2,
  kReadAll = 3,
  kReadClear = 4,
  kClear = 5,
  kConsoleOff = 6,
  kConsoleOn = 7,
  kConsoleLevel = 8,
  kSizeUnread = 9,
  kSizeBuffer = 10,
};

constexpr int kMaxRead = 1 << 20;  // more than the log ever holds

Result<Reply> CopyLog(const SyscallContext& context, const std::string& text) {
  USL_TRY_VOID(context.memory().Write(context.AddressArg(1), text.data(), text.size()));
  return static_cast<int64_t>(text.size());
}

// Waits for a record when there is none.
Result<Reply> Read(SyscallContext& context, size_t size) {
  kernel::KernelLog& log = context.kernel().log();
  std::string text = log.TakeUnread(size);
  if (!text.empty()) return CopyLog(context, text);
  const platform::GuestAddress buffer = context.AddressArg(1);
  auto attempt = [&kernel = context.kernel(), notification = context.notification(),
                  task = Ref<kernel::Task>(&context.task()), size, buffer](int) -> std::optional<Result<Reply>> {
    if (kernel.log().UnreadBytes() == 0 || !kernel.listener().IsValid(notification.id)) return std::nullopt;
    const std::string taken = kernel.log().TakeUnread(size);
    const auto written = platform::GuestMemory(task->tid()).Write(buffer, taken.data(), taken.size());
    if (!written) return Fail(written.error());
    return Reply(static_cast<int64_t>(taken.size()));
  };
  context.kernel().Park(context, {.attempt = std::move(attempt), .key = kernel::KernelLog::kParkKey});
  return Reply::Answered();
}

}  // namespace

Result<Reply> sys_syslog(SyscallContext& context) {
  kernel::KernelLog& log = context.kernel().log();
  const int action = context.IntArg(0), length = context.IntArg(2);
  const bool anybody = !log.restricted && (action == kReadAll || action == kSizeBuffer);
  if (!anybody && !context.credentials().Has(CAP_SYSLOG) && !context.credentials().Has(CAP_SYS_ADMIN)) {
    return Fail(EPERM);
  }
  if (action == kRead || action == kReadAll || action == kReadClear) {
    if (context.AddressArg(1).is_null() || length < 0) return Fail(EINVAL);
    if (length == 0) return 0;
  }
  context.kernel().log_files().Drain();
  const size_t size = static_cast<size_t>(std::clamp(length, 0, kMaxRead));
  switch (action) {
    case kClose:
    case kOpen:
    case kConsoleOff:
    case kConsoleOn: return 0;
    case kRead: return Read(context, size);
    case kReadAll: return CopyLog(context, log.ReadAll(size));
    case kReadClear: {
      const std::string text = log.ReadAll(size);
      log.Clear();
      return CopyLog(context, text);
    }
    case kClear: log.Clear(); return 0;
    case kConsoleLevel: return length < 1 || length > 8 ? Fail(EINVAL) : Result<Reply>(0);
    case kSizeUnread: return static_cast<int64_t>(log.UnreadBytes());
    case kSizeBuffer: return int64_t{kernel::KernelLog::kMaxBytes};
    default: return Fail(EINVAL);
  }
}

}  // namespace usl::syscalls
