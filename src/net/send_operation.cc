#include "net/send_operation.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "kernel/process_access.h"
#include "net/control_data.h"
#include "platform/exec_redirect.h"

namespace usl::net {

using kernel::SyscallContext;

namespace {

constexpr size_t kStreamChunk = 64 * 1024;
constexpr size_t kMaxUdp = 65535;
// A reader that keeps up must not make one call hold the kernel: behind this the call waits its turn.
constexpr uint64_t kTurn = 1 << 20;

// SCM_CREDENTIALS as scm_check_creds(): one's own ids, or others by capability.
Result<void> CheckCredentials(const SyscallContext& context, const ucred& given) {
  const cred::Credentials& own = context.credentials();
  const pid_t pid = HostPid(context.kernel(), given.pid);
  const bool pid_ok = pid == context.process().pid() || own.Has(CAP_SYS_ADMIN);
  const bool uid_ok = given.uid == own.uid || given.uid == own.euid || given.uid == own.suid || own.Has(CAP_SETUID);
  const bool gid_ok = given.gid == own.gid || given.gid == own.egid || given.gid == own.sgid || own.Has(CAP_SETGID);
  if (!pid_ok || !uid_ok || !gid_ok) return Fail(EPERM);
  if (pid != context.process().pid() && !context.kernel().tasks().FindProcess(pid)) return Fail(ESRCH);
  return {};
}

}  // namespace

Result<std::unique_ptr<SendOperation>> SendOperation::Prepare(const SyscallContext& context, int fd,
                                                              const SocketFacts& facts, const MessageHeader& message,
                                                              int flags) {
  std::unique_ptr<SendOperation> operation(new SendOperation(context, message.iovecs));
  const platform::GuestMemory memory = context.memory();
  const SocketAddress name =
      message.name_length > 0 ? USL_TRY(ReadAddress(memory, message.name, message.name_length)) : SocketAddress{};
  if (message.control_length > kMaxControl) return Fail(ENOBUFS);
  std::string control(message.control_length, '\0');
  if (!control.empty()) USL_TRY_VOID(memory.Read(message.control, control.data(), control.size()));
  operation->flags_ = flags & ~(MSG_CMSG_CLOEXEC | MSG_DONTWAIT | MSG_NOSIGNAL);
  if (flags & MSG_NOSIGNAL) operation->raise_sigpipe_ = false;
  operation->stream_ = facts.type == SOCK_STREAM;
  operation->total_ = std::min<uint64_t>(message.total, 0x7ffff000);  // MAX_RW_COUNT
  if (facts.domain == AF_UNIX) {
    USL_TRY_VOID(operation->PrepareUnix(context, fd, facts, name, control));
  } else {
    USL_TRY_VOID(operation->PrepareInet(context, fd, facts, name, control));
  }
  if (operation->stream_) return operation;
  // A datagram goes whole; what can never fit is refused before it is copied.
  const uint64_t room = static_cast<uint64_t>(USL_TRY(IntOption(fd, SOL_SOCKET, SO_SNDBUF)));
  if (operation->total_ > room || (facts.domain != AF_UNIX && operation->total_ > kMaxUdp)) return Fail(EMSGSIZE);
  operation->data_ = USL_TRY(operation->source_.Read(memory, operation->total_));
  if (operation->data_.size() != operation->total_) return Fail(EFAULT);
  return operation;
}

Result<void> SendOperation::PrepareInet(const SyscallContext& context, int fd, const SocketFacts& facts,
                                        SocketAddress name, std::string_view control) {
  // udpv6_sendmsg(): no address. Not left to the host: an address of this family is one of AF_INET's for a socket that
  // another thread makes one of that meanwhile (IPV6_ADDRFORM), and it was not checked as that.
  if (facts.domain == AF_INET6 && name.length > 0 && name.family() == AF_UNSPEC) {
    if (TransportOf(fd, facts.type) == Transport::kIcmp) return Fail(EAFNOSUPPORT);
    name = SocketAddress{};
  }
  if (name.length > 0) USL_TRY_VOID(PrepareOutgoing(NetService::Of(context.kernel()), fd, facts, name));
  name_ = name;
  std::vector<ControlItem> items = USL_TRY(ParseControl(control));
  items = USL_TRY(CheckInetControl(std::move(items)));
  control_ = BuildControl(items);
  return {};
}

Result<void> SendOperation::PrepareUnix(const SyscallContext& context, int fd, const SocketFacts& facts,
                                        const SocketAddress& name, std::string_view control) {
  NetService& service = NetService::Of(context.kernel());
  UnixNames& names = *USL_TRY(service.names());
  const std::vector<ControlItem> items = USL_TRY(ParseControl(control));
  const UnixControl parsed = USL_TRY(ParseUnixControl(items));
  USL_TRY_VOID(AddRights(context, parsed.rights));
  if (parsed.credentials) USL_TRY_VOID(CheckCredentials(context, *parsed.credentials));
  bool takes_credentials = false;
  if (name.length > 0 && facts.type == SOCK_DGRAM) {
    const UnixName destination = USL_TRY(ParseUnixName(name));
    UnixTarget target = USL_TRY(ResolveUnixName(service, context.FsView(), destination));
    name_ = target.host;
    name_node_ = std::move(target.node);
    takes_credentials = target.takes_credentials;
    no_event_ = true;
  } else {
    // A stream answers any address with an error, which a family alone brings about; a sequence of packets ignores it.
    if (name.length > 0 && facts.type == SOCK_STREAM) {
      const sa_family_t family = AF_UNIX;
      memcpy(name_.bytes.data(), &family, sizeof family);
      name_.length = sizeof family;
    }
    if (names.any_takes_credentials()) {
      const NamedSocket* peer = names.PeerOf(fd);
      takes_credentials = peer && peer->takes_credentials;
    }
  }
  USL_TRY_VOID(NameBeforeUse(names, fd));
  if (takes_credentials) USL_TRY_VOID(AddToken(context, parsed.credentials));
  return {};
}

Result<void> SendOperation::AddRights(const SyscallContext& context, const std::vector<int>& rights) {
  const IdentityTokens& tokens = NetService::Of(context.kernel()).tokens();
  for (int number : rights) {
    UniqueFd fd = USL_TRY(context.DuplicateFd(number));
    // A guest that came by a token (it left off taking credentials in the midst of a message) cannot use it.
    if (tokens.Find(fd.get())) return Fail(EBADF);
    rights_.push_back(std::move(fd));
  }
  return {};
}

Result<void> SendOperation::AddToken(const SyscallContext& context, const std::optional<ucred>& given) {
  // No room: the receiver sees kNobody.
  if (rights_.size() >= kMaxRights) return {};
  Identity identity{context.process().pid(), context.credentials().uid, context.credentials().gid};
  if (given) identity = {HostPid(context.kernel(), given->pid), given->uid, given->gid};
  const int token = USL_TRY(NetService::Of(context.kernel()).tokens().TokenFor(identity));
  UniqueFd copy(fcntl(token, F_DUPFD_CLOEXEC, 0));
  if (!copy) return FailErrno();
  rights_.push_back(std::move(copy));
  return {};
}

ssize_t SendOperation::SendOnce(int fd, std::string_view data, int flags) {
  std::string control = control_;
  if (!rights_.empty()) {
    std::string numbers;
    for (const UniqueFd& right : rights_) {
      const int number = right.get();
      numbers.append(reinterpret_cast<const char*>(&number), sizeof number);
    }
    control += BuildControl({{SOL_SOCKET, SCM_RIGHTS, std::move(numbers)}});
  }
  iovec part{.iov_base = const_cast<char*>(data.data()), .iov_len = data.size()};
  msghdr message{};
  message.msg_name = name_.length > 0 ? name_.raw() : nullptr;
  message.msg_namelen = name_.length;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.empty() ? nullptr : control.data();
  message.msg_controllen = control.size();
  if (!(flags & MSG_ZEROCOPY) || data.empty()) return sendmsg(fd, &message, flags);
  // The host sends from the pages themselves, later: they belong to this message alone.
  void* pages = mmap(nullptr, data.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return -1;
  memcpy(pages, data.data(), data.size());
  part.iov_base = pages;
  const ssize_t sent = sendmsg(fd, &message, flags);
  const int error = errno;
  munmap(pages, data.size());
  errno = error;
  return sent;
}

Result<void> SendOperation::Refill() {
  if (!stream_ || data_offset_ < data_.size() || sent_ == total_) return {};
  data_ = USL_TRY(source_.Read(caller_.memory(), std::min<uint64_t>(kStreamChunk, total_ - sent_)));
  data_offset_ = 0;
  return {};
}

std::optional<Result<int64_t>> SendOperation::Attempt(int fd, bool may_wait) {
  const uint64_t turn_end = sent_ + kTurn;
  while (true) {
    if (sent_ >= turn_end) {
      if (may_wait) return std::nullopt;
      return static_cast<int64_t>(sent_);
    }
    if (auto filled = Refill(); !filled) {
      if (sent_ > 0) return static_cast<int64_t>(sent_);
      return Fail(filled.error());
    }
    const std::string_view data = std::string_view(data_).substr(data_offset_);
    int flags = flags_ | MSG_DONTWAIT | MSG_NOSIGNAL;
    if (sent_ + data.size() < total_) flags &= ~(MSG_OOB | MSG_EOR);
    const ssize_t sent = SendOnce(fd, data, flags);
    if (sent < 0) {
      const int error = errno;
      if (error == EAGAIN) {
        const bool stop = sent_ > 0 && (!may_wait || platform::HasPendingSignal(caller_.task->tid()));
        if (!stop) return std::nullopt;
      }
      if (sent_ > 0) return static_cast<int64_t>(sent_);
      if (error == EPIPE && stream_ && raise_sigpipe_) {
        // Nothing can be done if it fails: the caller is dying.
        (void)kernel::SendSignal(caller_.kernel, *caller_.task, caller_.task->process(), caller_.task->tid(), SIGPIPE);
      }
      return Fail(error);
    }
    if (!stream_) return static_cast<int64_t>(sent);
    control_.clear();
    rights_.clear();
    name_.length = 0;
    sent_ += static_cast<uint64_t>(sent);
    data_offset_ += static_cast<size_t>(sent);
    if (sent_ >= total_) return static_cast<int64_t>(sent_);
  }
}

}  // namespace usl::net
