// devpts: the terminals of this instance. They are ptys of the host, with the host's numbers, but only those that were
// opened through this instance's ptmx (or given to it) exist here.
//
// Each is held by an O_PATH descriptor of its slave, taken while the master was certainly open. Such a descriptor keeps
// nothing alive and never means another terminal: when the number is used again by somebody else on the host, ours has
// no links any more, and opening it fails with EIO.
#pragma once

#include <map>
#include <memory>

#include "fs/synthetic_directory.h"
#include "vfs/device_table.h"

namespace usl::fs {

class DevPts final : public SyntheticFileSystem {
 public:
  // Slaves register themselves in `devices`, which lives while files are opened through this file system; `instance`
  // outlives it.
  static Ref<DevPts> Create(const SyntheticInstance& instance, vfs::DeviceTable& devices);

  // ptmx: a new master. Its slave belongs to the opener (fsuid), group tty, mode 0620.
  Result<UniqueFd> OpenMaster(int flags, const vfs::Context& context);
  // /dev/pts/N. EIO while it is locked or when its master is closed, ENXIO when it is not of this instance. It never
  // becomes the caller's controlling terminal (README-synthetic.md).
  Result<UniqueFd> OpenSlave(unsigned number, int flags);
  // ioctl(TIOCGPTPEER) on a duplicate of a guest's master.
  Result<UniqueFd> OpenPeer(int master, int flags);
  // /dev/tty of a process: ENXIO without a controlling terminal, or when that is not of this instance.
  Result<UniqueFd> OpenControllingTerminal(pid_t process, int flags);
  // /dev/console: the terminal that the instance was given; ENXIO without one.
  Result<UniqueFd> OpenConsole(int flags);

  // Makes a terminal that the host made (the session's own pty, or the user's terminal where it is handed through)
  // known here, as owned by `uid`. `console`: it is /dev/console too. ENOTTY.
  Result<void> AddTerminal(int slave, uid_t uid, bool console);
  // For drivers: null once the file system is gone.
  std::shared_ptr<DevPts* const> self() const { return self_; }
  // The numbers of living slaves.
  std::vector<unsigned> Numbers();

  Ref<vfs::Inode> FindByHostFile(int fd, const struct stat& status) override;
  std::vector<dev_t> HostDevices() const override;
  Result<std::string> FindPath(int fd, vfs::Inode& inode) override;
  std::string options() const override { return "gid=5,mode=620,ptmxmode=666"; }

 private:
  friend class PtsDirectory;
  friend class PtsInode;
  template <typename T, typename... Args>
  friend Ref<T> usl::MakeRef(Args&&...);
  DevPts(const SyntheticInstance& instance, vfs::DeviceTable& devices);
  ~DevPts() override;

  struct Terminal {
    UniqueFd node;      // O_PATH
    UniqueFd fallback;  // an open one, where the host does not let us open it again
    dev_t rdev = 0;
    uint64_t serial = 0;  // tells two terminals apart that had the same number
    uint32_t mode = 0620;
    uid_t uid = 0;
    gid_t gid = 0;
  };
  Result<UniqueFd> Open(const Terminal& terminal, int flags) const;
  Result<void> Add(UniqueFd node, UniqueFd fallback, uid_t uid);
  // The living terminal of a device number, or null. Forgets the dead ones.
  Terminal* Find(dev_t rdev);
  Ref<vfs::Inode> InodeOf(const Terminal& terminal);
  void Sweep();

  vfs::DeviceTable& devices_;
  // What the drivers in the table hold: null once this file system is gone, in whatever order the two end.
  std::shared_ptr<DevPts*> self_ = std::make_shared<DevPts*>(this);
  std::map<dev_t, Terminal> terminals_;
  dev_t console_ = 0;
  uint64_t next_serial_ = 1;
};

}  // namespace usl::fs
