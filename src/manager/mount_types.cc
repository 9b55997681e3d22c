#include "manager/mount_types.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fs/mqueuefs.h"
#include "fs/tmpfs.h"
#include "fs/tmpfs_options.h"

namespace usl::manager {
namespace {

kernel::MountTypes::Factory NewTmpFs(std::string fallback_directory) {
  return [fallback_directory](const kernel::MountRequest& request) -> Result<Ref<vfs::FileSystem>> {
    fs::TmpFsOptions options = USL_TRY(fs::ParseTmpFsOptions(request.options));
    options.fallback_directory = fallback_directory;
    if (!request.source.empty()) options.source = request.source;
    return fs::MakeTmpFs(options);
  };
}

// Linux's options for these (hidepid=, gid=, newinstance...) are accepted: programs always give some.
kernel::MountTypes::Factory Existing(Ref<vfs::FileSystem> file_system) {
  return [file_system](const kernel::MountRequest&) -> Result<Ref<vfs::FileSystem>> { return file_system; };
}

kernel::MountTypes::OptionCheck KnownNames(std::vector<std::string_view> names) {
  return [names = std::move(names)](std::string_view option) -> Result<void> {
    if (std::ranges::find(names, option.substr(0, option.find('='))) == names.end()) return Fail(ENOENT);
    return {};
  };
}

}  // namespace

void AddMountTypes(kernel::Kernel& kernel, const vfs::Context& view, const fs::SyntheticInstance& instance) {
  kernel::MountTypes& types = kernel.mount_types();
  for (const char* name : {"tmpfs", "ramfs"}) types.Add(name, NewTmpFs(kernel.options().runtime_directory));
  const std::pair<const char*, const char*> existing[] = {
      {"proc", "/proc"}, {"sysfs", "/sys"}, {"devpts", "/dev/pts"}, {"devtmpfs", "/dev"}};
  for (const auto& [type, place] : existing) {
    const auto path = kernel.vfs().Walk(view, {view.root, place}, 0);
    if (path && path->dentry == path->mount->root()) types.Add(type, Existing(path->mount->file_system_ref()));
  }
  types.Add("mqueue", Existing(fs::MakeMessageQueueFs(kernel.message_queues(), instance)));
  types.SetCheck("mqueue", KnownNames({}));
  types.SetCheck("tmpfs", fs::CheckTmpFsOption);
  types.SetCheck("devtmpfs", fs::CheckTmpFsOption);
  types.SetCheck("proc", KnownNames({"gid", "hidepid", "subset", "pidns"}));
  types.SetCheck("sysfs", KnownNames({}));
  types.SetCheck("devpts", KnownNames({"uid", "gid", "mode", "ptmxmode", "newinstance", "max"}));
}

}  // namespace usl::manager
