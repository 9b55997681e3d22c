// Who uses a mount: for umount(2)'s EBUSY and for what may become read-only. Asked rarely; it looks at every descriptor
// of every process of the instance.
#pragma once

#include "kernel/kernel.h"

namespace usl::kernel {

// Is the mount somebody's root, working directory or program, or is a file open that was opened through it? Of a
// regular file the mount is known only while its file system has one mount; others do not count.
bool IsMountInUse(Kernel& kernel, const vfs::Mount& mount);
// Has a guest a file or directory of it open? (One that travels through a socket just now is not seen.)
bool IsFileSystemOpen(Kernel& kernel, const vfs::FileSystem& file_system);
// Is a regular file of it open for writing?
bool IsFileSystemWritten(Kernel& kernel, const vfs::FileSystem& file_system);
// The same, through this mount, as far as it is known.
bool IsMountWritten(Kernel& kernel, const vfs::Mount& mount);

// Every task that is known, and the leaders of processes that have made no call yet.
std::vector<Ref<Task>> ListTasks(Kernel& kernel);

}  // namespace usl::kernel
