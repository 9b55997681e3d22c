#include "fs/device_pts.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>

#include "base/format.h"
#include "fs/proc_text.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

namespace usl::fs {
namespace {

constexpr unsigned kSlaveMajor = 136;
constexpr gid_t kTtyGroup = 5;
const dev_t kMasterDevice = makedev(5, 2);

std::string FdPath(int fd) {
  return format("/proc/self/fd/{}", fd);
}
int KeptFlags(int flags) {
  return flags & (O_ACCMODE | O_NONBLOCK | O_APPEND);
}

// The controlling terminal in the seventh field of /proc/PID/stat: 20 bits of minor around 12 of major.
dev_t ControllingTerminal(pid_t process) {
  const auto stat = ReadHostFile(AT_FDCWD, format("/proc/{}/stat", process).c_str());
  const size_t close = stat ? stat->rfind(')') : std::string::npos;
  if (close == std::string::npos) return 0;
  int parent, group, session;
  unsigned terminal = 0;
  char state;
  if (sscanf(stat->c_str() + close + 1, " %c %d %d %d %u", &state, &parent, &group, &session, &terminal) != 5) return 0;
  return makedev((terminal >> 8) & 0xfff, (terminal & 0xff) | ((terminal >> 12) & 0xfff00));
}

}  // namespace

// A slave. It outlives its terminal where somebody holds it; opening fails then.
class PtsInode final : public SyntheticInode {
 public:
  PtsInode(DevPts& pts, std::string path, dev_t rdev, uint64_t serial)
      : SyntheticInode(pts, std::move(path), S_IFCHR | 0620), pts_(pts), rdev_(rdev), serial_(serial) {}

  uint64_t serial() const { return serial_; }

  Result<vfs::Attributes> GetAttributes() override {
    vfs::Attributes attributes = USL_TRY(SyntheticInode::GetAttributes());
    attributes.rdev = rdev_;
    const DevPts::Terminal* terminal = Find();
    if (!terminal) return attributes;
    attributes.mode = S_IFCHR | terminal->mode;
    attributes.uid = terminal->uid;
    attributes.gid = terminal->gid;
    struct stat status;
    if (fstat(terminal->node.get(), &status) == 0) {
      attributes.atime = status.st_atim;  // w(1) computes idle times from it
      attributes.mtime = status.st_mtim;
      attributes.ctime = status.st_ctim;
    }
    return attributes;
  }
  Result<void> SetAttributes(const vfs::AttributeChange& change) override {
    DevPts::Terminal* terminal = Find();
    if (!terminal) return Fail(EIO);
    if (change.mode) terminal->mode = *change.mode & 07777;
    if (change.uid) terminal->uid = *change.uid;
    if (change.gid) terminal->gid = *change.gid;
    return {};
  }
  // An O_PATH descriptor is Vfs's to make: it must not open the terminal.
  Result<UniqueFd> Open(int flags, const vfs::Context&) override {
    if (flags & O_PATH) return Fail(EOPNOTSUPP);
    const DevPts::Terminal* terminal = Find();
    if (!terminal) return Fail(EIO);
    return pts_.Open(*terminal, flags);
  }

 private:
  DevPts::Terminal* Find() const {
    DevPts::Terminal* terminal = pts_.Find(rdev_);
    return terminal && terminal->serial == serial_ ? terminal : nullptr;
  }
  DevPts& pts_;
  const dev_t rdev_;
  const uint64_t serial_;
};

namespace {

class PtmxInode final : public SyntheticInode {
 public:
  explicit PtmxInode(DevPts& pts) : SyntheticInode(pts, "/ptmx", S_IFCHR | 0666), pts_(pts) {}
  Result<vfs::Attributes> GetAttributes() override {
    vfs::Attributes attributes = USL_TRY(SyntheticInode::GetAttributes());
    attributes.rdev = kMasterDevice;
    return attributes;
  }
  Result<UniqueFd> Open(int flags, const vfs::Context& context) override {
    return flags & O_PATH ? Fail(EOPNOTSUPP) : pts_.OpenMaster(flags, context);
  }

 private:
  DevPts& pts_;
};

}  // namespace

class PtsDirectory final : public StaticDirectory {
 public:
  explicit PtsDirectory(DevPts& pts) : StaticDirectory(pts, "/", 0755), pts_(pts) {
    Add("ptmx", MakeRef<PtmxInode>(pts));
  }
  Result<Ref<vfs::Inode>> Lookup(std::string_view name, const vfs::Context& context) override {
    const auto number = name == "0" ? std::optional<pid_t>(0) : ParseProcNumber(name);
    if (!number) return StaticDirectory::Lookup(name, context);
    const DevPts::Terminal* terminal = pts_.Find(makedev(kSlaveMajor, static_cast<unsigned>(*number)));
    if (!terminal) return Fail(ENOENT);
    return pts_.InodeOf(*terminal);
  }
  bool CacheableNames() const override { return false; }

 protected:
  Result<std::vector<SyntheticEntry>> List() override {
    std::vector<SyntheticEntry> entries = USL_TRY(StaticDirectory::List());
    for (const unsigned number : pts_.Numbers()) {
      entries.push_back({std::to_string(number), DT_CHR, kFirstPosition + 1 + number});
    }
    return entries;
  }

 private:
  DevPts& pts_;
};

DevPts::DevPts(const SyntheticInstance& instance, vfs::DeviceTable& devices)
    : SyntheticFileSystem("devpts", DEVPTS_SUPER_MAGIC, instance), devices_(devices) {}

DevPts::~DevPts() {
  *self_ = nullptr;
}

Ref<DevPts> DevPts::Create(const SyntheticInstance& instance, vfs::DeviceTable& devices) {
  auto pts = MakeRef<DevPts>(instance, devices);
  pts->SetRoot(MakeRef<PtsDirectory>(*pts));
  return pts;
}

void DevPts::Sweep() {
  std::erase_if(terminals_, [this](const auto& entry) {
    struct stat status;
    const auto& [rdev, terminal] = entry;
    if (terminal.fallback || (fstat(terminal.node.get(), &status) == 0 && status.st_nlink > 0)) return false;
    devices_.Register(S_IFCHR, rdev, nullptr);
    return true;
  });
}

DevPts::Terminal* DevPts::Find(dev_t rdev) {
  Sweep();
  const auto found = terminals_.find(rdev);
  return found == terminals_.end() ? nullptr : &found->second;
}

std::vector<unsigned> DevPts::Numbers() {
  Sweep();
  std::vector<unsigned> numbers;
  for (const auto& [rdev, terminal] : terminals_) {
    if (major(rdev) == kSlaveMajor) numbers.push_back(minor(rdev));
  }
  std::ranges::sort(numbers);
  return numbers;
}

Ref<vfs::Inode> DevPts::InodeOf(const Terminal& terminal) {
  const std::string path = format("/{}", minor(terminal.rdev));
  if (auto live = FindLive(path)) {
    const auto* slave = dynamic_cast<PtsInode*>(live.get());
    if (slave && slave->serial() == terminal.serial) return live;
  }
  return MakeRef<PtsInode>(*this, path, terminal.rdev, terminal.serial);
}

Result<void> DevPts::Add(UniqueFd node, UniqueFd fallback, uid_t uid) {
  struct stat status;
  if (fstat(node.get(), &status) != 0) return FailErrno();
  if (!S_ISCHR(status.st_mode)) return Fail(ENOTTY);
  Sweep();
  Terminal terminal{std::move(node), std::move(fallback), status.st_rdev, next_serial_++, 0620, uid, kTtyGroup};
  terminals_.insert_or_assign(status.st_rdev, std::move(terminal));
  devices_.Register(
      S_IFCHR, status.st_rdev,
      [self = self(), rdev = status.st_rdev](const vfs::Path&, int flags, const vfs::Context&) -> Result<UniqueFd> {
        const Terminal* found = *self ? (*self)->Find(rdev) : nullptr;
        if (!found) return Fail(EIO);
        return (*self)->Open(*found, flags);
      });
  return {};
}

Result<UniqueFd> DevPts::Open(const Terminal& terminal, int flags) const {
  UniqueFd fd(open(FdPath(terminal.node.get()).c_str(), KeptFlags(flags) | O_NOCTTY | O_CLOEXEC));
  if (!fd && errno == EACCES && terminal.fallback) {
    // The user's terminal, that another user owns (su): the descriptor that was handed to us is all there is.
    fd.Reset(fcntl(terminal.fallback.get(), F_DUPFD_CLOEXEC, 0));
  }
  if (!fd) return FailErrno();
  return fd;
}

Result<UniqueFd> DevPts::OpenMaster(int flags, const vfs::Context& context) {
  UniqueFd master(open("/dev/ptmx", KeptFlags(flags) | O_NOCTTY | O_CLOEXEC));
  if (!master) return FailErrno();
  UniqueFd node(ioctl(master.get(), TIOCGPTPEER, O_PATH | O_CLOEXEC));
  if (!node) {
    // Hosts before 4.13, and ones whose /dev/pts is another instance's.
    int number = 0;
    if (ioctl(master.get(), TIOCGPTN, &number) != 0) return FailErrno();
    node.Reset(open(format("/dev/pts/{}", number).c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  }
  if (!node) return FailErrno();
  USL_TRY_VOID(Add(std::move(node), {}, context.credentials.fsuid));
  return master;
}

Result<UniqueFd> DevPts::OpenSlave(unsigned number, int flags) {
  const Terminal* terminal = Find(makedev(kSlaveMajor, number));
  if (!terminal) return Fail(ENXIO);
  return Open(*terminal, flags);
}

Result<UniqueFd> DevPts::OpenPeer(int master, int flags) {
  UniqueFd fd(ioctl(master, TIOCGPTPEER, KeptFlags(flags) | O_NOCTTY | O_CLOEXEC));
  if (!fd) return FailErrno();
  return fd;
}

Result<UniqueFd> DevPts::OpenControllingTerminal(pid_t process, int flags) {
  const Terminal* terminal = Find(ControllingTerminal(process));
  if (!terminal) return Fail(ENXIO);
  return Open(*terminal, flags);
}

Result<UniqueFd> DevPts::OpenConsole(int flags) {
  const Terminal* terminal = console_ ? Find(console_) : nullptr;
  if (!terminal) return Fail(ENXIO);
  return Open(*terminal, flags);
}

Result<void> DevPts::AddTerminal(int slave, uid_t uid, bool console) {
  struct stat status;
  if (!isatty(slave) || fstat(slave, &status) != 0) return Fail(ENOTTY);
  UniqueFd node(open(FdPath(slave).c_str(), O_PATH | O_CLOEXEC));
  if (!node) return FailErrno();
  // A descriptor that stays open delays the hangup of its master, so it is kept only where there is no other way.
  UniqueFd kept;
  if (console && access(FdPath(slave).c_str(), R_OK | W_OK) != 0) kept.Reset(fcntl(slave, F_DUPFD_CLOEXEC, 0));
  USL_TRY_VOID(Add(std::move(node), std::move(kept), uid));
  if (console) console_ = status.st_rdev;
  return {};
}

Ref<vfs::Inode> DevPts::FindByHostFile(int, const struct stat& status) {
  if (!S_ISCHR(status.st_mode)) return nullptr;
  if (status.st_rdev == kMasterDevice) return FindLive("/ptmx");
  const Terminal* terminal = Find(status.st_rdev);
  struct stat node;
  if (!terminal || major(status.st_rdev) != kSlaveMajor || fstat(terminal->node.get(), &node) != 0) return nullptr;
  if (node.st_dev != status.st_dev || node.st_ino != status.st_ino) return nullptr;
  return InodeOf(*terminal);
}

std::vector<dev_t> DevPts::HostDevices() const {
  std::vector<dev_t> devices;
  struct stat status;
  for (const char* path : {"/dev/pts", "/dev/ptmx", "/dev/pts/ptmx"}) {
    if (stat(path, &status) == 0) devices.push_back(status.st_dev);
  }
  return devices;
}

Result<std::string> DevPts::FindPath(int, vfs::Inode& inode) {
  return static_cast<SyntheticInode&>(inode).path();
}

}  // namespace usl::fs
