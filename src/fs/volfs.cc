#include "fs/volfs.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>

#include "base/blocking.h"
#include "base/log.h"
#include "fs/sidecar_store.h"
#include "fs/volfs_inode.h"
#include "fs/volfs_list.h"

namespace usl::fs {
namespace {

constexpr const char* kPrivate = ".usl";
constexpr size_t kKeptLists = 16;

// Makes (if need be) and opens a private directory.
Result<UniqueFd> OpenPrivate(int parent, const char* name) {
  if (::mkdirat(parent, name, 0700) < 0 && errno != EEXIST) return FailErrno();
  return OpenHost({parent, name}, O_PATH | O_DIRECTORY | O_NOFOLLOW);
}

Result<std::unique_ptr<AttributeStore>> OpenXattrs(int root, const std::string& path) {
  auto store = XattrStore::Open(root, RecordLog::Access::kWrite);
  if (store) return std::move(*store);
  Log(LogLevel::kError, "cannot use \"{}/.usl/overflow\" (errno {}): {}", path, store.error().code(),
      store.error().code() == EPROTONOSUPPORT ? "it is of a newer version; use a newer usl"
                                              : "`usl fsck --repair` saves what is readable");
  return Fail(store.error());
}

}  // namespace

VolFs::VolFs(VolFsOptions options)
    : FileSystem(options.type_name), options_(std::move(options)), cache_(options_.directory_fds) {}

VolFs::~VolFs() {
  root_ = nullptr;
  // Cached dentries may let go of their inodes later.
  for (auto& [key, inode] : inodes_) inode->registered_ = false;
  work_ = nullptr;
}

Result<Ref<VolFs>> VolFs::Open(VolFsOptions options) {
  Ref<VolFs> file_system(new VolFs(std::move(options)));
  USL_TRY_VOID(file_system->OpenTrees());
  return file_system;
}

Result<std::unique_ptr<AttributeStore>> VolFs::MakeStore(const LayerOptions& layer, bool is_upper) {
  using enum RecordLog::Access;
  if (is_upper && options_.memory_attributes) return std::make_unique<MemoryStore>();
  bool uses_records = layer.owners == Owners::kRecord || (layer.owners == Owners::kMapped && layer.metadata);
  if (!uses_records) return std::make_unique<XattrStore>();
  UniqueFd fd(::open(layer.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return FailErrno();
  // A directory of the host's own gets no private directory of ours.
  if (!options_.live) {
    USL_TRY_VOID(CheckFormat(layer.path));
    if (SidecarStore::Exists(fd.get())) return USL_TRY(SidecarStore::Open(fd.get(), is_upper ? kWrite : kRead));
  }
  if (!is_upper) return USL_TRY(XattrStore::Open(fd.get(), kRead));
  auto probe = XattrStore::Probe(fd.get());
  if (probe && options_.live) return std::make_unique<XattrStore>();
  if (probe) return OpenXattrs(fd.get(), layer.path);
  if (probe.error().code() != EOPNOTSUPP) return Fail(probe.error());
  if (options_.volatile_tree) return std::make_unique<MemoryStore>();
  if (!options_.live && SidecarStore::HasLastingNumbers(fd.get())) {
    return USL_TRY(SidecarStore::Open(fd.get(), kWrite));
  }
  Log(LogLevel::kError,
      "cannot use \"{}\": its file system has no user extended attributes and no lasting inode numbers; move it to "
      "another one (ext4, xfs, btrfs, NFS)",
      layer.path);
  return Fail(EOPNOTSUPP);
}

Result<void> VolFs::CheckFormat(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return FailErrno();
  auto found = ReadTreeFormat(fd.get());
  if (found && *found <= kTreeFormat) return {};
  if (found) {
    Log(LogLevel::kError, "\"{}\" is a tree of format {}, and this usl knows those up to {}: use a newer usl", path,
        *found, kTreeFormat);
    return Fail(EPROTONOSUPPORT);
  }
  Log(LogLevel::kError, "cannot read \"{}/.usl/format\" (errno {}); see `usl fsck`", path, found.error().code());
  return Fail(found.error());
}

Result<void> VolFs::LockUpper() {
  std::string why;
  auto lock = TreeLock::Take(options_.upper->path, &why);
  if (!lock) {
    Log(LogLevel::kError, "{}", why);
    return Fail(lock.error());
  }
  lock_ = std::move(*lock);
  return {};
}

Result<void> VolFs::OpenTrees() {
  // All modes given to host calls are meant literally; the guest's umasks are virtual.
  ::umask(0);
  has_upper_ = options_.upper.has_value();
  if (has_upper_) {
    if (options_.exclusive) USL_TRY_VOID(LockUpper());
    auto store = USL_TRY(MakeStore(*options_.upper, true));
    layers_.push_back(USL_TRY(Layer::Open(*options_.upper, std::move(store))));
  }
  for (const LayerOptions& lower : options_.lowers) {
    auto store = USL_TRY(MakeStore(lower, false));
    layers_.push_back(USL_TRY(Layer::Open(lower, std::move(store))));
  }
  if (layers_.empty()) return Fail(EINVAL);

  FoundName found;
  found.layer = layers_.front().get();
  if (!options_.single_file.empty()) {
    auto entry = USL_TRY(found.layer->Probe(cache_, *found.layer->root(), options_.single_file));
    if (!entry) return Fail(ENOENT);
    if (entry->type() == S_IFDIR) return Fail(EISDIR);
    // It was one of another type when it was looked at.
    if (entry->type() == S_IFLNK) return Fail(ELOOP);
    found.entry = *std::move(entry);
    root_ = MakeRef<VolInode>(*this, std::move(found), nullptr, "");
    root_->Register();
    ComponentName name(options_.single_file);
    UniqueFd fd = USL_TRY(OpenHost({layers_.front()->root_fd(), name.c_str()}, O_PATH | O_NOFOLLOW));
    USL_TRY_VOID(root_->Pin(fd.get()));
    return {};
  }
  found.entry = USL_TRY(found.layer->ProbePlace({found.layer->root_fd(), ""}));
  // A new upper tree over lower layers: its root looks as theirs does.
  bool fresh = has_upper_ && IsLayered() && ::faccessat(layers_.front()->root_fd(), ".usl/work", F_OK, 0) < 0;
  for (const auto& layer : layers_) found.stack.push_back(layer->root());
  root_ = MakeRef<VolInode>(*this, std::move(found), nullptr, "");
  root_->Register();
  if (has_upper_ && options_.exclusive) USL_TRY_VOID(EmptyWork());
  if (fresh) {
    HostEntry lower = USL_TRY(layers_[1]->ProbePlace({layers_[1]->root_fd(), ""}));
    Ownership owner = layers_[1]->OwnershipOf(lower.status, lower.record.get());
    USL_TRY_VOID(root_->SetOwnership(owner));
    USL_TRY(Work());
    const timespec times[2] = {TimeOf(lower.status.stx_atime), TimeOf(lower.status.stx_mtime)};
    USL_TRY_VOID(ChangeHostTimes({layers_.front()->root_fd(), ""}, times));
  }
  return {};
}

Ref<vfs::Inode> VolFs::root() {
  return root_;
}

unsigned VolFs::ForcedMountFlags() const {
  // Whoever else may write to the host directory could leave programs and devices there that gain rights in this guest.
  return options_.live ? MS_NOSUID | MS_NODEV : 0;
}

Result<struct statfs> VolFs::StatFs() {
  struct statfs status;
  // An O_PATH fd would do for fstatfs, too; by the upper tree where there is one, as its free space counts.
  if (::fstatfs(layers_.front()->root_fd(), &status) < 0) return FailErrno();
  return status;
}

Result<void> VolFs::Sync() {
  if (!has_upper_) return {};
  UniqueFd fd(::openat(upper()->root_fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return FailErrno();
  BlockingScope scope;
  if (::syncfs(fd.get()) < 0) return FailErrno();
  return {};
}

Result<Ref<OpenDirectory>> VolFs::Work() {
  if (!work_) {
    UniqueFd outer = USL_TRY(OpenPrivate(upper()->root_fd(), kPrivate));
    UniqueFd inner = USL_TRY(OpenPrivate(outer.get(), "work"));
    struct stat outer_status, inner_status;
    if (::fstat(outer.get(), &outer_status) < 0 || ::fstat(inner.get(), &inner_status) < 0) return FailErrno();
    auto parent = MakeRef<HostDirectory>(upper()->root(), kPrivate, KeyOf(outer_status));
    work_ = MakeRef<HostDirectory>(std::move(parent), "work", KeyOf(inner_status));
  }
  return cache_.Get(*work_);
}

std::string VolFs::TemporaryName() {
  return format("t{}", ++temporary_counter_);
}

Result<void> VolFs::Step() {
  if (fail_at_step <= 0 || --fail_at_step > 0) return {};
  crashed_ = fail_as_crash;
  return Fail(fail_errno);
}

namespace {

// Removes what an earlier kernel left behind. Depth is bounded: the work directory holds files and directories of
// whiteouts, nothing deeper.
void RemoveLeftover(int directory, const char* name, int depth) {
  if (::unlinkat(directory, name, 0) == 0 || depth == 0) return;
  UniqueFd inner(::openat(directory, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!inner) return;
  std::vector<std::string> names;
  (void)ForEachEntry(inner.get(), [&](const char* member, uint64_t, unsigned char) {
    names.emplace_back(member);
    return true;
  });
  for (const std::string& member : names) RemoveLeftover(inner.get(), member.c_str(), depth - 1);
  ::unlinkat(directory, name, AT_REMOVEDIR);
}

}  // namespace

Result<void> VolFs::EmptyWork() {
  if (::faccessat(upper()->root_fd(), ".usl/work", F_OK, 0) < 0) return {};
  Ref<OpenDirectory> work = USL_TRY(Work());
  std::vector<std::string> names;
  USL_TRY_VOID(ForEachEntry(work->fd(), [&](const char* name, uint64_t, unsigned char) {
    names.emplace_back(name);
    return true;
  }));
  for (const std::string& name : names) {
    if (name.starts_with(kNotePrefix)) {
      // A directory that is not there was not made; anything else that is wrong with a note helps nobody.
      if (auto note = ReadHostLink({work->fd(), name.c_str()})) (void)CompleteDirectory(*note);
    }
    RemoveLeftover(work->fd(), name.c_str(), 2);
  }
  return {};
}

Result<void> VolFs::LinkWhiteout(const HostPlace& destination) {
  Ref<OpenDirectory> work = USL_TRY(Work());
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (whiteout_name_.empty()) {
      std::string name = TemporaryName();
      UniqueFd fd = USL_TRY(CreateHost({work->fd(), name.c_str()}, O_WRONLY, 0600));
      struct stat status;
      if (::fstat(fd.get(), &status) < 0) return FailErrno();
      AttributeRecord record;
      record.type = S_IFCHR;
      upper()->store().Created(KeyOf(status));
      USL_TRY_VOID(upper()->store().Save({work->fd(), name.c_str()}, KeyOf(status), record));
      whiteout_name_ = name;
    }
    if (::linkat(work->fd(), whiteout_name_.c_str(), destination.fd, destination.name, 0) == 0) return {};
    // All whiteouts are names of one file, as many as the host allows.
    if (errno != EMLINK) return FailErrno();
    whiteout_name_.clear();
  }
  return Fail(EMLINK);
}

Result<void> VolFs::ReplaceWhiteout(const HostPlace& directory, const HostPlace& whiteout) {
  auto exchanged = RenameHost(directory, whiteout, RENAME_EXCHANGE);
  if (exchanged) {
    ::unlinkat(directory.fd, directory.name, 0);
    return {};
  }
  // NFS and others cannot exchange: for an instant the name shows what is below.
  if (exchanged.error().code() != EINVAL) return exchanged;
  if (::unlinkat(whiteout.fd, whiteout.name, 0) < 0) return FailErrno();
  return RenameHost(directory, whiteout, 0);
}

Result<void> VolFs::MoveLeavingWhiteout(const HostPlace& from, const HostPlace& to, bool over_whiteout,
                                        bool is_directory) {
  // A whiteout waits at the new name, where nothing shows anyway, and changes places with the file.
  if (!over_whiteout) USL_TRY_VOID(LinkWhiteout(to));
  auto exchanged = RenameHost(from, to, RENAME_EXCHANGE);
  if (exchanged || exchanged.error().code() != EINVAL) return exchanged;
  if (is_directory && ::unlinkat(to.fd, to.name, 0) < 0) return FailErrno();
  Ref<OpenDirectory> work = USL_TRY(Work());
  std::string temporary = TemporaryName();
  HostPlace whiteout{work->fd(), temporary.c_str()};
  USL_TRY_VOID(LinkWhiteout(whiteout));
  USL_TRY_VOID(RenameHost(from, to, 0));
  return RenameHost(whiteout, from, 0);
}

uint64_t VolFs::Number(const HostKey& key) {
  auto found = std::ranges::find(devices_, key.device);
  if (found == devices_.end()) found = devices_.insert(devices_.end(), key.device);
  return key.ino ^ (static_cast<uint64_t>(found - devices_.begin()) << 52);
}

bool VolFs::KnowsDevice(dev_t device) const {
  return std::ranges::find(devices_, device) != devices_.end();
}

void VolFs::LearnCursorBits(dev_t device, int directory) {
  if (std::ranges::find(cursor_devices_, device) != cursor_devices_.end()) return;
  cursor_devices_.push_back(device);
  if (::lseek(directory, (off_t{1} << 43), SEEK_SET) < 0) {
    cursor_bits_ = 30;
    lists_.clear();
  }
  ::lseek(directory, 0, SEEK_SET);
}

Ref<VolInode> VolFs::FindInode(const HostKey& key) const {
  auto found = inodes_.find(key);
  return found == inodes_.end() ? nullptr : Ref<VolInode>(found->second);
}

std::shared_ptr<MergedList> VolFs::CachedList(uint64_t serial) {
  auto found = std::ranges::find(lists_, serial, [](const auto& pair) { return pair.first; });
  return found == lists_.end() ? nullptr : found->second;
}

void VolFs::KeepList(uint64_t serial, std::shared_ptr<MergedList> list) {
  DropList(serial);
  if (lists_.size() == kKeptLists) lists_.erase(lists_.begin());
  lists_.emplace_back(serial, std::move(list));
}

void VolFs::DropList(uint64_t serial) {
  std::erase_if(lists_, [&](const auto& pair) { return pair.first == serial; });
}

}  // namespace usl::fs
