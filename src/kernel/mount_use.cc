#include "kernel/mount_use.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <set>

#include "base/format.h"
#include "platform/proc_status.h"

namespace usl::kernel {
namespace {

using FileCheck = std::function<bool(const vfs::FileIdentity& file, int flags)>;

int FlagsOf(pid_t tid, const char* number) {
  const auto flags = platform::ReadStatusField(format("/proc/{}/fdinfo/{}", tid, number).c_str(), "flags:", 8);
  return flags ? static_cast<int>(*flags) : 0;
}

// Does `check` say yes to one of the descriptors of the table that `tid` uses?
bool AnyDescriptor(Kernel& kernel, pid_t tid, const FileCheck& check) {
  const std::unique_ptr<DIR, int (*)(DIR*)> table(opendir(format("/proc/{}/fd", tid).c_str()), closedir);
  if (!table) return false;
  while (const dirent* entry = readdir(table.get())) {
    if (entry->d_name[0] == '.') continue;
    struct stat status;
    if (fstatat(dirfd(table.get()), entry->d_name, &status, 0) < 0) continue;
    if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) continue;
    const UniqueFd fd(openat(dirfd(table.get()), entry->d_name, O_PATH | O_CLOEXEC));
    if (!fd) continue;
    const vfs::FileIdentity file = kernel.vfs().Identify(fd.get());
    if (file.inode && check(file, FlagsOf(tid, entry->d_name))) return true;
  }
  return false;
}

bool AnyOpenFile(Kernel& kernel, const FileCheck& check) {
  std::set<pid_t> tables;
  for (const Ref<Task>& task : ListTasks(kernel)) {
    tables.insert(task->own_descriptors ? task->tid() : task->process().pid());
  }
  return std::ranges::any_of(tables, [&](pid_t tid) { return AnyDescriptor(kernel, tid, check); });
}

bool IsOnlyMount(const vfs::Mount& mount) {
  return mount.file_system().mount_count() == 1;
}

bool IsOpenedThrough(const vfs::FileIdentity& file, const vfs::Mount& mount) {
  if (file.path.mount.get() == &mount) return file.inode->IsDirectory() || IsOnlyMount(mount);
  return !file.inode->IsDirectory() && &file.inode->file_system() == &mount.file_system() && IsOnlyMount(mount);
}

bool IsWriting(const vfs::FileIdentity& file, int flags) {
  const int access = flags & O_ACCMODE;
  return file.inode->IsRegular() && (access == O_WRONLY || access == O_RDWR);
}

}  // namespace

std::vector<Ref<Task>> ListTasks(Kernel& kernel) {
  TaskTable& table = kernel.tasks();
  std::vector<Ref<Task>> tasks;
  for (const Ref<Process>& process : table.List()) {
    std::set<pid_t> tids(process->threads().begin(), process->threads().end());
    tids.insert(process->pid());
    for (pid_t tid : tids) {
      Ref<Task> task = table.FindTask(tid);
      if (task && task->process_ref() == process) tasks.push_back(std::move(task));
    }
  }
  return tasks;
}

bool IsMountInUse(Kernel& kernel, const vfs::Mount& mount) {
  for (const Ref<Task>& task : ListTasks(kernel)) {
    const FsContext& fs = *task->fs();
    if (fs.cwd.mount.get() == &mount || fs.root.mount.get() == &mount) return true;
    const auto& program = task->process().program;
    if (program && program->path.mount.get() == &mount) return true;
  }
  return AnyOpenFile(kernel, [&](const vfs::FileIdentity& file, int) { return IsOpenedThrough(file, mount); });
}

bool IsFileSystemOpen(Kernel& kernel, const vfs::FileSystem& file_system) {
  return AnyOpenFile(kernel,
                     [&](const vfs::FileIdentity& file, int) { return &file.inode->file_system() == &file_system; });
}

bool IsFileSystemWritten(Kernel& kernel, const vfs::FileSystem& file_system) {
  return AnyOpenFile(kernel, [&](const vfs::FileIdentity& file, int flags) {
    return &file.inode->file_system() == &file_system && IsWriting(file, flags);
  });
}

bool IsMountWritten(Kernel& kernel, const vfs::Mount& mount) {
  return AnyOpenFile(kernel, [&](const vfs::FileIdentity& file, int flags) {
    return IsOpenedThrough(file, mount) && IsWriting(file, flags);
  });
}

}  // namespace usl::kernel
