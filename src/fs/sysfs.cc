#include "fs/sysfs.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <span>

#include "base/format.h"

namespace usl::fs {
namespace {

// Mirrored trees. Files that trigger something when read or that name the host's hardware serials are not among them.
constexpr std::array<std::string_view, 6> kTrees = {
    "/sys/devices/system/cpu",         "/sys/devices/system/node",
    "/sys/devices/system/clocksource", "/sys/kernel/mm/transparent_hugepage",
    "/sys/devices/system/memory",      "/sys/kernel/mm/hugepages",
};
// Names left out wherever they stand: writing or polling them is all they are for.
constexpr std::array<std::string_view, 11> kHiddenNames = {
    "uevent",
    "microcode",
    "power",
    "driver",
    "subsystem",
    "firmware_node",
    "hotplug",
    "crash_notes",
    "probe",
    "soft_offline_page",
    "hard_offline_page",
};

// What shows of a network interface, copied from the host's.
constexpr const char* kInterfaceFiles[] = {
    "addr_assign_type", "addr_len", "address",      "broadcast", "carrier",           "dev_id",
    "dev_port",         "dormant",  "duplex",       "flags",     "gro_flush_timeout", "ifalias",
    "ifindex",          "iflink",   "link_mode",    "mtu",       "name_assign_type",  "netdev_group",
    "operstate",        "speed",    "tx_queue_len", "type",
};
constexpr const char* kInterfaceStatistics[] = {
    "collisions", "multicast", "rx_bytes",      "rx_compressed", "rx_dropped", "rx_errors",
    "rx_packets", "tx_bytes",  "tx_compressed", "tx_dropped",    "tx_errors",  "tx_packets",
};

std::vector<std::string> Interfaces() {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir("/sys/class/net"), closedir);
  if (!stream) return names;
  while (const dirent* entry = readdir(stream.get())) {
    const std::string name = entry->d_name;
    struct stat status;
    // bonding_masters is a file.
    if (name[0] != '.' && stat(format("/sys/class/net/{}", name).c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
      names.push_back(name);
    }
  }
  return names;
}

bool IsInterface(std::string_view name) {
  return std::ranges::count(Interfaces(), name) != 0;
}

// /sys/devices/virtual/net and /sys/class/net: the host's interfaces come and go.
class InterfaceDirectory final : public SyntheticDirectory {
 public:
  // With `links` the entries are links to the devices, else the devices.
  InterfaceDirectory(SysFs& sys, std::string path, bool links)
      : SyntheticDirectory(sys, std::move(path)), sys_(sys), links_(links) {}

  Result<Ref<vfs::Inode>> Lookup(std::string_view name, const vfs::Context&) override {
    if (!sys_.network() || !IsInterface(name)) return Fail(ENOENT);
    const std::string child = ChildPath(name);
    if (auto live = sys_.FindLive(child)) return Ref<vfs::Inode>(live);
    if (links_) {
      return Ref<vfs::Inode>(MakeRef<SyntheticSymlink>(
          sys_, child,
          [target = format("../../devices/virtual/net/{}", name)](const vfs::Context&) { return target; }));
    }
    auto device = MakeRef<StaticDirectory>(sys_, child);
    const std::string host = format("/sys/class/net/{}", name);
    for (const char* file : kInterfaceFiles) AddIfPresent(*device, host, file);
    const auto statistics = device->AddDirectory("statistics");
    for (const char* file : kInterfaceStatistics) AddIfPresent(*statistics, host + "/statistics", file);
    device->AddDirectory("queues");
    device->AddSymlink("subsystem", "../../../../class/net");
    return Ref<vfs::Inode>(device);
  }
  bool CacheableNames() const override { return false; }

 protected:
  Result<std::vector<SyntheticEntry>> List() override {
    std::vector<SyntheticEntry> entries;
    if (!sys_.network()) return entries;
    for (std::string& name : Interfaces()) {
      entries.push_back({std::move(name), static_cast<unsigned char>(links_ ? DT_LNK : DT_DIR), 0});
    }
    SortByHash(entries);
    return entries;
  }

 private:
  static void AddIfPresent(StaticDirectory& directory, const std::string& host, const char* file) {
    std::string path = format("{}/{}", host, file);
    if (access(path.c_str(), F_OK) != 0) return;
    // Some fail by the interface's state (speed of one that is down: EINVAL), as on Linux.
    directory.AddFile(file, 0444, [path = std::move(path)](const vfs::Context&) {
      return ReadHostFile(AT_FDCWD, path.c_str(), 4096);
    });
  }

  SysFs& sys_;
  const bool links_;
};

void AddMirror(SysFs& sys, StaticDirectory& parent, std::string_view name, const std::string& host_path) {
  struct stat status;
  if (stat(host_path.c_str(), &status) != 0) return;
  parent.Add(name, MakeRef<MirrorDirectory>(sys, parent.ChildPath(name), host_path, sys.policy()));
}

// The devices of devfs.
void AddCharacterDevices(StaticDirectory& classes, StaticDirectory& devices, StaticDirectory& numbers) {
  struct Device {
    const char* name;
    unsigned major, minor;
  };
  static constexpr Device kMemory[] = {{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
                                       {"random", 1, 8}, {"urandom", 1, 9}, {"kmsg", 1, 11}};
  static constexpr Device kTerminals[] = {{"tty", 5, 0}, {"console", 5, 1}, {"ptmx", 5, 2}};
  const auto add = [&](const char* kind, std::span<const Device> list) {
    const auto of_class = classes.AddDirectory(kind);
    const auto of_kind = devices.AddDirectory(kind);
    for (const Device& device : list) {
      const std::string number = format("{}:{}", device.major, device.minor);
      const auto directory = of_kind->AddDirectory(device.name);
      directory->AddText("dev", number + "\n");
      directory->AddText("uevent", format("MAJOR={}\nMINOR={}\nDEVNAME={}\n", device.major, device.minor, device.name));
      directory->AddSymlink("subsystem", format("../../../../class/{}", kind));
      if (std::string_view(device.name) == "console") directory->AddText("active", "\n");
      of_class->AddSymlink(device.name, format("../../devices/virtual/{}/{}", kind, device.name));
      numbers.AddSymlink(number, format("../../devices/virtual/{}/{}", kind, device.name));
    }
  };
  add("mem", kMemory);
  add("tty", kTerminals);
}

void Build(SysFs& sys, StaticDirectory& root) {
  for (const char* name : {"block", "firmware"}) root.AddDirectory(name);
  const auto bus = root.AddDirectory("bus");
  for (const char* name : {"cpu", "node", "pci", "usb"}) {
    const auto directory = bus->AddDirectory(name);
    directory->AddDirectory("devices");
    directory->AddDirectory("drivers");
  }
  const auto classes = root.AddDirectory("class");
  for (const char* name : {"block", "drm", "hwmon", "input", "misc", "power_supply", "thermal"}) {
    classes->AddDirectory(name);
  }
  classes->Add("net", MakeRef<InterfaceDirectory>(sys, "/class/net", true));
  const auto dev = root.AddDirectory("dev");
  dev->AddDirectory("block");
  const auto characters = dev->AddDirectory("char");

  const auto devices = root.AddDirectory("devices");
  const auto system = devices->AddDirectory("system");
  for (const char* name : {"cpu", "node", "memory", "clocksource"}) {
    AddMirror(sys, *system, name, format("/sys/devices/system/{}", name));
  }
  const auto devices_virtual = devices->AddDirectory("virtual");
  AddCharacterDevices(*classes, *devices_virtual, *characters);
  devices_virtual->Add("net", MakeRef<InterfaceDirectory>(sys, "/devices/virtual/net", false));

  const auto fs = root.AddDirectory("fs");
  for (const char* name : {"cgroup", "bpf", "fuse"}) fs->AddDirectory(name);
  const auto kernel = root.AddDirectory("kernel");
  for (const char* name : {"address_bits", "cpu_byteorder", "fscaps"}) {
    kernel->AddHostCopy(name, format("/sys/kernel/{}", name));
  }
  for (const char* name : {"uevent_seqnum", "kexec_loaded", "kexec_crash_loaded", "kexec_crash_size", "profiling",
                           "rcu_expedited", "rcu_normal"}) {
    kernel->AddText(name, "0\n");
  }
  const auto cgroup = kernel->AddDirectory("cgroup");
  cgroup->AddText("delegate", "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\n");
  cgroup->AddText("features", "\n");
  for (const char* name : {"debug", "tracing", "security", "config"}) kernel->AddDirectory(name);
  const auto memory = kernel->AddDirectory("mm");
  AddMirror(sys, *memory, "transparent_hugepage", "/sys/kernel/mm/transparent_hugepage");
  AddMirror(sys, *memory, "hugepages", "/sys/kernel/mm/hugepages");
  root.AddDirectory("module");
  const auto power = root.AddDirectory("power");
  power->AddText("state", "\n");
}

}  // namespace

bool IsSysPathVisible(std::string_view host_path) {
  const bool inside = std::ranges::any_of(kTrees, [&](std::string_view tree) {
    return host_path == tree || (host_path.starts_with(tree) && host_path[tree.size()] == '/');
  });
  if (!inside) return false;
  return !std::ranges::count(kHiddenNames, host_path.substr(host_path.rfind('/') + 1));
}

SysFs::SysFs(const SyntheticInstance& instance, bool network)
    : SyntheticFileSystem("sysfs", SYSFS_MAGIC, instance), network_(network) {
  policy_.visible = IsSysPathVisible;
}

Ref<SysFs> SysFs::Create(const SyntheticInstance& instance, bool network) {
  auto sys = MakeRef<SysFs>(instance, network);
  auto root = MakeRef<StaticDirectory>(*sys, "/");
  Build(*sys, *root);
  sys->SetRoot(root);
  return sys;
}

}  // namespace usl::fs
