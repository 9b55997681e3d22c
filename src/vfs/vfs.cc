#include "vfs/vfs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>

#include "base/format.h"
#include "vfs/device_table.h"
#include "vfs/fifo.h"
#include "vfs/handle_table.h"
#include "vfs/native_object.h"

namespace usl::vfs {

namespace {

constexpr std::string_view kDeleted = " (deleted)";

std::string ReadHostLink(int fd) {
  std::array<char, 32> link;
  *fmt::format_to_n(link.data(), link.size() - 1, "/proc/self/fd/{}", fd).out = '\0';
  std::array<char, PATH_MAX> target;
  const ssize_t length = ::readlink(link.data(), target.data(), target.size());
  return length < 0 ? std::string() : std::string(target.data(), static_cast<size_t>(length));
}

// Vfs::OpenObject left the mark in what F_GETFL says.
bool IsOpenedRestricted(int flags) {
  return flags >= 0 && (flags & O_NOFOLLOW) && !(flags & O_PATH);
}

}  // namespace

Vfs::Vfs() = default;

Vfs::~Vfs() {
  // Names go before the file systems that their inodes refer to.
  devices_->ForgetOpened();
  for (auto& each : file_systems_) {
    dentries_.ForgetFileSystem(*each.file_system);
    each.root = nullptr;
  }
  fifos_.reset();
  handles_.reset();
  native_mount_ = nullptr;
}

Result<std::unique_ptr<Vfs>> Vfs::Create(std::string runtime_directory) {
  std::unique_ptr<Vfs> vfs(new Vfs);
  vfs->devices_ = std::make_unique<DeviceTable>();
  vfs->handles_ = std::make_unique<HandleTable>(USL_TRY(HandleTable::Create(runtime_directory + "/handles")));
  vfs->fifos_ = USL_TRY(FifoTable::Create(runtime_directory + "/fifos"));
  vfs->native_objects_ = MakeRef<NativeFileSystem>();
  vfs->native_mount_ = MakeRef<Mount>(vfs->native_objects_, vfs->dentries_.MakeRoot(vfs->native_objects_->root()), 0);
  return vfs;
}

void Vfs::SetObserver(NameObserver* observer) {
  observer_ = observer;
  dentries_.SetObserver(observer);
  for (auto& each : file_systems_) each.file_system->observer_ = observer;
}

void Vfs::Register(Ref<FileSystem> file_system) {
  for (auto& each : file_systems_) {
    if (each.file_system == file_system) return;
  }
  CollectUnused();
  const std::vector<dev_t> devices = file_system->HostDevices();
  for (dev_t device : devices) by_host_device_[device].push_back(file_system.get());
  if (devices.empty()) for_any_device_.push_back(file_system.get());
  file_system->observer_ = observer_;
  file_systems_.push_back({std::move(file_system), nullptr});
}

Ref<Dentry> Vfs::RootDentry(const Ref<FileSystem>& file_system) {
  Register(file_system);
  for (auto& each : file_systems_) {
    if (each.file_system != file_system) continue;
    if (!each.root) each.root = dentries_.MakeRoot(file_system->root());
    return each.root;
  }
  return nullptr;
}

void Vfs::CollectUnused() {
  if (collecting_) return;  // the check below may find that a process has ended
  collecting_ = true;
  handles_->TrimGone();
  devices_->ForgetUnmounted();
  std::vector<Ref<FileSystem>> unused;
  for (auto& each : file_systems_) {
    if (each.file_system->mount_count() > 0) each.was_mounted = true;
    if (each.was_mounted && each.file_system->mount_count() == 0) unused.push_back(each.file_system);
  }
  const size_t open = is_open_ ? std::erase_if(unused, [this](const auto& each) { return is_open_(*each); }) : 0;
  lingering_ = open > 0;
  for (const Ref<FileSystem>& file_system : unused) {
    if (file_system->mount_count() > 0) continue;
    dentries_.ForgetFileSystem(*file_system);
    file_system->observer_ = nullptr;
    for (auto& [device, list] : by_host_device_) std::erase(list, file_system.get());
    std::erase(for_any_device_, file_system.get());
    std::erase_if(file_systems_, [&](const Registered& each) { return each.file_system == file_system; });
  }
  collecting_ = false;
}

Result<Attributes> Vfs::GetAttributes(const Path& path) {
  if (!path.inode()) return Fail(ENOENT);
  return path.inode()->GetAttributes();
}

Result<struct stat> Vfs::Stat(const Path& path) {
  const Attributes attributes = USL_TRY(GetAttributes(path));
  struct stat status {};
  status.st_dev = path.inode()->file_system().device();
  status.st_ino = attributes.ino;
  status.st_nlink = attributes.nlink;
  status.st_mode = attributes.mode;
  status.st_uid = attributes.uid;
  status.st_gid = attributes.gid;
  status.st_rdev = attributes.rdev;
  status.st_size = static_cast<off_t>(attributes.size);
  status.st_blksize = attributes.block_size;
  status.st_blocks = static_cast<blkcnt_t>(attributes.blocks);
  status.st_atim = attributes.atime;
  status.st_mtim = attributes.mtime;
  status.st_ctim = attributes.ctime;
  return status;
}

Result<struct statfs> Vfs::StatFs(const Path& path) {
  if (!path.inode()) return Fail(ENOENT);
  auto status = USL_TRY(path.inode()->file_system().StatFs());
  // The flags of the mount join those of the file system; ST_* of statfs have the values of MS_* up to MS_NOEXEC, and
  // others beyond (include/linux/statfs.h).
  constexpr long kValid = 0x20, kNoAtime = 0x400, kNoDirAtime = 0x800, kRelAtime = 0x1000, kNoSymFollow = 0x2000;
  const unsigned flags = path.mount ? path.mount->flags() : 0;
  long shown = kValid | (flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC));
  if (path.mount && path.mount->IsReadOnly()) shown |= MS_RDONLY;
  if (flags & MS_NOATIME) shown |= kNoAtime;
  if (flags & MS_NODIRATIME) shown |= kNoDirAtime;
  if (flags & MS_RELATIME) shown |= kRelAtime;
  if (flags & MS_NOSYMFOLLOW) shown |= kNoSymFollow;
  status.f_flags = shown;
  return status;
}

Result<std::string> Vfs::ReadLink(const Context& context, const Path& path) {
  if (!path.inode()) return Fail(ENOENT);
  if (!path.inode()->IsSymlink()) return Fail(EINVAL);
  return path.inode()->ReadLink(context);
}

Result<void> Vfs::ReadDirectory(const FileIdentity& file, int fd, DirectorySink& sink) {
  if (!file.inode || !file.inode->IsDirectory()) return Fail(ENOTDIR);
  if (!file.path.dentry || !file.path.dentry->IsLinked()) return Fail(ENOENT);
  Inode& inode = *file.inode;
  const Ref<Dentry>& parent = file.path.dentry->parent();
  const Attributes attributes = USL_TRY((parent ? *parent->inode() : inode).GetPermissions());  // for its number
  struct stat status;
  if (file.status) {
    status = *file.status;
  } else if (::fstat(fd, &status) != 0) {
    return FailErrno();
  }
  if (handles_->Find(fd, status)) {
    // The descriptor only stands for the directory. One with a host directory of its own is read through that, from
    // the cursor that the descriptor keeps.
    const cred::Credentials root = cred::RootCredentials();
    const Context context{.credentials = root, .root = file.path, .cwd = file.path};
    auto own = inode.Open(O_RDONLY | O_DIRECTORY, context);
    if (own) {
      const off_t cursor = ::lseek(fd, 0, SEEK_CUR);
      if (cursor < 0 || ::lseek(own->get(), cursor, SEEK_SET) < 0) return FailErrno();
      USL_TRY_VOID(inode.ReadDirectory(own->get(), attributes.ino, sink));
      const off_t after = ::lseek(own->get(), 0, SEEK_CUR);
      if (after < 0 || ::lseek(fd, after, SEEK_SET) < 0) return FailErrno();
      return {};
    }
    if (own.error().code() != EOPNOTSUPP) return Fail(own.error());
  }
  return inode.ReadDirectory(fd, attributes.ino, sink);
}

FileIdentity Vfs::Identify(int fd, const MountNamespace* mounts) {
  struct stat status;
  if (::fstat(fd, &status) != 0) return {};
  if (const Path* handle = handles_->Find(fd, status)) return {*handle, handle->dentry->inode(), status};
  Ref<Inode> inode;
  if (S_ISFIFO(status.st_mode)) inode = fifos_->FindByHostFile(status);
  // Who has it cached is asked first: the others look its path up on the host.
  auto ask = [&](const std::vector<FileSystem*>& file_systems, bool cached) {
    for (FileSystem* file_system : file_systems) {
      if (inode) return;
      if (file_system->HasCached(status) == cached) inode = file_system->FindByHostFile(fd, status);
    }
  };
  const auto of_device = by_host_device_.find(status.st_dev);
  for (bool cached : {true, false}) {
    if (of_device != by_host_device_.end()) ask(of_device->second, cached);
    ask(for_any_device_, cached);
  }
  if (!inode) return {.path = {}, .inode = nullptr, .status = status};
  if (inode->type() == S_IFCHR) {
    if (const Path* node = devices_->FindOpened(fd)) return {*node, node->dentry->inode(), status};
  }
  FileSystem& file_system = inode->file_system();
  const Ref<Dentry> dentry = FindDentry(fd, inode);
  if (inode->IsDirectory()) return {Path{HomeMount(file_system), dentry}, inode, status};
  std::optional<int> flags;
  // With one mount there is nothing to choose from.
  if (inode->IsRegular() && file_system.mounts_.size() > 1) {
    flags = ::fcntl(fd, F_GETFL);
    if (IsOpenedRestricted(*flags)) {
      return {Path{RestrictedMount(file_system, mounts, *dentry), dentry}, inode, status, flags};
    }
  }
  return {Path{MountFor(file_system, mounts, *dentry), dentry}, inode, status, flags};
}

// The first mount that showed the whole file system: directories that were opened through it are donated as they are.
Ref<Mount> Vfs::HomeMount(FileSystem& file_system) {
  for (Mount* mount : file_system.mounts_) {
    if (mount->id() == file_system.home_mount_) return Ref<Mount>(mount);
  }
  // Unmounted while its files are open: they are seen through a mount that nobody else sees.
  Ref<FileSystem> ref(&file_system);
  return MakeRef<Mount>(ref, RootDentry(ref), file_system.home_flags_);
}

Ref<Mount> Vfs::MountFor(FileSystem& file_system, const MountNamespace* mounts, const Dentry& dentry) {
  if (mounts) {
    if (auto mount = mounts->PrimaryMount(file_system, &dentry)) return mount;
  }
  return HomeMount(file_system);
}

Ref<Mount> Vfs::RestrictedMount(FileSystem& file_system, const MountNamespace* mounts, const Dentry& dentry) {
  Mount* found = nullptr;
  for (Mount* mount : file_system.mounts_) {
    if ((mounts && mount->name_space() != mounts) || !dentry.IsBelow(*mount->root())) continue;
    const auto restrictions = [](const Mount* of) { return std::popcount(of->flags() & kRestrictions); };
    if (!found || restrictions(mount) > restrictions(found)) found = mount;
  }
  // Nothing is left that restricts (or the host has no openat2, where all files carry the mark).
  if (!found || !(found->flags() & kRestrictions)) return MountFor(file_system, mounts, dentry);
  return Ref<Mount>(found);
}

Ref<Dentry> Vfs::FindDentry(int fd, const Ref<Inode>& inode) {
  auto dentry = dentries_.FindByInode(*inode);
  if (dentry && !dentries_.HasAliases(*inode)) return dentry;
  if (auto exact = DentryFromHostPath(fd, inode)) return exact;
  if (dentry) return dentry;
  // A file that has no name any more, as far as anybody knows.
  std::string name = ReadHostLink(fd);
  if (name.ends_with(kDeleted)) name.resize(name.size() - kDeleted.size());
  name.erase(0, name.rfind('/') + 1);
  Ref<FileSystem> file_system(&inode->file_system());
  if (inode == file_system->root()) return RootDentry(file_system);
  return MakeRef<Dentry>(RootDentry(file_system), name, inode, false);
}

Ref<Dentry> Vfs::DentryFromHostPath(int fd, const Ref<Inode>& inode) {
  auto found = inode->file_system().FindPath(fd, *inode);
  if (!found) return nullptr;
  std::string_view text = *found;
  const bool deleted = text.ends_with(kDeleted);
  if (deleted) text.remove_suffix(kDeleted.size());
  const cred::Credentials credentials = cred::RootCredentials();
  const Context context{.credentials = credentials};
  Ref<Dentry> dentry = RootDentry(Ref<FileSystem>(&inode->file_system()));
  while (!text.empty()) {
    const size_t end = std::min(text.find('/'), text.size());
    const std::string_view name = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (name.empty()) continue;
    if (deleted && text.empty()) {
      // The host's name of what O_TMPFILE made. Whether it may have a name after all, the host knows.
      if (name.starts_with('#')) inode->linkable_ = true;
      return MakeRef<Dentry>(dentry, name, inode, false);
    }
    if (!dentry->inode()->IsDirectory()) return nullptr;
    auto child = LookupIn(context, dentry, name);
    if (!child || (*child)->IsNegative()) return nullptr;
    dentry = std::move(*child);
  }
  return dentry->inode() == inode ? dentry : nullptr;
}

bool Vfs::PrependPath(const Path& path, const Path& root, std::string& text) {
  std::vector<std::string_view> names;
  const Mount* mount = path.mount.get();
  const Dentry* dentry = path.dentry.get();
  bool reached = true;
  while (mount != root.mount.get() || dentry != root.dentry.get()) {
    if (dentry == mount->root().get()) {
      if (!mount->parent()) {
        reached = false;
        break;
      }
      dentry = mount->mount_point().get();
      mount = mount->parent();
      continue;
    }
    if (!dentry->parent()) {
      reached = false;
      break;
    }
    names.push_back(dentry->name());
    dentry = dentry->parent().get();
  }
  if (names.empty()) text += '/';
  for (auto it = names.rbegin(); it != names.rend(); ++it) {
    text += '/';
    text += *it;
  }
  return reached;
}

std::string Vfs::PathText(const Path& path, const Path& root) {
  if (!path.dentry || !path.mount) return {};
  if (path.mount == native_mount_) return path.dentry->name();
  std::string text;
  PrependPath(path, root, text);
  if (!path.dentry->IsLinked()) text += kDeleted;
  return text;
}

Result<std::string> Vfs::WorkingDirectoryText(const Path& path, const Path& root) {
  if (!path.dentry || !path.dentry->IsLinked()) return Fail(ENOENT);
  std::string text;
  if (!PrependPath(path, root, text)) text.insert(0, "(unreachable)");
  return text;
}

Path Vfs::NativeObject(UniqueFd fd, const cred::Credentials& credentials) {
  struct stat status {};
  ::fstat(fd.get(), &status);
  std::string name = ReadHostLink(fd.get());
  auto inode = MakeRef<NativeInode>(*native_objects_, status.st_mode & S_IFMT, std::move(fd), credentials.fsuid,
                                    credentials.fsgid);
  return Path{native_mount_, MakeRef<Dentry>(native_mount_->root(), name, inode)};
}

}  // namespace usl::vfs
