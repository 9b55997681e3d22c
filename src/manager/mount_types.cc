#include "manager/mount_types.h"

#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"
#include "fs/drvfs.h"
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

// `mount -t drvfs SOURCE TARGET -o OPTIONS`. Mounting the same place in the same way again gives the same file system,
// as Linux does for a disk.
class DrvFsMounts {
 public:
  explicit DrvFsMounts(std::shared_ptr<const HostShares> shares) : shares_(std::move(shares)) {}

  Result<Ref<vfs::FileSystem>> Mount(const kernel::MountRequest& request) {
    // Who mounts owns the files, unless the options say otherwise.
    fs::DrvFsOptions options{.uid = request.view.credentials.fsuid, .gid = request.view.credentials.fsgid};
    USL_TRY_VOID(fs::ApplyDrvFsOptions(request.options, options));
    auto found = shares_->Open(request.source);
    if (!found) {
      if (found.error() == Error(EPERM)) Explain(request.source);
      return Fail(found.error());
    }
    options.read_only = found->read_only;
    struct stat status;
    if (fstat(found->source.directory.get(), &status) < 0) return FailErrno();
    const fs::HostKey key = fs::KeyOf(status);
    const std::string file = found->source.single_file;
    std::erase_if(known_, [](const Known& each) { return each.file_system->mount_count() == 0; });
    auto made = USL_TRY(fs::MakeDrvFs(std::move(found->source), options));
    for (const Known& each : known_) {
      const bool same = each.key == key && each.file == file && each.file_system->options() == made->options() &&
                        each.file_system->source() == made->source() &&
                        each.file_system->IsReadOnly() == made->IsReadOnly();
      if (same) return each.file_system;
    }
    known_.push_back({key, file, made});
    return made;
  }

 private:
  struct Known {
    fs::HostKey key;
    std::string file;
    Ref<vfs::FileSystem> file_system;
  };

  // Once: a guest could fill the log.
  void Explain(const std::string& source) {
    if (explained_) return;
    explained_ = true;
    Log(LogLevel::kWarning,
        "the guest may not mount \"{}\": allow that with --drvfs HOSTDIR when starting it (said once for each "
        "instance)",
        source.substr(0, 200));
  }

  std::shared_ptr<const HostShares> shares_;
  std::vector<Known> known_;
  bool explained_ = false;
};

kernel::MountTypes::OptionCheck KnownNames(std::vector<std::string_view> names) {
  return [names = std::move(names)](std::string_view option) -> Result<void> {
    if (std::ranges::find(names, option.substr(0, option.find('='))) == names.end()) return Fail(ENOENT);
    return {};
  };
}

}  // namespace

void AddMountTypes(kernel::Kernel& kernel, const vfs::Context& view, const fs::SyntheticInstance& instance,
                   std::shared_ptr<const HostShares> shares) {
  kernel::MountTypes& types = kernel.mount_types();
  for (const char* name : {"tmpfs", "ramfs"}) types.Add(name, NewTmpFs(kernel.options().runtime_directory));
  types.Add("drvfs", [mounts = std::make_shared<DrvFsMounts>(std::move(shares))](const kernel::MountRequest& request) {
    return mounts->Mount(request);
  });
  const std::pair<const char*, const char*> existing[] = {{"proc", "/proc"},
                                                          {"sysfs", "/sys"},
                                                          {"devpts", "/dev/pts"},
                                                          {"devtmpfs", "/dev"},
                                                          {"cgroup2", "/sys/fs/cgroup"},
                                                          {"binfmt_misc", "/proc/sys/fs/binfmt_misc"}};
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
