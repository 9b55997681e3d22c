#include "manager/guest_tree.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "base/format.h"
#include "base/log.h"
#include "fs/cgroupfs.h"
#include "fs/devfs.h"
#include "fs/drvfs.h"
#include "fs/host_view.h"
#include "fs/proc_binfmt.h"
#include "fs/procfs.h"
#include "fs/synthetic_write.h"
#include "fs/sysfs.h"
#include "fs/tmpfs.h"
#include "fs/volfs.h"
#include "interop/image.h"
#include "kernel/exec_service.h"
#include "kernel/proc_source.h"
#include "manager/border_environment.h"
#include "manager/host_paths.h"
#include "manager/host_shares.h"
#include "manager/hosts_file.h"
#include "manager/mount_types.h"
#include "protocol/accounts.h"
#include "protocol/interop.h"

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

// The first line of a resolv.conf that every start renews.
const std::string kResolverMark = "# Written by usl at every start; network.generateResolvConf = false turns it off.\n";

std::string ReadHostFile(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Builder {
 public:
  Builder(kernel::Kernel& kernel, const TreeInputs& inputs) : kernel_(kernel), inputs_(inputs) {}

  // Each step leaves a line for people in `why` and returns false when it fails.
  bool Build() {
    if (!MakeRoot()) return false;
    Configure();
    if (!MakeSynthetic() || !MountSystem()) return false;
    if (!AllowShares()) return false;
    AddMountTypes(kernel_, View().Context(), synthetic_->instance, shares_);
    if (!MountVolumes()) return false;
    MountAutomatic();
    FindPaths();
    return MountInterop() && WriteNetworkFiles();
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

  // What an image's throw-away instance changes goes where a host view's changes go.
  Result<Ref<vfs::FileSystem>> OpenTree(const RunOptions& options) const {
    const bool is_kept = !options.rootfs.empty();
    fs::VolFsOptions volfs{.upper = fs::LayerOptions{.path = is_kept ? options.rootfs : inputs_.upper},
                           .volatile_tree = !is_kept,
                           .sync_copy_up = is_kept};
    for (const std::string& layer : options.layers) volfs.lowers.push_back({.path = layer});
    return USL_TRY(fs::VolFs::Open(std::move(volfs)));
  }

  bool MakeRoot() {
    const RunOptions& options = inputs_.options;
    const auto root = options.IsHostView() ? MakeView() : OpenTree(options);
    if (!root) {
      return Fail(options.IsHostView() ? "cannot make the view of this machine's files" : "cannot use its root",
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

  // Before anything is mounted, so that the guest's own files are read.
  void Configure() {
    const RunOptions& options = inputs_.options;
    std::vector<ConfigFile> files = options.host_config;
    if (options.guest_config && !options.IsHostView()) {
      const GuestView view = View();
      std::ranges::move(
          ReadGuestConfig([&view](const std::string& path) { return view.ReadFile(path, kMaxConfigSize); }),
          std::back_inserter(files));
    }
    tree.config = Config::Merge(std::move(files));
    const std::string& configured = tree.config.Text("network.hostname");
    tree.host_name = !options.host_name.empty() ? options.host_name : !configured.empty() ? configured : options.name;
    tree.user = options.user.empty() ? tree.config.Text("user.default") : options.user;
    for (const std::string& warning : tree.config.warnings()) fprintf(stderr, "usl: %s\n", warning.c_str());
    std::vector<std::string> missing;
    automatic_ = tree.config.AutomountVolumes(&missing);
    for (const std::string& warning : missing) fprintf(stderr, "usl: %s\n", warning.c_str());
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
    // What Linux does for a mount(2) that says nothing of access times.
    if (!(flags & MS_NOATIME)) flags |= MS_RELATIME;
    const auto mounted = tree.mounts->Attach(*target, std::move(file_system), std::move(root), flags);
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
        MountOn("/sys/fs/cgroup", fs::CgroupFs::Create(synthetic_->source, synthetic_->instance), kSafe | MS_NOEXEC) &&
        MountTemporary("/dev", 0755, MS_NOSUID);
    if (!mounted || !MountBinfmt()) return false;
    const GuestView view = View();
    fs::RegisterDevices(view.vfs.devices(), *synthetic_->devpts);
    RegisterKernelLog();
    const auto dev = view.vfs.Walk(view.Context(), {view.root, "/dev"}, 0);
    if (!dev) return Fail("cannot reach /dev", dev.error());
    if (auto filled = fs::PopulateDev(view.vfs, view.Context(), *dev); !filled) {
      return Fail("cannot fill /dev", filled.error());
    }
    return Mount("/dev/pts", synthetic_->devpts, MS_NOSUID | MS_NOEXEC) && MountTemporary("/dev/shm", 01777, kSafe) &&
           MountTemporary("/tmp", 01777, kSafe) && MountTemporary("/run", 0755, kSafe) &&
           View().MakeDirectories("/run/lock").has_value();
  }

  void RegisterKernelLog() {
    const auto open_log = [this_kernel = &kernel_](const vfs::Path&, int flags,
                                                   const vfs::Context& context) -> Result<UniqueFd> {
      const bool reads = (flags & O_ACCMODE) != O_WRONLY;
      if (reads && this_kernel->log().restricted && !context.credentials.Has(CAP_SYSLOG)) return usl::Fail(EPERM);
      return this_kernel->log_files().Open(kernel::KernelLogFiles::Form::kKmsg, flags);
    };
    kernel_.vfs().devices().Register(S_IFCHR, makedev(fs::kMemoryMajor, fs::kKernelLogMinor), open_log);
    const fs::ProcSource::Uts names = synthetic_->source.UtsNames(0);
    constexpr unsigned kNotice = 5, kInformation = 6;
    kernel_.log().Add(kNotice, format("Linux version {} (usl@usl) {}", names.release, names.version));
    kernel_.log().Add(kInformation, format("usl: instance {} starts", tree.host_name));
  }

  // Interpreters for foreign programs. Distributions expect it mounted; systemd would mount it on demand.
  bool MountBinfmt() {
    kernel::ExecService& exec = kernel_.exec();
    auto binfmt = fs::BinfmtMisc::Create(
        synthetic_->instance,
        [&exec](const fs::WriterContext& writer, const std::string& path) { return exec.OpenFixed(writer, path); });
    exec.SetBinfmt(binfmt);
    return Mount("/proc/sys/fs/binfmt_misc", std::move(binfmt), kSafe | MS_NOEXEC);
  }

  bool Allow(const std::string& path, const std::string& alias, bool read_only) {
    if (auto allowed = shares_->Allow(path, read_only); !allowed) {
      return Fail(format("cannot bind \"{}\"", path), allowed.error());
    }
    // The name that the user gave is good for the guest too; it may have become another one's meanwhile.
    if (!alias.empty()) (void)shares_->Allow(alias, read_only);
    return true;
  }

  // What the guest may mount itself: all that is bound, and what was given for that alone.
  bool AllowShares() {
    for (const Volume& volume : inputs_.options.volumes) {
      if (!Allow(volume.host_path, volume.alias, volume.options.read_only)) return false;
    }
    for (const Volume& volume : automatic_) {
      if (!Allow(volume.host_path, volume.alias, volume.options.read_only)) return false;
    }
    for (const Share& share : inputs_.options.shares) {
      if (!Allow(share.host_path, share.alias, share.read_only)) return false;
    }
    return !inputs_.options.here || Allow(inputs_.current_directory, "", false);
  }

  // The host user's files belong to the user of the session.
  bool FindOwner() {
    const GuestView view = View();
    return protocol::ResolveAccount(tree.user, view.ReadFile("/etc/passwd").value_or(""),
                                    view.ReadFile("/etc/group").value_or(""), &owner_, &why);
  }

  bool MountVolumes() {
    const RunOptions& options = inputs_.options;
    if (options.volumes.empty() && !options.here) return true;
    if (!FindOwner()) return false;
    for (const Volume& volume : options.volumes) {
      if (!Bind(volume)) return false;
    }
    if (!options.here) return true;
    return Bind({.host_path = inputs_.current_directory,
                 .alias = {},
                 .guest_path = inputs_.current_directory,
                 .options = {.host_modes = true}});
  }

  // Those of the configuration. The guest says where, so what fails is the guest's own loss.
  void MountAutomatic() {
    if (automatic_.empty()) return;
    bool bound = FindOwner();
    for (const Volume& volume : automatic_) bound = bound && Bind(volume);
    if (bound) return;
    fprintf(stderr, "usl: automount: %s\n", why.c_str());
    why.clear();
  }

  void FindPaths() {
    RunOptions shown = inputs_.options;
    shown.volumes.insert(shown.volumes.end(), automatic_.begin(), automatic_.end());
    tree.paths = PathMap::OfShared(shown, inputs_.current_directory);
    const auto host = EnvironmentOf(environ);
    if (tree.config.Flag("network.proxy")) tree.environment = ProxyEnvironment(host);
    std::ranges::move(SharedEnvironment(host, Border::kToGuest, tree.paths), std::back_inserter(tree.environment));
  }

  // Where the sockets for programs of the host will be, and the program that uses them.
  bool MountInterop() {
    const bool programs = tree.config.interop() != InteropPolicy::kOff;
    const char* agent = tree.config.Flag("interop.sshAgent") ? getenv("SSH_AUTH_SOCK") : nullptr;
    if (tree.config.Flag("interop.sshAgent") && (!agent || agent[0] != '/')) {
      fprintf(stderr, "usl: there is no ssh-agent to pass on: SSH_AUTH_SOCK is not set to an absolute path\n");
      agent = nullptr;
    }
    LinkInteropProgram(programs);
    if (!programs && !agent) return true;
    if (getuid() == 0) {
      fprintf(stderr, "usl: interop is off: root's programs are not for a guest\n");
      return true;
    }
    const std::string directory = kernel_.options().runtime_directory + "/interop";
    if (auto made = MakeDirectories(directory); !made) return Fail(format("cannot make {}", directory), made.error());
    Volume volume{.host_path = directory, .guest_path = protocol::kInteropDirectory};
    volume.options.host_modes = volume.options.read_only = true;
    // The default user's, whoever starts the instance; root's where there is no such user.
    const GuestView view = View();
    protocol::Account owner;
    std::string ignored;
    (void)protocol::ResolveAccount(tree.config.Text("user.default"), view.ReadFile("/etc/passwd").value_or(""), "",
                                   &owner, &ignored);
    volume.options.uid = owner.uid;
    volume.options.gid = owner.gid;
    if (!Bind(volume)) return false;
    tree.interop_directory = directory;
    if (agent && agent[0] == '/') {
      tree.ssh_agent = agent;
      tree.environment.push_back(format("SSH_AUTH_SOCK={}", protocol::kSshAgentSocket));
    }
    return true;
  }

  // In every PATH while it is of use, and nothing of the tree's own is ever replaced.
  void LinkInteropProgram(bool wanted) {
    const GuestView view = View();
    const vfs::Location link{view.root, protocol::kInteropCommand};
    const auto found = view.vfs.Walk(view.Context(), link, vfs::Vfs::kNoFollow);
    const bool is_ours = found && view.vfs.ReadLink(view.Context(), *found).value_or("") == protocol::kInteropProgram;
    if (!wanted && is_ours) (void)view.vfs.Unlink(view.Context(), link);
    if (!wanted) return;
    const std::string program = protocol::kInteropProgram;
    Result<void> made = view.MakeDirectories(program.substr(0, program.rfind('/')));
    if (made) made = view.WriteFile(program, std::string(interop::HostImage()), 0755);
    if (made && !found) {
      const std::string command = protocol::kInteropCommand;
      made = view.MakeDirectories(command.substr(0, command.rfind('/')));
      if (made) made = view.vfs.MakeSymlink(view.Context(), link, program);
    }
    if (!made) {
      fprintf(stderr, "usl: cannot make %s: %s\n", protocol::kInteropCommand, ErrorText(made.error().code()).c_str());
    }
  }

  bool Bind(const Volume& volume) {
    const std::string& guest = volume.guest_path;
    fs::DrvFsOptions options = volume.options;
    if (!options.uid) options.uid = owner_.uid;
    if (!options.gid) options.gid = owner_.gid;
    auto source = fs::OpenDrvFsSource(volume.host_path);
    if (!source) return Fail(format("cannot bind \"{}\"", volume.host_path), source.error());
    const bool is_directory = source->single_file.empty();
    const auto file_system = fs::MakeDrvFs(std::move(*source), options);
    if (!file_system) return Fail(format("cannot bind \"{}\"", volume.host_path), file_system.error());
    const unsigned flags = kSafe | volume.mount_flags | (options.read_only ? unsigned{MS_RDONLY} : 0u);
    if (is_directory) return Mount(guest, *file_system, flags);
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
    const bool is_view = inputs_.options.IsHostView();
    if (inputs_.options.network && tree.config.Flag("network.generateResolvConf")) WriteResolver(view);
    if (tree.config.Flag("network.generateHosts")) WriteHosts(view, is_view);
    if (is_view) (void)view.WriteFile("/etc/hostname", tree.host_name + "\n");
    return true;
  }

  // Without its own name sudo and others wait for a name server. In a tree that is kept the line is marked, so that the
  // next start with another name replaces it.
  void WriteHosts(const GuestView& view, bool is_view) {
    const auto hosts = view.ReadFile("/etc/hosts");
    if (!hosts && hosts.error().code() != ENOENT) return;
    const std::string old = hosts ? *hosts : "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
    const std::string text = HostsWithName(old, tree.host_name, !is_view);
    if (!hosts || text != old) (void)view.WriteFile("/etc/hosts", text);
  }

  // A file that is not USL's own stays as it is.
  void WriteResolver(const GuestView& view) {
    const bool is_view = inputs_.options.IsHostView();
    const bool exists = view.Exists("/etc/resolv.conf");
    std::string content = ReadHostFile("/etc/resolv.conf");
    if (content.empty() || (exists && is_view)) return;
    if (exists && !view.ReadFile("/etc/resolv.conf").value_or("").starts_with(kResolverMark)) return;
    if (!is_view) content = kResolverMark + content;
    char* target = realpath("/etc/resolv.conf", nullptr);
    const std::string place = target ? target : "";
    free(target);
    // A link into /run is satisfied there; else the file itself is missing.
    if (place.starts_with("/run/")) {
      (void)view.MakeDirectories(place.substr(0, place.rfind('/')));
      (void)view.WriteFile(place, content);
    }
    if (exists || !view.Exists("/etc/resolv.conf")) (void)view.WriteFile("/etc/resolv.conf", content);
  }

  kernel::Kernel& kernel_;
  const TreeInputs& inputs_;
  Synthetic* synthetic_ = nullptr;
  protocol::Account owner_;
  std::vector<Volume> automatic_;
  std::shared_ptr<HostShares> shares_ = std::make_shared<HostShares>(WineDrives::OfUser());
};

}  // namespace

Result<GuestTree> BuildGuestTree(kernel::Kernel& kernel, const TreeInputs& inputs, std::string* why) {
  Builder builder(kernel, inputs);
  if (builder.Build()) return std::move(builder.tree);
  *why = builder.why.empty() ? "cannot make the guest's files" : builder.why;
  return Fail(EIO);
}

}  // namespace usl::manager
