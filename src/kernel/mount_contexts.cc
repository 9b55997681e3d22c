#include "kernel/mount_contexts.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/format.h"
#include "kernel/kernel.h"
#include "kernel/mount_use.h"

namespace usl::kernel {

MountContext::MountContext(std::string type, Ref<vfs::FileSystem> picked, UniqueFd log)
    : type_(std::move(type)),
      phase_(picked ? Phase::kReconfigureParameters : Phase::kCreateParameters),
      file_system_(std::move(picked)),
      log_(std::move(log)) {}

// A message that finds no room is lost, as on Linux, which keeps eight.
Result<void> MountContext::Refuse(const std::string& message) {
  const std::string line = "e " + message + "\n";
  (void)send(log_.get(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  return Fail(EINVAL);
}

// finish_clean_context(): after a mount or a change the next call starts a new change.
void MountContext::LeaveClean() {
  if (phase_ == Phase::kAwaitingReconfigure) phase_ = Phase::kReconfigureParameters;
}

Result<void> MountContext::SetParameter(Kernel& kernel, const std::string& key, const std::string* value) {
  LeaveClean();
  if (phase_ != Phase::kCreateParameters && phase_ != Phase::kReconfigureParameters) return Fail(EBUSY);
  // vfs_parse_sb_flag(): of these only read-only means something here.
  static constexpr std::string_view kFlags[] = {"dirsync", "lazytime",   "mand",   "ro", "sync",
                                                "async",   "nolazytime", "nomand", "rw"};
  if (std::ranges::find(kFlags, key) != std::end(kFlags)) {
    if (key == "ro" || key == "rw") read_only_ = key == "ro";
    return {};
  }
  if (key.empty()) return Refuse("Unnamed parameter");
  if (key == "source") {
    if (!value) return Refuse("VFS: Non-string source");
    if (!source_.empty()) return Refuse("VFS: Multiple sources");
    source_ = *value;
    return {};
  }
  const std::string option = value ? key + "=" + *value : key;
  const auto checked = kernel.mount_types().Check(type_, option);
  if (!checked && checked.error() == Error(ENOENT)) {
    return Refuse(format("{}: Unknown parameter '{}'", type_, key));
  }
  if (!checked) return Refuse(format("{}: Bad value for '{}'", type_, key));
  if (!options_.empty()) options_ += ',';
  options_ += option;
  return {};
}

Result<void> MountContext::Create(Kernel& kernel, const vfs::Context& view, bool exclusive) {
  LeaveClean();
  if (phase_ != Phase::kCreateParameters) return Fail(EBUSY);
  phase_ = Phase::kFailed;
  const MountRequest request{.view = view, .source = source_, .options = options_, .flags = 0};
  Ref<vfs::FileSystem> made = USL_TRY(kernel.mount_types().Make(type_, request));
  const bool is_new = made->mount_count() == 0;
  if (exclusive && !is_new) return Fail(EBUSY);
  if (is_new && read_only_) made->SetReadOnly(*read_only_);
  file_system_ = std::move(made);
  phase_ = Phase::kAwaitingMount;
  return {};
}

Result<void> MountContext::Reconfigure(Kernel& kernel) {
  LeaveClean();
  if (phase_ != Phase::kReconfigureParameters) return Fail(EBUSY);
  phase_ = Phase::kFailed;
  if (read_only_ == true && !file_system_->is_set_read_only() && IsFileSystemWritten(kernel, *file_system_)) {
    return Fail(EBUSY);
  }
  USL_TRY_VOID(file_system_->Reconfigure(options_));
  if (read_only_) file_system_->SetReadOnly(*read_only_);
  options_.clear();
  read_only_.reset();
  phase_ = Phase::kAwaitingReconfigure;
  return {};
}

Result<Ref<vfs::FileSystem>> MountContext::TakeForMount() {
  if (!file_system_) return Fail(EINVAL);
  if (phase_ != Phase::kAwaitingMount) return Fail(EBUSY);
  phase_ = Phase::kAwaitingReconfigure;
  options_.clear();
  read_only_.reset();
  return file_system_;
}

Result<UniqueFd> MountContexts::Open(std::string type, Ref<vfs::FileSystem> picked) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) return FailErrno();
  UniqueFd own(ends[0]), donated(ends[1]);
  // What the guest writes is never read here: its write(2) fails.
  if (shutdown(own.get(), SHUT_RD) < 0) return FailErrno();
  struct stat status;
  if (fstat(donated.get(), &status) < 0) return FailErrno();
  const int watched = own.get();
  contexts_[status.st_ino] = std::make_shared<MountContext>(std::move(type), std::move(picked), std::move(own));
  kernel_.Watch(watched, EPOLLHUP, [this, watched, number = status.st_ino](uint32_t events) {
    if (!(events & EPOLLHUP)) return;
    kernel_.Unwatch(watched);
    contexts_.erase(number);
    kernel_.vfs().CollectUnused();
  });
  return donated;
}

std::shared_ptr<MountContext> MountContexts::Find(int fd) const {
  struct stat status;
  if (fstat(fd, &status) < 0 || !S_ISSOCK(status.st_mode)) return nullptr;
  // Numbers of sockets are not used twice while one has it; a context whose descriptor is closed is gone soon.
  const auto found = contexts_.find(status.st_ino);
  return found == contexts_.end() ? nullptr : found->second;
}

}  // namespace usl::kernel
