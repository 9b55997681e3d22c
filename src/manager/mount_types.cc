#include "manager/mount_types.h"

#include <string>
#include <utility>

#include "fs/tmpfs.h"
#include "syscalls/tmpfs_options.h"

namespace usl::manager {
namespace {

kernel::MountTypes::Factory NewTmpFs(std::string fallback_directory) {
  return [fallback_directory](const kernel::MountRequest& request) -> Result<Ref<vfs::FileSystem>> {
    fs::TmpFsOptions options = USL_TRY(syscalls::ParseTmpFsOptions(request.options));
    options.fallback_directory = fallback_directory;
    if (!request.source.empty()) options.source = request.source;
    return fs::MakeTmpFs(options);
  };
}

// Linux's options for these (hidepid=, gid=, newinstance...) are accepted: programs always give some.
kernel::MountTypes::Factory Existing(Ref<vfs::FileSystem> file_system) {
  return [file_system](const kernel::MountRequest&) -> Result<Ref<vfs::FileSystem>> { return file_system; };
}

}  // namespace

void AddMountTypes(kernel::Kernel& kernel, const vfs::Context& view) {
  kernel::MountTypes& types = kernel.mount_types();
  for (const char* name : {"tmpfs", "ramfs"}) types.Add(name, NewTmpFs(kernel.options().runtime_directory));
  const std::pair<const char*, const char*> existing[] = {{"proc", "/proc"},
                                                          {"sysfs", "/sys"},
                                                          {"devpts", "/dev/pts"},
                                                          {"devtmpfs", "/dev"},
                                                          {"binfmt_misc", "/proc/sys/fs/binfmt_misc"}};
  for (const auto& [type, place] : existing) {
    const auto path = kernel.vfs().Walk(view, {view.root, place}, 0);
    if (path && path->dentry == path->mount->root()) types.Add(type, Existing(path->mount->file_system_ref()));
  }
}

}  // namespace usl::manager
