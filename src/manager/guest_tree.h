// The mounts that an instance starts with.
#pragma once

#include <string>

#include "base/result.h"
#include "fs/device_pts.h"
#include "kernel/kernel.h"
#include "manager/config.h"
#include "manager/path_map.h"
#include "manager/run_options.h"
#include "manager/session.h"
#include "vfs/mount.h"

namespace usl::manager {

struct TreeInputs {
  const RunOptions& options;
  std::string upper;              // host directory for the changes of a host view
  std::string current_directory;  // the host's, for --here
};

struct GuestTree {
  Ref<vfs::MountNamespace> mounts;
  vfs::Path root;
  fs::DevPts* devpts = nullptr;  // lives as long as the kernel process
  Config config;
  std::string host_name;                 // --hostname, else the configuration's, else the instance's name
  PathMap paths;                         // of what host and guest both see
  std::vector<std::string> environment;  // NAME=VALUE of every session: what the user lets cross the border
  std::string interop_directory;         // the host's, for the sockets of interop; empty: interop is off
  std::string ssh_agent;                 // the host's agent's socket, where it is to be passed on
  std::string user;                      // of sessions that name none: --user, else the configuration's; empty = root
};

// Makes the root (a VolFs over options.rootfs, or the view of the host over inputs.upper), mounts /proc, /sys, /dev,
// /dev/pts, /dev/shm, /tmp and /run, then the volumes and those of the configuration, and sees to /etc/resolv.conf and
// /etc/hosts. On failure `why` has a line for people; what is wrong in the configuration is only told.
Result<GuestTree> BuildGuestTree(kernel::Kernel& kernel, const TreeInputs& inputs, std::string* why);

}  // namespace usl::manager
