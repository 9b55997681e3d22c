// /dev: a tmpfs that is filled at start, and the drivers behind its character devices, which are the host's own.
#pragma once

#include "base/result.h"
#include "vfs/context.h"
#include "vfs/device_table.h"
#include "vfs/vfs.h"

namespace usl::fs {

class DevPts;

// Registers null, zero, full, random, urandom (the host's), tty (the caller's controlling terminal), console and ptmx.
// They fail with ENXIO once `devpts` is gone.
void RegisterDevices(vfs::DeviceTable& devices, DevPts& devpts);

// Makes the nodes, links and mount points (pts, shm, mqueue) in `dev`, the root of an empty writable file system
// mounted on /dev. `context` is root's; what exists already is left alone.
Result<void> PopulateDev(vfs::Vfs& vfs, const vfs::Context& context, const vfs::Path& dev);

}  // namespace usl::fs
