#include "manager/trace_lines.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "abi/format_call.h"
#include "base/format.h"
#include "platform/guest_memory.h"

namespace usl::manager {
namespace {

class GuestReader final : public abi::MemoryReader {
 public:
  explicit GuestReader(pid_t tid) : memory_(tid) {}
  Result<void> Read(uint64_t address, void* to, size_t size) const override {
    return memory_.Read(platform::GuestAddress(address), to, size);
  }

 private:
  platform::GuestMemory memory_;
};

std::string Describe(const platform::Notification& notification, std::optional<int64_t> result) {
  uint64_t arguments[6];
  std::ranges::copy(notification.args, arguments);
  const abi::SyscallRow* row = abi::FindSyscall(static_cast<uint32_t>(notification.nr));
  if (!row) return format("syscall_{}({:#x}, {:#x}, {:#x})", notification.nr, arguments[0], arguments[1], arguments[2]);
  return abi::FormatCall(*row, arguments, GuestReader(notification.tid), result);
}

bool IsExec(int number) {
  return number == SYS_execve || number == SYS_execveat;
}

}  // namespace

void TraceLines::BeforeCall(const kernel::Task&, const platform::Notification& notification) {
  call_.clear();
  if (IsExec(notification.nr)) call_ = Describe(notification, std::nullopt);
}

void TraceLines::OnCall(const kernel::Task&, const platform::Notification& notification, bool known, int64_t result,
                        uint64_t nanoseconds) {
  const abi::SyscallRow* row = abi::FindSyscall(static_cast<uint32_t>(notification.nr));
  const auto shown = known ? std::optional(result) : std::nullopt;
  std::string line = format("{} {}", notification.tid, call_.empty() ? Describe(notification, shown) : call_);
  if (known && row) line += " = " + abi::FormatResult(*row, result);
  const bool served = known || (row && row->decision != abi::Decision::kNative);
  if (served) line += format(" <{}.{:06}>", nanoseconds / 1'000'000'000, nanoseconds / 1000 % 1'000'000);
  line += '\n';
  // A trace that cannot be written (a closed pipe, a full disk) must not stop the guest.
  [[maybe_unused]] const ssize_t written = write(fd_.get(), line.data(), line.size());
}

}  // namespace usl::manager
