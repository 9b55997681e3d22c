// The names of the system.
#include <linux/capability.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstring>

#include "kernel/kernel.h"
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {
namespace {

constexpr size_t kNameLength = 64;  // __NEW_UTS_LEN

template <size_t N>
void PutName(char (&field)[N], const std::string& name) {
  std::memset(field, 0, N);
  std::memcpy(field, name.data(), std::min(name.size(), N - 1));
}

Result<Reply> SetName(SyscallContext& context, std::string kernel::UtsNames::*name) {
  USL_TRY_VOID(RequireCapability(context, CAP_SYS_ADMIN));
  const int length = context.IntArg(1);
  if (length < 0 || static_cast<size_t>(length) > kNameLength) return Fail(EINVAL);
  std::string text(static_cast<size_t>(length), '\0');
  if (length > 0) USL_TRY_VOID(context.memory().Read(context.AddressArg(0), text.data(), text.size()));
  // uname gives it out as a C string.
  text.resize(std::min(text.size(), std::strlen(text.c_str())));
  (*context.process().uts).*name = std::move(text);
  return 0;
}

}  // namespace

Result<Reply> sys_uname(SyscallContext& context) {
  utsname names{};
  if (uname(&names) < 0) return FailErrno();
  const std::string& release = context.kernel().options().release;
  if (!release.empty()) PutName(names.release, release);
  PutName(names.nodename, context.process().uts->node_name);
  PutName(names.domainname, context.process().uts->domain_name);
  USL_TRY_VOID(context.CopyOut(0, names));
  return 0;
}

Result<Reply> sys_sethostname(SyscallContext& context) {
  return SetName(context, &kernel::UtsNames::node_name);
}
Result<Reply> sys_setdomainname(SyscallContext& context) {
  return SetName(context, &kernel::UtsNames::domain_name);
}

}  // namespace usl::syscalls
