#include "manager/guest_tree.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "base/format.h"
#include "base/log.h"
#include "fs/devfs.h"
#include "fs/drvfs.h"
#include "fs/host_view.h"
#include "fs/procfs.h"
#include "fs/synthetic_write.h"
#include "fs/sysfs.h"
#include "fs/tmpfs.h"
#include "fs/volfs.h"
#include "kernel/proc_source.h"
#include "manager/host_paths.h"
#include "manager/mount_types.h"

namespace usl::manager {
namespace {

constexpr unsigned kSafe = MS_NOSUID | MS_NODEV;

// What the synthetic file systems refer to for as long as the kernel process lives.
struct Synthetic {
  explicit Synthetic(kernel::Kernel& kernel) : source(kernel) {}
  fs::SyntheticInstance instance;
  std::optional<fs::InotifyWriteWatcher> watcher;
  kernel::KernelProcSource source;
  Ref<fs::DevPts> devpts;
};

std::string ReadHostFile(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Builder {
 public:
  Builder(kernel::Kernel& kernel, const TreeInputs& inputs) : kernel_(kernel), inputs_(inputs) {}

  // Each step leaves a line for people in `why` and returns false when it fails.
  bool Build() {
    if (!MakeRoot() || !MakeSynthetic() || !MountSystem()) return false;
    AddMountTypes(kernel_, View().Context(), synthetic_->instance);
    return MountVolumes() && WriteNetworkFiles();
  }

  GuestTree tree;
  std::string why;

 private:
  bool Fail(const std::string& what, Error error) {
    why = format("{}: {}", what, ErrorText(error.code()));
    return false;
  }

  GuestView View() { return {kernel_.vfs(), tree.root}; }

  // USL's own directories are hidden from the view that is kept in one of them.
  Result<Ref<vfs::FileSystem>> MakeView() const {
    return fs::MakeHostView({.upper_directory = inputs_.upper,
                             .hidden = {DataDirectory(), kernel_.options().runtime_directory},
                             .home = HostHome(),
                             .keep = !inputs_.options.keep.empty()});
  }

  static Result<Ref<vfs::FileSystem>> OpenTree(const std::string& directory) {
    return USL_TRY(fs::VolFs::Open({.upper = fs::LayerOptions{.path = directory}, .sync_copy_up = true}));
  }

  bool MakeRoot() {
    const RunOptions& options = inputs_.options;
    const auto root = options.rootfs.empty() ? MakeView() : OpenTree(options.rootfs);
    if (!root) {
      return Fail(options.rootfs.empty() ? "cannot make the view of this machine's files" : "cannot use its root",
                  root.error());
    }
    tree.mounts = MakeRef<vfs::MountNamespace>();
    kernel_.vfs().Register(*root);
    const auto dentry = kernel_.vfs().RootDentry(*root);
    if (auto mounted = tree.mounts->MountRoot(*root, dentry, MS_RELATIME); !mounted) {
      return Fail("cannot mount the root", mounted.error());
    }
    tree.root = {tree.mounts->root(), dentry};
    return true;
  }

  bool MakeSynthetic() {
    synthetic_ = new Synthetic(kernel_);  // lives as long as the process
    auto watcher = fs::InotifyWriteWatcher::Create();
    if (watcher) {
      synthetic_->watcher.emplace(std::move(*watcher));
      synthetic_->instance.watcher = &*synthetic_->watcher;
      kernel_.SetWriteWatcher(&*synthetic_->watcher);
      kernel_.Watch(synthetic_->watcher->fd(), EPOLLIN,
                    [pending = &*synthetic_->watcher](uint32_t) { pending->Drain(); });
    } else {
      Log(LogLevel::kWarning, "no inotify ({}): files of /proc cannot be written", ErrorText(watcher.error().code()));
    }
    synthetic_->devpts = fs::DevPts::Create(synthetic_->instance, kernel_.vfs().devices());
    tree.devpts = synthetic_->devpts.get();
    return true;
  }

  // Mounts on a directory that is made when it is missing.
  bool Mount(const std::string& path, Ref<vfs::FileSystem> file_system, unsigned flags) {
    if (auto made = View().MakeDirectories(path); !made) return Fail(format("cannot make {}", path), made.error());
    return MountOn(path, std::move(file_system), flags);
  }

  bool MountOn(const std::string& path, Ref<vfs::FileSystem> file_system, unsigned flags) {
    const GuestView view = View();
    const auto target = view.vfs.Walk(view.Context(), {view.root, path}, 0);
    if (!target) return Fail(format("cannot reach {}", path), target.error());
    view.vfs.Register(file_system);
    auto root = view.vfs.RootDentry(file_system);
    const auto mounted = tree.mounts->Attach(*target, std::move(file_system), std::move(root), flags | MS_RELATIME);
    if (!mounted) return Fail(format("cannot mount on {}", path), mounted.error());
    return true;
  }

  bool MountTemporary(const std::string& path, mode_t mode, unsigned flags) {
    auto file_system = fs::MakeTmpFs({.mode = mode, .fallback_directory = kernel_.options().runtime_directory});
    if (!file_system) return Fail(format("cannot make a tmpfs for {}", path), file_system.error());
    return Mount(path, *file_system, flags);
  }

  bool MountSystem() {
    const bool mounted =
        Mount("/proc", fs::ProcFs::Create(synthetic_->source, synthetic_->instance), kSafe | MS_NOEXEC) &&
        Mount("/sys", fs::SysFs::Create(synthetic_->instance, inputs_.options.network),
              kSafe | MS_NOEXEC | MS_RDONLY) &&
        MountTemporary("/dev", 0755, MS_NOSUID);
    if (!mounted) return false;
    const GuestView view = View();
    fs::RegisterDevices(view.vfs.devices(), *synthetic_->devpts);
    const auto dev = view.vfs.Walk(view.Context(), {view.root, "/dev"}, 0);
    if (!dev) return Fail("cannot reach /dev", dev.error());
    if (auto filled = fs::PopulateDev(view.vfs, view.Context(), *dev); !filled) {
      return Fail("cannot fill /dev", filled.error());
    }
    return Mount("/dev/pts", synthetic_->devpts, MS_NOSUID | MS_NOEXEC) && MountTemporary("/dev/shm", 01777, kSafe) &&
           MountTemporary("/tmp", 01777, kSafe) && MountTemporary("/run", 0755, kSafe) &&
           View().MakeDirectories("/run/lock").has_value();
  }

  bool MountVolumes() {
    for (const Volume& volume : inputs_.options.volumes) {
      if (!Bind(volume.host_path, volume.guest_path, volume.read_only)) return false;
    }
    return !inputs_.options.here || Bind(inputs_.current_directory, inputs_.current_directory, false);
  }

  bool Bind(const std::string& host, const std::string& guest, bool read_only) {
    const auto file_system = fs::MakeDrvFs({.host_path = host, .read_only = read_only});
    if (!file_system) return Fail(format("cannot bind \"{}\"", host), file_system.error());
    const unsigned flags = kSafe | (read_only ? unsigned{MS_RDONLY} : 0u);
    struct stat status;
    if (stat(host.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return Mount(guest, *file_system, flags);
    // A file is mounted on a file.
    const size_t slash = guest.rfind('/');
    if (slash > 0) {
      if (auto made = View().MakeDirectories(guest.substr(0, slash)); !made) return Fail(guest, made.error());
    }
    if (!View().Exists(guest)) {
      if (auto made = View().WriteFile(guest, ""); !made) return Fail(format("cannot make {}", guest), made.error());
    }
    return MountOn(guest, *file_system, flags);
  }

  // Names must resolve: on many hosts resolv.conf is a link into /run, which is the instance's own and empty.
  bool WriteNetworkFiles() {
    const GuestView view = View();
    if (inputs_.options.network && !view.Exists("/etc/resolv.conf")) WriteResolver(view);
    const std::string& name = inputs_.host_name;
    auto hosts = view.ReadFile("/etc/hosts");
    std::string text = hosts ? *hosts : "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
    const bool is_view = inputs_.options.rootfs.empty();
    if (!hosts || (is_view && text.find(name) == text.npos)) {
      // Without its own name sudo and others wait for a name server.
      if (!text.empty() && text.back() != '\n') text += '\n';
      (void)view.WriteFile("/etc/hosts", text + "127.0.1.1\t" + name + "\n");
    }
    if (is_view) (void)view.WriteFile("/etc/hostname", name + "\n");
    return true;
  }

  void WriteResolver(const GuestView& view) {
    const std::string content = ReadHostFile("/etc/resolv.conf");
    if (content.empty()) return;
    char* target = realpath("/etc/resolv.conf", nullptr);
    const std::string place = target ? target : "";
    free(target);
    // A link into /run is satisfied there; else the file itself is missing.
    if (place.starts_with("/run/")) {
      (void)view.MakeDirectories(place.substr(0, place.rfind('/')));
      (void)view.WriteFile(place, content);
    }
    if (!view.Exists("/etc/resolv.conf")) (void)view.WriteFile("/etc/resolv.conf", content);
  }

  kernel::Kernel& kernel_;
  const TreeInputs& inputs_;
  Synthetic* synthetic_ = nullptr;
};

}  // namespace

Result<GuestTree> BuildGuestTree(kernel::Kernel& kernel, const TreeInputs& inputs, std::string* why) {
  Builder builder(kernel, inputs);
  if (builder.Build()) return std::move(builder.tree);
  *why = builder.why.empty() ? "cannot make the guest's files" : builder.why;
  return Fail(EIO);
}

}  // namespace usl::manager
