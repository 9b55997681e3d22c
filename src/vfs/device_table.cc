#include "vfs/device_table.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vfs/file_system.h"
#include "vfs/mount.h"

namespace usl::vfs {
namespace {

constexpr unsigned kMemoryMajor = 1;
// Descriptors that are held for it.
constexpr size_t kMostOpened = 64;

}  // namespace

void DeviceTable::Register(uint32_t type, dev_t device, OpenFunction open) {
  if (open) {
    drivers_[{type, device}] = std::move(open);
  } else {
    drivers_.erase({type, device});
  }
}

Result<UniqueFd> DeviceTable::Open(uint32_t type, dev_t device, const Path& path, int flags, const Context& context) {
  auto found = drivers_.find({type, device});
  if (found == drivers_.end()) return Fail(ENXIO);
  // A copy: the driver may register or remove others (ptmx makes pts nodes).
  OpenFunction open = found->second;
  auto fd = open(path, flags, context);
  const bool is_elsewhere = home_ && path.inode() && &path.inode()->file_system() != home_;
  if (fd && is_elsewhere && type == S_IFCHR && major(device) == kMemoryMajor) Remember(fd->get(), path);
  return fd;
}

void DeviceTable::Remember(int fd, const Path& path) {
  UniqueFd same(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!same) return;  // the node in /dev is shown then
  if (opened_.size() == kMostOpened) opened_.pop_front();
  opened_.push_back({std::move(same), path});
}

void DeviceTable::ForgetUnmounted() {
  std::erase_if(opened_, [](const Opened& each) { return !each.path.mount || !each.path.mount->name_space(); });
}

const Path* DeviceTable::FindOpened(int fd) const {
  const pid_t self = ::getpid();
  for (auto each = opened_.rbegin(); each != opened_.rend(); ++each) {
    if (::syscall(SYS_kcmp, self, self, KCMP_FILE, fd, each->fd.get()) == 0) return &each->path;
  }
  return nullptr;
}

}  // namespace usl::vfs
