// What a system call handler works with. A handler is thin: decode the registers, copy in once, delegate, copy out.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "base/result.h"
#include "base/unique_fd.h"
#include "kernel/task.h"
#include "platform/guest_address.h"
#include "platform/guest_memory.h"
#include "platform/notification.h"
#include "vfs/vfs.h"

namespace usl::kernel {

class Kernel;

// How a served call ends when it does not fail.
class Reply {
 public:
  // The call returns this value.
  Reply(int64_t value) : kind_(Kind::kValue), value_(value) {}  // NOLINT: handlers write `return 0;`
  // The host's kernel carries the call out. Only for calls that are decided by registers alone, which name objects that
  // cannot be re-bound (design: safety rule 1). Grep for this name to see all that widens the sandbox.
  static Reply ContinueByRegisters() { return Reply(Kind::kContinue); }
  // The call returns the number of a new descriptor for `fd` in the guest.
  static Reply Donate(UniqueFd fd, bool close_on_exec) {
    Reply reply(Kind::kDonate);
    reply.fd_ = std::move(fd);
    reply.close_on_exec_ = close_on_exec;
    return reply;
  }
  // The call was answered already, or was parked and will be answered later.
  static Reply Answered() { return Reply(Kind::kAnswered); }

  enum class Kind { kValue, kContinue, kDonate, kAnswered };
  Kind kind() const { return kind_; }
  int64_t value() const { return value_; }
  int fd() const { return fd_.get(); }
  bool close_on_exec() const { return close_on_exec_; }

 private:
  explicit Reply(Kind kind) : kind_(kind) {}
  Kind kind_;
  int64_t value_ = 0;
  UniqueFd fd_;
  bool close_on_exec_ = false;
};

class SyscallContext {
 public:
  SyscallContext(Kernel& kernel, Task& task, const platform::Notification& notification)
      : kernel_(kernel), task_(task), notification_(notification) {}

  Kernel& kernel() const { return kernel_; }
  Task& task() const { return task_; }
  Process& process() const { return task_.process(); }
  const cred::Credentials& credentials() const { return task_.credentials(); }
  const platform::Notification& notification() const { return notification_; }
  // The caller's memory, by the thread itself: a leader that has exited has none.
  platform::GuestMemory memory() const {
    return platform::GuestMemory(task_.tid(), task_.process().MemoryForReading(task_.tid()));
  }
  vfs::Vfs& vfs() const;

  uint64_t Arg(int index) const { return notification_.args[index]; }
  // The kernel truncates int arguments; so do we.
  int IntArg(int index) const { return static_cast<int>(notification_.args[index]); }
  unsigned UintArg(int index) const { return static_cast<unsigned>(notification_.args[index]); }
  platform::GuestAddress AddressArg(int index) const { return platform::GuestAddress(notification_.args[index]); }

  // A path argument, copied once: EFAULT, ENAMETOOLONG (PATH_MAX), ENOENT is the walk's.
  Result<std::string> PathArg(int index) const;
  // The view of the file tree of the calling task.
  vfs::Context FsView() const;
  // The directory that a dirfd argument means (AT_FDCWD = the cwd); EBADF, and ENOTDIR is the walk's.
  Result<vfs::Path> DirectoryArg(int index) const;
  // A duplicate of one of the caller's descriptors; EBADF.
  Result<UniqueFd> DuplicateFd(int guest_fd) const;
  // DuplicateFd and what it refers to.
  struct IdentifiedFd {
    UniqueFd fd;
    vfs::FileIdentity identity;
  };
  Result<IdentifiedFd> IdentifyFd(int guest_fd) const;

  // Copies a result out: EFAULT.
  template <typename T>
  Result<void> CopyOut(int address_index, const T& value) const {
    return memory().WriteObject(AddressArg(address_index), value);
  }

 private:
  Kernel& kernel_;
  Task& task_;
  const platform::Notification& notification_;
};

// A system call handler. The notification has been checked for life; the kernel lock is held.
using Handler = Result<Reply> (*)(SyscallContext&);

}  // namespace usl::kernel
