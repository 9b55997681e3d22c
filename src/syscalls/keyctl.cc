// add_key(2), request_key(2), keyctl(2): on the instance's own keys (usl::keys), never the host's.
#include <linux/keyctl.h>

#include <optional>

#include "kernel/kernel.h"
#include "kernel/process_access.h"
#include "syscalls/arguments.h"
#include "syscalls/handlers.h"

#ifndef KEYCTL_WATCH_KEY
#define KEYCTL_WATCH_KEY 32
#endif

namespace usl::syscalls {
namespace {

constexpr size_t kTypeSize = 32, kDescriptionSize = 4096, kPageSize = 4096;  // with their NULs
constexpr size_t kMaxAdded = (1 << 20) - 1;

// Runs `operation` with a copy of the caller's credentials, and keeps what it changed: new keyrings of the caller's
// own.
template <typename Operation>
auto WithCaller(SyscallContext& context, Operation operation) {
  keys::KeyService& keys = context.kernel().keys();
  keys::Caller caller{context.credentials()};
  auto result = operation(keys, caller);
  if (!result && result.error() == Error(EDQUOT)) {
    // States of forks that are over may still hold keyrings of sessions that have ended.
    context.kernel().tasks().DropUnusedStates();
    caller = keys::Caller{context.credentials()};
    result = operation(keys, caller);
  }
  if (caller.changed) context.task().SetCredentials(std::move(caller.credentials));
  return result;
}

// key_get_type_from_user() of Linux.
Result<std::string> ReadType(const SyscallContext& context, int index) {
  std::string type = USL_TRY(ReadText(context, context.AddressArg(index), kTypeSize - 1, EINVAL));
  if (type.empty()) return Fail(EINVAL);
  if (type.starts_with('.')) return Fail(EPERM);
  return type;
}

// A string of at most `size` bytes with its NUL.
Result<std::string> ReadString(const SyscallContext& context, int index, size_t size) {
  return ReadText(context, context.AddressArg(index), size - 1, EINVAL);
}

Result<std::string> ReadPayload(const SyscallContext& context, int address, int length, size_t max) {
  const uint64_t size = context.Arg(length);
  if (size > max) return Fail(EINVAL);
  std::string payload(size, '\0');
  // Without a buffer there is no payload, whatever its length says; the type then finds it too short.
  if (context.AddressArg(address).is_null()) return std::string();
  if (size > 0) USL_TRY_VOID(context.memory().Read(context.AddressArg(address), payload.data(), size));
  return payload;
}

Result<Reply> Number(const Result<int32_t>& result) {
  if (!result) return Fail(result.error());
  return *result;
}

// The whole length is returned; what does not fit is not copied at all.
Result<Reply> CopyText(const SyscallContext& context, int address, int length, const std::string& text) {
  const bool fits = !context.AddressArg(address).is_null() && text.size() <= context.Arg(length);
  if (fits && !text.empty()) {
    USL_TRY_VOID(context.memory().Write(context.AddressArg(address), text.data(), text.size()));
  }
  return static_cast<int64_t>(text.size());
}

Result<Reply> Join(SyscallContext& context) {
  std::optional<std::string> name;
  if (!context.AddressArg(1).is_null()) name = USL_TRY(ReadString(context, 1, kPageSize));
  return Number(WithCaller(context, [&](auto& keys, auto& caller) { return keys.JoinSession(caller, name); }));
}

Result<Reply> Search(SyscallContext& context) {
  const std::string type = USL_TRY(ReadType(context, 2));
  const std::string description = USL_TRY(ReadString(context, 3, kDescriptionSize));
  return Number(WithCaller(context, [&](auto& keys, auto& caller) {
    return keys.SearchFrom(caller, context.IntArg(1), type, description, context.IntArg(4));
  }));
}

Result<Reply> Describe(SyscallContext& context) {
  std::string text =
      USL_TRY(WithCaller(context, [&](auto& keys, auto& caller) { return keys.Describe(caller, context.IntArg(1)); }));
  text.push_back('\0');
  return CopyText(context, 2, 3, text);
}

Result<Reply> Security(SyscallContext& context) {
  USL_TRY_VOID(
      WithCaller(context, [&](auto& keys, auto& caller) { return keys.CheckSecurity(caller, context.IntArg(1)); }));
  return CopyText(context, 2, 3, std::string(1, '\0'));  // no security module
}

Result<Reply> Restrict(SyscallContext& context) {
  std::optional<std::string> type;
  const bool has_type = !context.AddressArg(2).is_null(), has_rule = !context.AddressArg(3).is_null();
  if (has_type != has_rule) return Fail(EINVAL);
  if (has_type) {
    type = USL_TRY(ReadType(context, 2));
    USL_TRY(ReadString(context, 3, kPageSize));
  }
  return Done(
      WithCaller(context, [&](auto& keys, auto& caller) { return keys.Restrict(caller, context.IntArg(1), type); }));
}

Result<Reply> Move(SyscallContext& context) {
  const unsigned flags = context.UintArg(4);
  if (flags & ~unsigned{KEYCTL_MOVE_EXCL}) return Fail(EINVAL);
  return Done(WithCaller(context, [&](auto& keys, auto& caller) {
    return keys.Move(caller, context.IntArg(1), context.IntArg(2), context.IntArg(3), flags & KEYCTL_MOVE_EXCL);
  }));
}

// KEYCTL_SESSION_TO_PARENT: only a parent with one thread and the same ids takes it.
Result<Reply> GiveToParent(SyscallContext& context) {
  const keys::KeyRef session =
      USL_TRY(WithCaller(context, [](auto& keys, auto& caller) { return keys.SessionForParent(caller); }));
  const pid_t parent = context.kernel().tasks().ParentOf(context.process());
  Ref<kernel::Process> process = parent > 1 ? context.kernel().tasks().FindProcess(parent) : nullptr;
  if (!process || process->threads().size() != 1) return Fail(EPERM);
  Ref<kernel::Task> leader = context.kernel().tasks().FindTask(process->pid());
  if (!leader) return Fail(EPERM);
  const cred::Credentials &mine = context.credentials(), &its = leader->credentials();
  const bool same = mine.uid == its.uid && mine.uid == its.euid && mine.uid == its.suid && mine.gid == its.gid &&
                    mine.gid == its.egid && mine.gid == its.sgid;
  if (!same) return Fail(EPERM);
  cred::Credentials next = its;
  next.keyrings.session = session;
  leader->SetCredentials(std::move(next));
  return 0;
}

Result<Reply> Capabilities(SyscallContext& context) {
  // What linux/keyctl.h calls KEYCTL_CAPS0_*: no persistent keyrings, no arithmetic on keys, no notifications.
  const std::string known{static_cast<char>(KEYCTL_CAPS0_CAPABILITIES | KEYCTL_CAPS0_BIG_KEY | KEYCTL_CAPS0_INVALIDATE |
                                            KEYCTL_CAPS0_RESTRICT_KEYRING | KEYCTL_CAPS0_MOVE),
                          '\0'};
  const uint64_t room = context.Arg(2);
  if (room > 0) {
    std::string out = known.substr(0, std::min<uint64_t>(room, known.size()));
    USL_TRY_VOID(context.memory().Write(context.AddressArg(1), out.data(), out.size()));
    // The rest of the buffer is cleared, as far as a caller may mean it.
    const std::string zeros(std::min<uint64_t>(room, kPageSize) - out.size(), '\0');
    if (!zeros.empty()) {
      USL_TRY_VOID(context.memory().Write(context.AddressArg(1) + out.size(), zeros.data(), zeros.size()));
    }
  }
  return static_cast<int64_t>(known.size());
}

// The operations on one key that only succeed or fail.
Result<void> OnKey(SyscallContext& context, keys::KeyService& keys, keys::Caller& caller) {
  const int id = context.IntArg(1);
  switch (context.IntArg(0)) {
    case KEYCTL_REVOKE: return keys.Revoke(caller, id);
    case KEYCTL_CHOWN: return keys.Chown(caller, id, context.UintArg(2), context.UintArg(3));
    case KEYCTL_SETPERM: return keys.SetPermissions(caller, id, context.UintArg(2));
    case KEYCTL_CLEAR: return keys.Clear(caller, id);
    case KEYCTL_LINK: return keys.Link(caller, id, context.IntArg(2));
    case KEYCTL_UNLINK: return keys.Unlink(caller, id, context.IntArg(2));
    case KEYCTL_SET_TIMEOUT: return keys.SetTimeout(caller, id, context.UintArg(2));
    case KEYCTL_INVALIDATE: return keys.Invalidate(caller, id);
    default: return Fail(EOPNOTSUPP);
  }
}

Result<Reply> Instantiate(SyscallContext& context) {
  if (context.Arg(3) > kMaxAdded) return Fail(EINVAL);
  return Fail(EPERM);  // only a helper that makes a requested key may, and there are none
}

}  // namespace

Result<Reply> sys_add_key(SyscallContext& context) {
  if (context.Arg(3) > kMaxAdded) return Fail(EINVAL);
  const std::string type = USL_TRY(ReadType(context, 0));
  std::optional<std::string> description;
  if (!context.AddressArg(1).is_null()) {
    description = USL_TRY(ReadString(context, 1, kDescriptionSize));
    if (description->empty()) description.reset();
    if (description && description->starts_with('.') && type.starts_with("keyring")) return Fail(EPERM);
  }
  const std::string payload = USL_TRY(ReadPayload(context, 2, 3, kMaxAdded));
  return Number(WithCaller(context, [&](auto& keys, auto& caller) {
    return keys.Add(caller, type, description, payload, context.IntArg(4));
  }));
}

Result<Reply> sys_request_key(SyscallContext& context) {
  const std::string type = USL_TRY(ReadType(context, 0));
  const std::string description = USL_TRY(ReadString(context, 1, kDescriptionSize));
  if (!context.AddressArg(2).is_null()) USL_TRY(ReadString(context, 2, kPageSize));
  return Number(WithCaller(
      context, [&](auto& keys, auto& caller) { return keys.Request(caller, type, description, context.IntArg(3)); }));
}

Result<Reply> sys_keyctl(SyscallContext& context) {
  const int id = context.IntArg(1);
  switch (context.IntArg(0)) {
    case KEYCTL_GET_KEYRING_ID:
      return Number(WithCaller(
          context, [&](auto& keys, auto& caller) { return keys.GetKeyringId(caller, id, context.IntArg(2) != 0); }));
    case KEYCTL_JOIN_SESSION_KEYRING: return Join(context);
    case KEYCTL_UPDATE: {
      const std::string payload = USL_TRY(ReadPayload(context, 2, 3, kPageSize));
      return Done(WithCaller(context, [&](auto& keys, auto& caller) { return keys.Update(caller, id, payload); }));
    }
    case KEYCTL_DESCRIBE: return Describe(context);
    case KEYCTL_SEARCH: return Search(context);
    case KEYCTL_READ: {
      const std::string content =
          USL_TRY(WithCaller(context, [&](auto& keys, auto& caller) { return keys.Read(caller, id); }));
      return CopyText(context, 2, 3, content);
    }
    case KEYCTL_INSTANTIATE: return Instantiate(context);
    case KEYCTL_INSTANTIATE_IOV:
    case KEYCTL_NEGATE: return Fail(EPERM);
    case KEYCTL_REJECT: {
      const unsigned error = context.UintArg(3);
      return Fail(error == 0 || error >= 4095 || (error >= 512 && error <= 516) ? EINVAL : EPERM);
    }
    case KEYCTL_SET_REQKEY_KEYRING:
      return Number(WithCaller(context, [&](auto& keys, auto& caller) { return keys.SetRequestDefault(caller, id); }));
    case KEYCTL_ASSUME_AUTHORITY:
      if (id < 0) return Fail(EINVAL);
      return id == 0 ? Result<Reply>(0) : Fail(ENOKEY);
    case KEYCTL_GET_SECURITY: return Security(context);
    case KEYCTL_SESSION_TO_PARENT: return GiveToParent(context);
    case KEYCTL_RESTRICT_KEYRING: return Restrict(context);
    case KEYCTL_MOVE: return Move(context);
    case KEYCTL_CAPABILITIES: return Capabilities(context);
    default: return Done(WithCaller(context, [&](auto& keys, auto& caller) { return OnKey(context, keys, caller); }));
  }
}

}  // namespace usl::syscalls
