#include "fs/devfs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <functional>

#include "fs/device_pts.h"

namespace usl::fs {
namespace {

struct Node {
  const char* name;
  mode_t mode;
  unsigned major, minor;
  const char* host;  // null: not a host device
};
constexpr Node kNodes[] = {
    {"null", 0666, 1, 3, "/dev/null"},     {"zero", 0666, 1, 5, "/dev/zero"},       {"full", 0666, 1, 7, "/dev/full"},
    {"random", 0666, 1, 8, "/dev/random"}, {"urandom", 0666, 1, 9, "/dev/urandom"}, {"tty", 0666, 5, 0, nullptr},
    {"console", 0600, 5, 1, nullptr},      {"ptmx", 0666, 5, 2, nullptr},           {"kmsg", 0644, 1, 11, nullptr},
};
constexpr std::pair<const char*, const char*> kLinks[] = {
    {"fd", "/proc/self/fd"},
    {"stdin", "/proc/self/fd/0"},
    {"stdout", "/proc/self/fd/1"},
    {"stderr", "/proc/self/fd/2"},
};
constexpr std::pair<const char*, mode_t> kDirectories[] = {{"pts", 0755}, {"shm", S_ISVTX | 0777}, {"mqueue", 0755}};

Result<void> IgnoreExisting(Result<void> result) {
  if (!result && result.error().code() == EEXIST) return {};
  return result;
}

}  // namespace

void RegisterDevices(vfs::DeviceTable& devices, DevPts& devpts) {
  for (const Node& node : kNodes) {
    if (!node.host) continue;
    devices.Register(S_IFCHR, makedev(node.major, node.minor),
                     [host = node.host](const vfs::Path&, int flags, const vfs::Context&) -> Result<UniqueFd> {
                       const int kept = flags & (O_ACCMODE | O_NONBLOCK | O_APPEND);
                       UniqueFd fd(open(host, kept | O_NOCTTY | O_CLOEXEC));
                       if (!fd) return FailErrno();
                       return fd;
                     });
  }
  using Terminal = std::function<Result<UniqueFd>(DevPts&, int flags, const vfs::Context&)>;
  const auto add = [&](unsigned minor, Terminal open_terminal) {
    devices.Register(S_IFCHR, makedev(5, minor),
                     [self = devpts.self(), open_terminal = std::move(open_terminal)](
                         const vfs::Path&, int flags, const vfs::Context& context) -> Result<UniqueFd> {
                       if (!*self) return Fail(ENXIO);
                       return open_terminal(**self, flags, context);
                     });
  };
  add(0, [](DevPts& pts, int flags, const vfs::Context& context) {
    return pts.OpenControllingTerminal(context.thread_group, flags);
  });
  add(1, [](DevPts& pts, int flags, const vfs::Context&) { return pts.OpenConsole(flags); });
  add(2, [](DevPts& pts, int flags, const vfs::Context& context) { return pts.OpenMaster(flags, context); });
}

void DeviceNodes::Add(const char* host_path, const vfs::Path& place) {
  struct stat status;
  if (stat(host_path, &status) != 0 || !S_ISCHR(status.st_mode) || !place.inode()) return;
  nodes_.push_back({status.st_dev, status.st_rdev, status.st_ino, Ref<vfs::FileSystem>(&place.inode()->file_system()),
                    place.dentry->inode()});
}

Ref<vfs::Inode> DeviceNodes::FindByHostFile(int, const struct stat& status) {
  if (!S_ISCHR(status.st_mode)) return nullptr;
  for (const Node& node : nodes_) {
    const bool same = node.host_device == status.st_dev && node.host_inode == status.st_ino;
    if (same && node.rdev == status.st_rdev) return node.inode;
  }
  return nullptr;
}

std::vector<dev_t> DeviceNodes::HostDevices() const {
  std::vector<dev_t> devices;
  for (const Node& node : nodes_) {
    if (!std::ranges::count(devices, node.host_device)) devices.push_back(node.host_device);
  }
  return devices;
}

Result<void> PopulateDev(vfs::Vfs& vfs, const vfs::Context& context, const vfs::Path& dev) {
  vfs.devices().SetHome(&dev.inode()->file_system());
  // A umask would take bits off the nodes.
  const vfs::Context maker{context.credentials,  context.root,   dev,          0,
                           context.thread_group, context.thread, context.pidfd};
  for (const Node& node : kNodes) {
    USL_TRY_VOID(
        IgnoreExisting(vfs.MakeNode(maker, {dev, node.name}, S_IFCHR | node.mode, makedev(node.major, node.minor))));
  }
  for (const auto& [name, target] : kLinks) {
    USL_TRY_VOID(IgnoreExisting(vfs.MakeSymlink(maker, {dev, name}, target)));
  }
  for (const auto& [name, mode] : kDirectories) {
    USL_TRY_VOID(IgnoreExisting(vfs.MakeDirectory(maker, {dev, name}, mode)));
  }
  auto nodes = MakeRef<DeviceNodes>();
  for (const Node& node : kNodes) {
    if (!node.host) continue;
    const auto place = vfs.Walk(maker, {dev, node.name}, vfs::Vfs::kNoFollow);
    if (place && place->inode()->type() == S_IFCHR) nodes->Add(node.host, *place);
  }
  vfs.Register(nodes);
  return {};
}

}  // namespace usl::fs
