// Copy-up: a file of a lower layer becomes one of the upper tree before it is changed. It is made complete in the work
// directory and then takes its name in one step, so that a crash leaves the lower file or the copy, never a part of it.
#include <fcntl.h>
#include <unistd.h>

#include "base/blocking.h"
#include "fs/host_copy.h"
#include "fs/volfs_inode.h"

namespace usl::fs {
namespace {

// Copies beyond this size give up the kernel lock meanwhile.
constexpr uint64_t kLargeCopy = 1 << 20;

}  // namespace

Result<void> VolInode::CopyUp(bool with_data) {
  if (!volfs_.upper()) return Fail(EROFS);
  if (layer_ == volfs_.upper()) return {};
  // The directories above it first, the highest one to begin with; a loop, as the tree may be deep.
  std::vector<Ref<VolInode>> chain;
  Ref<VolInode> at(this);
  while (at->layer_ != volfs_.upper()) {
    chain.push_back(at);
    // A removed file of a read-only layer cannot be changed any more.
    if (!at->place_.parent) return Fail(EROFS);
    at = at->place_.parent;
  }
  while (!chain.empty()) {
    Ref<VolInode> next = std::move(chain.back());
    chain.pop_back();
    if (next->layer_ != volfs_.upper()) USL_TRY_VOID(next->CopyUpOne(with_data || !chain.empty()));
  }
  return {};
}

Result<void> VolInode::CopyUpOne(bool with_data) {
  const Announcement announcement(*this);
  while (copying_) {
    uint64_t generation;
    {
      std::lock_guard lock(volfs_.copy_mutex_);
      generation = volfs_.copy_generation_;
    }
    BlockingScope scope;
    std::unique_lock lock(volfs_.copy_mutex_);
    volfs_.copy_ended_.wait(lock, [&] { return volfs_.copy_generation_ != generation; });
  }
  if (layer_ == volfs_.upper()) return {};
  Resolved from = USL_TRY(Resolve());
  struct statx status = USL_TRY(Stat(from.place));
  std::string temporary = volfs_.TemporaryName();
  Ref<OpenDirectory> work = USL_TRY(volfs_.Work());
  auto done = CopyUpInto(from, status, temporary, with_data);
  if (done) done = PublishCopy(temporary, status);
  // A failure that stands for a crash leaves things as a crash would.
  if (!done && !volfs_.crashed_) ::unlinkat(work->fd(), temporary.c_str(), IsDirectory() ? AT_REMOVEDIR : 0);
  return done;
}

Result<void> VolInode::CopyUpInto(const Resolved& from, const struct statx& status, const std::string& temporary,
                                  bool with_data) {
  Ref<OpenDirectory> work = USL_TRY(volfs_.Work());
  HostPlace to{work->fd(), temporary.c_str()};
  bool is_lower_record = record_ != nullptr;
  vfs::NewInode spec;
  spec.mode = type() | owner_.mode;
  spec.uid = owner_.uid;
  spec.gid = owner_.gid;
  AttributeRecord record = is_lower_record ? *record_ : AttributeRecord{};
  record.uid = owner_.uid ? std::optional(owner_.uid) : std::nullopt;
  record.gid = owner_.gid ? std::optional(owner_.gid) : std::nullopt;
  record.mode = std::nullopt;
  record.origin = number_;
  record.flags = 0;
  record.redirect.clear();
  if (IsSymlink()) {
    spec.symlink_target = {};
  } else if (!IsRegular() && !IsDirectory()) {
    spec.rdev = record_ && record_->type ? record_->rdev : makedev(status.stx_rdev_major, status.stx_rdev_minor);
  }
  uint32_t host_mode = IsDirectory() ? (owner_.mode & 01777) | 0700 : (owner_.mode & 0777) | 0600;
  if ((IsRegular() || IsDirectory()) && host_mode != owner_.mode) record.mode = owner_.mode;
  for (const char* name : {"security.capability", "system.posix_acl_access", "system.posix_acl_default"}) {
    // The host's own ones, of a layer that is shown with the host's owners.
    if (layer_->owners() != Owners::kHost || IsSymlink()) break;
    if (auto value = GetHostXattr(from.place, name)) record.PutXattr(name, *value);
  }
  std::string target;
  if (IsSymlink()) {
    target = USL_TRY(S_ISLNK(host_mode_) ? ReadHostLink(from.place) : ReadSmallFile(from.place, 4096));
    spec.symlink_target = target;
  }
  USL_TRY_VOID(volfs_.Step());
  // Data first: where the host user may not read the file nothing is left to clean up.
  UniqueFd source;
  if (IsRegular()) source = USL_TRY(OpenHost(from.place, O_RDONLY | O_NONBLOCK));
  USL_TRY_VOID(volfs_.root_->MakeHostFile(to, spec, record, true));
  USL_TRY_VOID(volfs_.Step());
  // Before the data: while those are copied the name that `from` points to may change.
  if (IsRegular() || IsDirectory()) USL_TRY_VOID(CopyUserXattrs(from.place, to));
  if (IsRegular()) {
    UniqueFd copy = USL_TRY(OpenHost(to, O_WRONLY));
    if (with_data && status.stx_size > 0 && !CloneData(source.get(), copy.get())) {
      if (status.stx_size < kLargeCopy) {
        USL_TRY_VOID(CopyData(source.get(), copy.get(), status.stx_size));
      } else {
        USL_TRY_VOID(CopyLarge(source.get(), copy.get(), status.stx_size));
      }
    }
    USL_TRY_VOID(volfs_.Step());
    if (volfs_.options_.sync_copy_up && ::fsync(copy.get()) < 0) return FailErrno();
  }
  timespec times[2] = {TimeOf(status.stx_atime), TimeOf(status.stx_mtime)};
  return ChangeHostTimes(to, times);
}

// Without the kernel lock: other threads may look at the file, rename it or remove it meanwhile; who wants to change it
// waits. Only fds are used inside the scope.
Result<void> VolInode::CopyLarge(int from, int to, uint64_t size) {
  copying_ = true;
  Ref<VolInode> keep(this);
  Result<void> done;
  {
    BlockingScope scope;
    done = CopyData(from, to, size);
  }
  copying_ = false;
  {
    std::lock_guard lock(volfs_.copy_mutex_);
    ++volfs_.copy_generation_;
  }
  volfs_.copy_ended_.notify_all();
  if (!done) return done;
  // It may have been removed.
  if (!place_.parent) return Fail(ENOENT);
  return {};
}

Result<void> VolInode::CopyUserXattrs(const HostPlace& from, const HostPlace& to) {
  auto names = ListHostXattr(from);
  if (!names) return names.error().code() == EOPNOTSUPP ? Result<void>{} : Fail(names.error());
  AttributeStore& store = volfs_.upper()->store();
  for (const std::string& name : *names) {
    if (!name.starts_with("user.") || name == XattrStore::kName) continue;
    auto value = GetHostXattr(from, name.c_str());
    if (!value) continue;  // of a file that the host user may not read
    if (!store.KeepsUserXattrs()) {
      USL_TRY_VOID(SetHostXattr(to, name.c_str(), *value, 0));
      continue;
    }
    struct statx status = USL_TRY(Stat(to));
    auto record = USL_TRY(store.Load(to, KeyOf(status)));
    if (!record) record = std::make_unique<AttributeRecord>();
    record->PutXattr(name, *value);
    USL_TRY_VOID(store.Save(to, KeyOf(status), *record));
  }
  return {};
}

// Gives the finished copy its name. Whatever fails, fails before that.
Result<HostEntry> VolInode::PlaceCopy(const HostPlace& made) {
  USL_TRY_VOID(volfs_.Step());
  Ref<OpenDirectory> open = USL_TRY(volfs_.cache_.Get(*place_.parent->UpperDirectory()));
  HostEntry entry = USL_TRY(volfs_.upper()->ProbePlace(made));
  struct statx directory = USL_TRY(Stat({open->fd(), ""}));
  USL_TRY_VOID(RenameHost(made, {open->fd(), place_.name.c_str()}, RENAME_NOREPLACE));
  // The directory's times are to stay what they were: nothing has changed for the guest.
  timespec times[2] = {TimeOf(directory.stx_atime), TimeOf(directory.stx_mtime)};
  (void)ChangeHostTimes({open->fd(), ""}, times);
  return entry;
}

Result<void> VolInode::PublishCopy(const std::string& temporary, const struct statx& status) {
  VolInode& parent = *place_.parent;
  Ref<OpenDirectory> work = USL_TRY(volfs_.Work());
  HostPlace made{work->fd(), temporary.c_str()};
  // A copied-up file shows its old number, so a listing has to look at it.
  USL_TRY_VOID(parent.Annotate());
  bool is_indexed = !IsDirectory() && status.stx_nlink > 1;
  std::string index_name;
  if (is_indexed) {
    // Its other names in the lower layers find it by this one.
    HostEntry entry = USL_TRY(volfs_.upper()->ProbePlace(made));
    AttributeRecord record = entry.record ? *entry.record : AttributeRecord{};
    record.links = record.links ? record.links : status.stx_nlink;
    USL_TRY_VOID(volfs_.upper()->store().Save(made, KeyOf(entry.status), record));
    Ref<OpenDirectory> index = USL_TRY(volfs_.Index(true));
    index_name = volfs_.IndexName(key_);
    if (::linkat(made.fd, made.name, index->fd(), index_name.c_str(), 0) < 0) return FailErrno();
  }
  auto placed = PlaceCopy(made);
  if (!placed) {
    // Its other names must not find a copy that this one does not have.
    if (is_indexed && !volfs_.crashed_) ::unlinkat(USL_TRY(volfs_.Index(true))->fd(), index_name.c_str(), 0);
    return Fail(placed.error());
  }
  HostEntry entry = *std::move(placed);

  Unregister();
  lower_key_ = key_;
  layer_ = volfs_.upper();
  TakeEntry(entry);
  index_name_ = std::move(index_name);
  if (directory_) {
    directory_->stack.insert(directory_->stack.begin(),
                             MakeRef<HostDirectory>(Ref<HostDirectory>(parent.UpperDirectory()), place_.name, key_));
  }
  Register();
  return {};
}

Result<Ref<OpenDirectory>> VolFs::Index(bool make) {
  if (!index_) {
    if (index_missing_ && !make) return Ref<OpenDirectory>();
    Ref<OpenDirectory> work = USL_TRY(Work());
    HostPlace outer{upper()->root_fd(), ".usl"};
    UniqueFd outer_fd = USL_TRY(OpenHost(outer, O_PATH | O_DIRECTORY | O_NOFOLLOW));
    if (make && ::mkdirat(outer_fd.get(), "index", 0700) < 0 && errno != EEXIST) return FailErrno();
    auto status = Stat({outer_fd.get(), "index"});
    if (!status) {
      index_missing_ = status.error().code() == ENOENT;
      return index_missing_ ? Result<Ref<OpenDirectory>>(Ref<OpenDirectory>()) : Fail(status.error());
    }
    index_ = MakeRef<HostDirectory>(work_->parent(), "index", KeyOf(*status));
    index_missing_ = false;
  }
  return cache_.Get(*index_);
}

Result<std::string> VolFs::FindIndexName(const HostKey& key, uint64_t origin) {
  Ref<OpenDirectory> index = USL_TRY(Index(false));
  if (!index) return std::string();
  std::string name = format("{:x}", origin);
  auto status = Stat({index->fd(), name.c_str()});
  if (status && KeyOf(*status) == key) return name;
  // Copied up from a file that was a copy itself: the number that the guest sees is an older one's.
  name.clear();
  USL_TRY_VOID(ForEachEntry(index->fd(), [&](const char* entry, uint64_t ino, unsigned char) {
    if (ino == key.ino) name = entry;
    return name.empty();
  }));
  return name;
}

Result<Ref<VolInode>> VolFs::FindIndexed(const HostKey& lower_key) {
  Ref<OpenDirectory> index = USL_TRY(Index(false));
  if (!index) return Ref<VolInode>();
  std::string name = IndexName(lower_key);
  auto entry = USL_TRY(upper()->Probe(cache_, *index_, name));
  if (!entry) return Ref<VolInode>();
  HostKey key = KeyOf(entry->status);
  Ref<VolInode> inode = FindInode(key);
  if (!inode) {
    FoundName found{upper(), *std::move(entry), {}};
    inode = MakeRef<VolInode>(*this, std::move(found), nullptr, "");
  }
  inode->Unregister();
  inode->index_name_ = name;
  inode->lower_key_ = lower_key;
  inode->Register();
  return inode;
}

}  // namespace usl::fs
