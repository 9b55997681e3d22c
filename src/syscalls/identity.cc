// Who a task is: user, group and capability calls. They never reach the host, where all guests are one ordinary user.
#include "cred/identity.h"

#include <linux/capability.h>
#include <sys/types.h>

#include <array>
#include <vector>

#include "kernel/kernel.h"
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"

namespace usl::syscalls {
namespace {

constexpr int kMaxGroups = 65536;  // NGROUPS_MAX

Result<Reply> Commit(SyscallContext& context, Result<cred::Credentials> next) {
  if (!next) return Fail(next.error());
  if (cred::LosesDumpable(context.credentials(), *next)) context.process().dumpable = false;
  context.task().SetCredentials(std::move(*next));
  return 0;
}

bool KeepsCapabilities(const SyscallContext& context) {
  return context.process().keep_capabilities;
}

Result<Reply> CopyOutThree(SyscallContext& context, uint32_t first, uint32_t second, uint32_t third) {
  USL_TRY_VOID(context.CopyOut(0, first));
  USL_TRY_VOID(context.CopyOut(1, second));
  USL_TRY_VOID(context.CopyOut(2, third));
  return 0;
}

// struct __user_cap_header_struct: which of the layouts follows, and whose sets are meant.
struct CapabilityHeader {
  uint32_t version;
  int pid;
};

struct CapabilityData {
  uint32_t effective, permitted, inheritable;
};

// The number of CapabilityData elements of a version. EINVAL for an unknown one, after telling the newest (capget(2)).
Result<size_t> ElementsOf(const SyscallContext& context, CapabilityHeader header) {
  switch (header.version) {
    case _LINUX_CAPABILITY_VERSION_1: return _LINUX_CAPABILITY_U32S_1;
    case _LINUX_CAPABILITY_VERSION_2: return _LINUX_CAPABILITY_U32S_2;
    case _LINUX_CAPABILITY_VERSION_3: return _LINUX_CAPABILITY_U32S_3;
    default: USL_TRY_VOID(context.CopyOut(0, uint32_t{_LINUX_CAPABILITY_VERSION_3})); return Fail(EINVAL);
  }
}

}  // namespace

Result<Reply> sys_getuid(SyscallContext& context) {
  return int64_t{context.credentials().uid};
}
Result<Reply> sys_geteuid(SyscallContext& context) {
  return int64_t{context.credentials().euid};
}
Result<Reply> sys_getgid(SyscallContext& context) {
  return int64_t{context.credentials().gid};
}
Result<Reply> sys_getegid(SyscallContext& context) {
  return int64_t{context.credentials().egid};
}

Result<Reply> sys_getresuid(SyscallContext& context) {
  const cred::Credentials& own = context.credentials();
  return CopyOutThree(context, own.uid, own.euid, own.suid);
}

Result<Reply> sys_getresgid(SyscallContext& context) {
  const cred::Credentials& own = context.credentials();
  return CopyOutThree(context, own.gid, own.egid, own.sgid);
}

Result<Reply> sys_setuid(SyscallContext& context) {
  return Commit(context, cred::SetUid(context.credentials(), context.UintArg(0), KeepsCapabilities(context)));
}

Result<Reply> sys_setreuid(SyscallContext& context) {
  return Commit(context, cred::SetReuid(context.credentials(), context.UintArg(0), context.UintArg(1),
                                        KeepsCapabilities(context)));
}

Result<Reply> sys_setresuid(SyscallContext& context) {
  return Commit(context, cred::SetResuid(context.credentials(), context.UintArg(0), context.UintArg(1),
                                         context.UintArg(2), KeepsCapabilities(context)));
}

Result<Reply> sys_setgid(SyscallContext& context) {
  return Commit(context, cred::SetGid(context.credentials(), context.UintArg(0)));
}

Result<Reply> sys_setregid(SyscallContext& context) {
  return Commit(context, cred::SetRegid(context.credentials(), context.UintArg(0), context.UintArg(1)));
}

Result<Reply> sys_setresgid(SyscallContext& context) {
  return Commit(context,
                cred::SetResgid(context.credentials(), context.UintArg(0), context.UintArg(1), context.UintArg(2)));
}

Result<Reply> sys_setfsuid(SyscallContext& context) {
  const uid_t old = context.credentials().fsuid;
  USL_TRY(Commit(context, cred::SetFsuid(context.credentials(), context.UintArg(0))));
  return int64_t{old};
}

Result<Reply> sys_setfsgid(SyscallContext& context) {
  const gid_t old = context.credentials().fsgid;
  USL_TRY(Commit(context, cred::SetFsgid(context.credentials(), context.UintArg(0))));
  return int64_t{old};
}

Result<Reply> sys_getgroups(SyscallContext& context) {
  const int size = context.IntArg(0);
  if (size < 0) return Fail(EINVAL);
  const std::vector<gid_t>& groups = context.credentials().groups;
  const auto count = static_cast<int64_t>(groups.size());
  if (size == 0) return count;
  if (count > size) return Fail(EINVAL);
  USL_TRY_VOID(context.memory().Write(context.AddressArg(1), groups.data(), groups.size() * sizeof(gid_t)));
  return count;
}

Result<Reply> sys_setgroups(SyscallContext& context) {
  USL_TRY_VOID(RequireCapability(context, CAP_SETGID));
  const unsigned count = context.UintArg(0);
  if (count > kMaxGroups) return Fail(EINVAL);
  std::vector<gid_t> groups(count);
  if (count > 0) USL_TRY_VOID(context.memory().Read(context.AddressArg(1), groups.data(), count * sizeof(gid_t)));
  for (const gid_t group : groups) {
    if (group == cred::kKeepId) return Fail(EINVAL);
  }
  return Commit(context, cred::SetGroups(context.credentials(), std::move(groups)));
}

Result<Reply> sys_capget(SyscallContext& context) {
  const auto header = USL_TRY(context.memory().ReadObject<CapabilityHeader>(context.AddressArg(0)));
  const bool wants_data = !context.AddressArg(1).is_null();
  const auto elements = ElementsOf(context, header);
  if (!elements) {
    // Without a place for the data this is how a program asks for the version.
    if (elements.error() == Error(EINVAL) && !wants_data) return 0;
    return Fail(elements.error());
  }
  if (header.pid < 0) return Fail(EINVAL);
  cred::CredentialsRef subject = context.task().credentials_ref();
  if (header.pid != 0 && header.pid != context.task().tid()) {
    const Ref<kernel::Task> other = context.kernel().tasks().FindTask(header.pid);
    if (!other) return Fail(ESRCH);
    subject = other->credentials_ref();
  }
  if (!wants_data) return 0;
  std::array<CapabilityData, 2> data{};
  for (size_t i = 0; i < *elements; ++i) {
    data[i].effective = static_cast<uint32_t>(subject->effective >> (32 * i));
    data[i].permitted = static_cast<uint32_t>(subject->permitted >> (32 * i));
    data[i].inheritable = static_cast<uint32_t>(subject->inheritable >> (32 * i));
  }
  USL_TRY_VOID(context.memory().Write(context.AddressArg(1), data.data(), *elements * sizeof(CapabilityData)));
  return 0;
}

Result<Reply> sys_capset(SyscallContext& context) {
  const auto header = USL_TRY(context.memory().ReadObject<CapabilityHeader>(context.AddressArg(0)));
  const size_t elements = USL_TRY(ElementsOf(context, header));
  if (header.pid != 0 && header.pid != context.task().tid()) return Fail(EPERM);
  std::array<CapabilityData, 2> data{};
  USL_TRY_VOID(context.memory().Read(context.AddressArg(1), data.data(), elements * sizeof(CapabilityData)));
  const auto join = [&data](uint32_t CapabilityData::*member) {
    return (cred::CapabilitySet{data[1].*member} << 32) | data[0].*member;
  };
  return Commit(context, cred::SetCapabilities(context.credentials(),
                                               {join(&CapabilityData::effective), join(&CapabilityData::permitted),
                                                join(&CapabilityData::inheritable)}));
}

}  // namespace usl::syscalls
