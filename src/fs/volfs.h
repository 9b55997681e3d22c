// VolFs: a guest file tree with Linux's full semantics over host directories that an ordinary user owns (docs/volfs.md,
// and src/fs/README.md for its shape): any number of read-only layers and one writable layer on top. DrvFs, tmpfs and
// the host view are VolFs with other options.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/format.h"
#include "fs/directory_cache.h"
#include "fs/fold_index.h"
#include "fs/layer.h"
#include "fs/tree_lock.h"
#include "vfs/file_system.h"

namespace usl::fs {

class VolInode;
struct MergedList;

struct VolFsOptions {
  std::optional<LayerOptions> upper;      // the writable tree; without it the file system is read-only
  std::vector<LayerOptions> lowers;       // read-only trees, the topmost first
  bool memory_attributes = false;         // records in memory (trees that end with the kernel)
  bool volatile_tree = false;             // as memory_attributes, but only where the upper has no user attributes
  bool live = false;                      // the host changes the tree too (DrvFs): names and attributes are not cached
  NameCase name_case = NameCase::kForce;  // of live trees
  bool exclusive = true;                  // take the lock of the upper tree
  bool sync_copy_up = false;              // fsync a copied-up file before it takes its name: for trees that are kept
  std::string single_file;                // the root is this member of the upper's directory (a mount of one file)
  size_t directory_fds = 1024;            // bound of the cache of open directories
  std::string type_name = "volfs";
  std::string source = "volfs";
  std::string shown_options;
};

// Where an open directory of the guest is in a tree of layers: the host directories, topmost first.
using DirectoryStack = std::vector<Ref<HostDirectory>>;

// A name as the layers together show it.
struct FoundName {
  Layer* layer = nullptr;
  HostEntry entry;
  DirectoryStack stack;  // of a directory
};

class VolFs : public vfs::FileSystem {
 public:
  // Opens (and locks) the trees. EBUSY when another kernel owns the upper one, EOPNOTSUPP when its file system has
  // neither user attributes nor lasting inode numbers, EPROTONOSUPPORT for a tree of a newer format, EIO or EXDEV when
  // its sidecar is damaged or another tree's, else the errors of open(2); each with a log line that says what to do.
  static Result<Ref<VolFs>> Open(VolFsOptions options);
  ~VolFs() override;

  Ref<vfs::Inode> root() override;
  Result<struct statfs> StatFs() override;
  bool IsReadOnly() const override { return !has_upper_; }
  Ref<vfs::Inode> FindByHostFile(int fd, const struct stat& status) override;
  Result<std::string> FindPath(int fd, vfs::Inode& inode) override;
  bool HasCached(const struct stat& status) const override;
  Result<void> Sync() override;
  unsigned ForcedMountFlags() const override;
  std::string source() const override { return options_.source; }
  std::string options() const override { return options_.shown_options; }

  // How many inodes and open directories are held (tests, statistics).
  size_t inode_count() const { return inodes_.size(); }
  size_t open_directory_count() const { return cache_.size(); }

  const FoldIndex& fold_index() const { return fold_index_; }

  // Test hooks: the number of the host step at which the next copy-up or rename fails (0: none), and whether it is left
  // as if the kernel died there, or fails with this errno.
  int fail_at_step = 0;
  bool fail_as_crash = true;
  int fail_errno = EIO;

 protected:
  explicit VolFs(VolFsOptions options);
  // For file systems with limits (tmpfs): before a name is made (a regular file will take space), and after one was
  // removed; `last_of` is the file if that was its last one. ENOSPC.
  virtual Result<void> TakeName(bool /*takes_space*/) { return {}; }
  virtual void GiveName(const HostKey* /*last_of*/) {}
  // A regular file is opened for writing.
  virtual void MayGrow(VolInode&) {}
  Result<void> OpenTrees();

 private:
  friend class VolInode;

  Layer* upper() const { return has_upper_ ? layers_.front().get() : nullptr; }
  bool IsLayered() const { return layers_.size() > 1; }
  bool HasLowers() const { return layers_.size() > (has_upper_ ? 1u : 0u); }

  Result<std::unique_ptr<AttributeStore>> MakeStore(const LayerOptions& layer, bool is_upper);
  Result<void> LockUpper();
  Result<void> CheckFormat(const std::string& path);
  Result<void> EmptyWork();
  // Notes of changes in two host steps (volfs_notes.cc); returns the note's name. EFBIG: too long for one.
  Result<std::string> MakeNote(char kind, const std::string& text);
  void DropNote(const std::string& name);
  // Carry out notes that a killed kernel left, of VolInode::MakeDirectoryInPlace and of MoveThenWhiteOut.
  Result<void> CompleteDirectory(std::string_view note);
  Result<void> CompleteWhiteout(std::string_view path);
  // The private directory for what is being made, `.usl/work` in the upper.
  Result<Ref<OpenDirectory>> Work();
  std::string TemporaryName();
  // A whiteout in the work directory, to be linked or renamed to its place. Returns its name there.
  Result<void> LinkWhiteout(const HostPlace& destination);
  // Moves a directory to a name where a whiteout is, and the whiteout away.
  Result<void> ReplaceWhiteout(const HostPlace& directory, const HostPlace& whiteout);
  // Moves a file to a name, and a whiteout that may be there already to the file's. `path` is the file's in the upper.
  Result<void> MoveLeavingWhiteout(const HostPlace& from, const HostPlace& to, bool over_whiteout, bool is_directory,
                                   const std::string& path);
  // Moves a file to a name, over what is there, and then puts a whiteout where it was; a crash in between is completed
  // when the tree is opened again.
  Result<void> MoveThenWhiteOut(const HostPlace& from, const HostPlace& to, const std::string& path);
  Result<void> Step();
  bool crashed_ = false;  // by the hook

  // The inode number that the guest sees for a host file: the host's, made unique over several host devices.
  uint64_t Number(const HostKey& key);
  bool KnowsDevice(dev_t device) const;

  // Looks a name up through `stack`; whiteouts and opaque directories apply. nullopt when absent.
  Result<std::optional<FoundName>> Find(std::span<const Ref<HostDirectory>> stack, std::string_view name);
  // The directories below `found` that belong to it too.
  Result<void> FindLowerDirectories(std::span<const Ref<HostDirectory>> rest, std::string_view name, FoundName& found);
  Result<DirectoryStack> FindRedirect(const Layer& above, std::string_view path);

  Ref<VolInode> FindInode(const HostKey& key) const;
  // The directory of copied-up files that have several names in the lower layers, `.usl/index`; null while there is
  // none (and `make` is false).
  Result<Ref<OpenDirectory>> Index(bool make);
  std::string IndexName(const HostKey& lower_key) { return format("{:x}", Number(lower_key)); }
  // The name in the index of an upper file whose record has a link count of its own; empty when it is not there.
  Result<std::string> FindIndexName(const HostKey& key, uint64_t origin);
  // The copied-up inode of such a lower file, or null.
  Result<Ref<VolInode>> FindIndexed(const HostKey& lower_key);
  // The inode of a found name: a known one, or a new one.
  Result<Ref<VolInode>> MakeInode(FoundName found, VolInode* parent, std::string_view name);
  Ref<VolInode> WalkHere(std::string_view path);
  Ref<vfs::Inode> FindByPath(const std::string& path, int fd, const struct stat& status);
  Ref<VolInode> MakeDetached(Layer& layer, int fd);
  bool IsReservedName(const VolInode& directory, std::string_view name) const;
  bool OwnsHostPath(Layer& layer, const std::string& relative, const HostKey& key);

  std::shared_ptr<MergedList> CachedList(uint64_t serial);
  void KeepList(uint64_t serial, std::shared_ptr<MergedList> list);
  void DropList(uint64_t serial);

  VolFsOptions options_;
  DirectoryCache cache_;
  FoldIndex fold_index_;
  std::vector<std::unique_ptr<Layer>> layers_;  // topmost first; the upper is the front
  bool has_upper_ = false;
  TreeLock lock_;
  Ref<HostDirectory> work_;
  Ref<HostDirectory> index_;
  bool index_missing_ = false;
  uint64_t temporary_counter_ = 0;
  std::string whiteout_name_;  // in the work directory
  std::vector<dev_t> devices_;
  std::unordered_map<HostKey, VolInode*, HostKeyHash> inodes_;
  uint64_t next_serial_ = 1;
  // How large a directory position may be: some host file systems keep fewer bits than the 42 wanted.
  void LearnCursorBits(dev_t device, int directory);
  unsigned cursor_bits_ = 42;
  std::vector<dev_t> cursor_devices_;  // asked already
  std::vector<std::pair<uint64_t, std::shared_ptr<MergedList>>> lists_;
  Ref<VolInode> root_;

  // Copy-ups that gave up the kernel lock: whoever wants the same file waits until one of them ends.
  std::mutex copy_mutex_;
  std::condition_variable copy_ended_;
  uint64_t copy_generation_ = 0;
};

// True of names in the work directory that are notes: carried out when the tree is opened, not just removed.
bool IsWorkNote(std::string_view name);

}  // namespace usl::fs
