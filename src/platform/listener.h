// The receiving end of seccomp user notifications: one for a whole instance.
//
// Thread-safe: any thread may receive and any thread may answer. Exactly one thread should sit in Receive() at a time,
// as every further one halves the throughput (README.md). A task whose call is not answered stays in the call, feels
// no signal but a fatal one (WAIT_KILLABLE_RECV), and dies of a fatal one at once: then answers fail with ENOENT.
#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "base/unique_fd.h"
#include "platform/notification.h"
#include "platform/placement.h"

namespace usl::platform {

class Listener {
 public:
  // Takes a listener fd (seccomp(2), SECCOMP_FILTER_FLAG_NEW_LISTENER) and asks for synchronous wake-ups.
  // ENOSYS/EINVAL if the host's notification structures are larger than this program can hold.
  static Result<Listener> Adopt(UniqueFd fd);
  Listener(Listener&&) noexcept = default;
  Listener& operator=(Listener&&) noexcept = default;

  // Whether SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (Linux 6.6) is in force; without it every call costs some 12 times more.
  bool sync_wake_up() const { return sync_wake_up_; }
  // For poll(2): POLLIN = a notification waits, POLLHUP = no task is left under the filter.
  int fd() const { return fd_.get(); }

  // Waits for the next call. Interruptions and tasks that died meanwhile are skipped.
  // ESHUTDOWN: no task is left under the filter (noticed while waiting since Linux 6.11; before that, poll for
  // POLLHUP).
  Result<Notification> Receive() const;

  // The answers. Each fails with ENOENT if the task is gone (killed) and the call with it, and with EINPROGRESS if it
  // was answered already; both are harmless to ignore. One call gets exactly one answer.

  // The call returns `value` (not an error).
  Result<void> Respond(uint64_t id, int64_t value) const;
  // The call fails with `error` (positive errno). Not kERESTARTSYS and its like: without a signal for this very thread
  // the number 512 would leak into the guest; see InterruptParked.
  Result<void> RespondError(uint64_t id, int error) const;
  // The host runs the call with the registers as reported. Only where design's safety rule 1 permits it.
  Result<void> Continue(uint64_t id) const;
  // Donates `host_fd` as the lowest free number and makes the call return that number, in one step for the guest, which
  // can feel nothing but a fatal signal in between. The caller keeps host_fd. EMFILE when the guest's RLIMIT_NOFILE is
  // used up; the call is then still unanswered. This is the fast path of open: placement.h keeps both tasks on one CPU
  // where that pays.
  Result<void> AddFdAndRespond(const Notification& notification, int host_fd, bool cloexec) const;
  // The same without looking at placement.
  Result<void> AddFdAndRespond(uint64_t id, int host_fd, bool cloexec) const;

  // Donations that leave the call unanswered.

  // As the lowest free number, which is returned. EMFILE as above; ENOENT: the task is gone.
  Result<int> AddFd(uint64_t id, int host_fd, bool cloexec) const;
  // As the number guest_fd, replacing what it was. EBADF/EMFILE if beyond RLIMIT_NOFILE.
  Result<int> AddFdAt(uint64_t id, int host_fd, int guest_fd, bool cloexec) const;

  // Serves the affinity calls of guests that name a task other than the caller itself.
  Placement& placement() const { return *placement_; }

  // Whether the task still waits in this call, so that what was read through its tid (memory, /proc) was its own.
  bool IsValid(uint64_t id) const;

 private:
  Listener(UniqueFd fd, bool sync_wake_up)
      : fd_(std::move(fd)), sync_wake_up_(sync_wake_up), placement_(std::make_unique<Placement>()) {}
  Result<void> Send(uint64_t id, int64_t value, int error, uint32_t flags) const;

  UniqueFd fd_;
  bool sync_wake_up_ = false;
  std::unique_ptr<Placement> placement_;
};

}  // namespace usl::platform
