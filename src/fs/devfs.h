// /dev: a tmpfs that is filled at start, and the drivers behind its character devices, which are the host's own.
#pragma once

#include <vector>

#include "base/result.h"
#include "vfs/context.h"
#include "vfs/device_table.h"
#include "vfs/vfs.h"

namespace usl::fs {

class DevPts;

// The number of /dev/kmsg, whose driver is the kernel's (it has the log).
inline constexpr unsigned kMemoryMajor = 1, kKernelLogMinor = 11;

// Registers null, zero, full, random, urandom (the host's), tty (the caller's controlling terminal), console and ptmx.
// They fail with ENXIO once `devpts` is gone.
void RegisterDevices(vfs::DeviceTable& devices, DevPts& devpts);

// Lets Vfs recognise the host devices that guests hold: an open /dev/null is the node that stands in the guest's /dev,
// with its name, owner and number. Never mounted; registered with Vfs by PopulateDev.
class DeviceNodes final : public vfs::FileSystem {
 public:
  DeviceNodes() : FileSystem("devices") {}
  // `place` is the guest's node for the host device at `host_path`.
  void Add(const char* host_path, const vfs::Path& place);

  Ref<vfs::Inode> root() override { return nullptr; }
  Result<struct statfs> StatFs() override { return Fail(ENOSYS); }
  Ref<vfs::Inode> FindByHostFile(int fd, const struct stat& status) override;
  std::vector<dev_t> HostDevices() const override;

 private:
  struct Node {
    dev_t host_device, rdev;
    ino_t host_inode;
    // In this order: an inode must not outlive its file system.
    Ref<vfs::FileSystem> file_system;
    Ref<vfs::Inode> inode;
  };
  std::vector<Node> nodes_;
};

// Makes the nodes, links and mount points (pts, shm, mqueue) in `dev`, the root of an empty writable file system
// mounted on /dev. `context` is root's; what exists already is left alone.
Result<void> PopulateDev(vfs::Vfs& vfs, const vfs::Context& context, const vfs::Path& dev);

}  // namespace usl::fs
