// The inodes of VolFs. Guarded by the kernel lock.
//
// An inode knows its host file by a place: its parent and a name (a file with hard links may have several), or, when it
// has lost its last name or never had one, by an fd of its own. `layer_` and `key_` tell which host file that is; a
// copy-up replaces them, and the inode stays the same one for the guest.
#pragma once

#include <fcntl.h>

#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "fs/volfs.h"

namespace usl::fs {

// The host attribute of a directory that says whether its members' names are sensitive to case ("1") or not, for
// case=dir; guests know it as kCaseXattr, the name that WSL gives it.
inline constexpr const char* kCaseMark = "user.usl.case_sensitive";
inline constexpr std::string_view kCaseXattr = "system.wsl_case_sensitive";

using MemberNames = std::unordered_set<std::string>;

class VolInode final : public vfs::Inode {
 public:
  VolInode(VolFs& file_system, FoundName found, VolInode* parent, std::string_view name);
  ~VolInode() override;

  Result<vfs::Attributes> GetAttributes() override;
  Result<vfs::Attributes> GetAttributesOf(int fd) override;
  Result<vfs::Attributes> GetAttributesFrom(const struct stat& status) override;
  Result<vfs::Attributes> GetPermissions() override;
  Result<void> SetAttributes(const vfs::AttributeChange& change) override;
  Result<UniqueFd> Open(int flags, const vfs::Context& context) override;
  Result<UniqueFd> OpenForKernel() override { return OpenFlags(O_RDONLY | O_NONBLOCK); }
  bool MayBeOpenForWriting() const override { return may_be_written_ || volfs_.options_.live || pinned_; }
  void NotOpenForWriting() override { may_be_written_ = false; }
  Result<std::string> ReadLink(const vfs::Context& context) override;

  Result<Ref<vfs::Inode>> Lookup(std::string_view name, const vfs::Context& context) override;
  Result<Ref<vfs::Inode>> Create(std::string_view name, const vfs::NewInode& spec) override;
  Result<Ref<vfs::Inode>> CreateOpened(std::string_view name, const vfs::NewInode& spec, int flags,
                                       UniqueFd* fd) override;
  // The host says so; lower layers are asked by Create().
  bool CreateLooksUp() const override { return !volfs_.options_.live; }
  Result<void> Link(std::string_view name, vfs::Inode& target) override;
  Result<void> Unlink(std::string_view name, vfs::Inode& victim) override;
  Result<void> RemoveDirectory(std::string_view name, vfs::Inode& victim) override;
  Result<void> Rename(std::string_view old_name, vfs::Inode& source, vfs::Inode& new_directory,
                      std::string_view new_name, vfs::Inode* target, unsigned flags) override;
  Result<Ref<vfs::Inode>> CreateUnnamed(const vfs::NewInode& spec, bool linkable) override;
  Result<void> ReadDirectory(int open_directory, uint64_t parent_ino, vfs::DirectorySink& sink) override;
  Result<void> PrepareWatch(uint32_t mask) override;
  bool CacheableNames() const override { return !volfs_.options_.live; }
  std::string_view NameIn(const vfs::Inode& directory, std::string_view name) const override;

  Result<std::vector<std::byte>> GetXattr(std::string_view name) override;
  Result<void> SetXattr(std::string_view name, std::span<const std::byte> value, int flags) override;
  Result<void> RemoveXattr(std::string_view name) override;
  Result<std::vector<std::string>> ListXattr() override;
  // Lists of the guest's own; those of host-owned lower files are the host's to enforce at its open.
  bool HasAcl() override;

  bool IsSteady(const vfs::Attributes& attributes) override;

  // Opens the host file with open(2)'s flags, copying it up first when it is to be written. Without a context, for
  // tests and for the file systems built on this one.
  Result<UniqueFd> OpenFlags(int flags);
  Result<Ref<VolInode>> LookupName(std::string_view name);

  Layer& layer() const { return *layer_; }
  const HostKey& key() const { return key_; }
  uint64_t number() const { return number_; }

 private:
  friend class VolFs;

  struct Place {
    Ref<VolInode> parent;
    std::string name;
    bool Is(const VolInode& directory, std::string_view other) const {
      return parent.get() == &directory && name == other;
    }
    friend bool operator==(const Place&, const Place&) = default;
  };
  struct PlaceHash {
    size_t operator()(const Place& place) const {
      return std::hash<const void*>()(place.parent.get()) * 31 + std::hash<std::string>()(place.name);
    }
  };
  struct DirectoryState {
    DirectoryStack stack;  // topmost first; never empty
    uint64_t serial = 0;   // names the cached listing; a new one for each change that makes it useless
  };
  // A place in the host, valid while `keep` lives and the inode's name does not change.
  struct Resolved {
    Ref<OpenDirectory> keep;
    HostPlace place;
  };

  // Tells at the end of a scope that an inode has changed, however far the change came.
  class Announcement {
   public:
    explicit Announcement(VolInode& inode, bool search = false) : inode_(inode), search_(search) {}
    ~Announcement() {
      inode_.Changed();
      if (search_) inode_.SearchChanged();
    }
    Announcement(const Announcement&) = delete;
    Announcement& operator=(const Announcement&) = delete;

   private:
    VolInode& inode_;
    bool search_;
  };

  vfs::Attributes AttributesFrom(const struct statx& status) const;
  // Has anybody the host file open for writing (F_RDLCK), or at all (F_WRLCK)?
  bool IsOpen(int kind);
  // The file is about to be read, which may set its access time.
  void NoteReading();
  void TakeEntry(HostEntry& entry);
  // Takes over attributes from a new look at the host file (DrvFs).
  void Refresh(const struct statx& status);
  // The same with the record, if the file was changed since it was read.
  Result<void> RefreshAll(const HostPlace& place, const struct statx& status);
  // Is a name in this directory looked up without regard to case?
  Result<bool> FoldsCase();
  // Is `name` the attribute that tells it?
  bool HasCaseMark(std::string_view name) const;
  void Register();
  void Unregister();
  void AddPlace(VolInode& parent, std::string_view name);
  void DropPlace(const VolInode& parent, std::string_view name);
  bool HasPlace() const { return place_.parent || pinned_ || volfs_.root_.get() == this || !index_name_.empty(); }
  // Keeps the host file reachable by an fd of its own.
  Result<void> Pin(int fd);
  Result<Resolved> Resolve();
  // The directory's entry of `layer`, or null.
  HostDirectory* In(const Layer& layer) const;
  HostDirectory* UpperDirectory() const { return volfs_.upper() ? In(*volfs_.upper()) : nullptr; }
  // Its fd for work in it, and in the upper tree.
  Result<Ref<OpenDirectory>> OpenUpper();
  // May its listing change from one layer's to a merged one while a guest reads it?
  bool IsMergeable() const;

  // Makes the file be in the upper tree. EROFS without one.
  Result<void> CopyUp(bool with_data = true);
  Result<void> CopyUpOne(bool with_data);
  Result<void> CopyUpInto(const Resolved& from, const struct statx& status, const std::string& temporary,
                          bool with_data);
  Result<void> CopyLarge(int from, int to, uint64_t size);
  Result<void> CopyUserXattrs(const HostPlace& from, const HostPlace& to);
  Result<HostEntry> PlaceCopy(const HostPlace& made);
  Result<void> PublishCopy(const std::string& temporary, const struct statx& status);

  // The record that says what the guest sees, for a host file with `host_mode`.
  AttributeRecord RecordFor(const Ownership& owner, uint32_t host_mode) const;
  Result<void> SaveRecord(AttributeRecord record);
  Result<void> SetOwnership(const Ownership& wanted);
  Result<void> SetMappedOwnership(const Ownership& wanted);
  Result<void> SetWritable(const Ownership& wanted);
  Result<void> ReplaceSymlink(const Ownership& wanted);
  Result<void> LinkStandIn(const HostPlace& stand_in, const Place& other);
  // Owners of a live tree's symlinks, which stay symlinks for the host: kept in the record of their directory.
  bool KeepsLinkOwners() const { return volfs_.options_.live && layer_->UsesRecords(); }
  void ApplyLinkOwner();
  AttributeRecord::LinkOwner LinkOwnerFor(const Ownership& owner) const;
  // Of a directory. ENOSPC when its record is full.
  Result<void> PutLinkOwner(const AttributeRecord::LinkOwner& owner);
  Result<void> DropLinkOwner(const VolInode& link);
  Result<void> Truncate(uint64_t size);
  Result<void> Annotate();
  Result<UniqueFd> OpenNormalising(const HostPlace& place, int flags);
  // Takes away the O_NONBLOCK that the kernel's own opens have; `flags` are the guest's.
  static Result<void> MakeBlocking(int fd, int flags);
  Result<void> CheckOpened(int fd) const;

  // Directory operations in the upper tree.
  Result<void> CheckChangeable(std::string_view name);
  Result<bool> LowerHas(std::string_view name);
  // A regular file that is wanted open, and what its descriptor is for.
  struct WantedOpen {
    int flags;
    UniqueFd* fd;
  };
  // How the file is reached best.
  static HostPlace PlaceOf(const WantedOpen* opening, const HostPlace& place);
  // `status`, where given, is filled if the file was looked at; `opening` is done for regular files.
  Result<void> MakeHostFile(const HostPlace& place, const vfs::NewInode& spec, AttributeRecord& record,
                            bool needs_record, const WantedOpen* opening = nullptr,
                            std::optional<struct statx>* status = nullptr);
  Result<Ref<vfs::Inode>> CreateChecked(std::string_view name, const vfs::NewInode& spec, const WantedOpen* opening);
  Result<void> MakeComplete(const HostPlace& place, std::string_view name, const vfs::NewInode& spec,
                            AttributeRecord& record, bool over_whiteout);
  Result<Ref<vfs::Inode>> CreateInUpper(std::string_view name, const vfs::NewInode& spec, bool is_merged,
                                        const WantedOpen* opening);
  Result<void> LinkInUpper(std::string_view name, VolInode& target);
  Result<bool> IsWhiteoutAt(const HostPlace& place);
  bool MayHoldWhiteouts() const;
  // Makes a directory under its name at once, with a note that completes it after a crash: for watched directories,
  // where one that is renamed to its place would be told as a moved one.
  Result<void> MakeDirectoryInPlace(const HostPlace& place, std::string_view name, const vfs::NewInode& spec,
                                    AttributeRecord& record);
  // Makes a watched directory of several layers one of the upper tree alone, where that does not mean to copy much.
  Result<void> Flatten();
  Result<bool> IsCheapToFlatten(const std::vector<Ref<VolInode>>& members);
  // Moves a finished file from the work directory to a name here, over a whiteout if there is one.
  Result<void> Publish(const std::string& temporary, std::string_view name, bool is_directory);
  // Of a FIFO, device or socket whose name is about to go: the host file, for whoever has it open. What a guest has
  // open then is not that file, so nothing else would lead to it. Empty for other types.
  Result<UniqueFd> KeepSpecial();
  Result<void> RemoveUpperName(std::string_view name, bool lower_has);
  Result<void> ClearWhiteouts(int directory);
  Result<bool> IsEmptyMerged();
  Result<void> PrepareMove(VolInode& moved);
  // A copied-up file that is here by the index only gets the name in the upper tree.
  Result<void> MakeIndexedName(VolInode& inode, const HostPlace& place);
  // The path of a name in this directory in the upper tree.
  std::string PathInUpper(std::string_view name) const;
  Result<void> MoveHost(VolInode& source, const HostPlace& from, const HostPlace& to, bool old_lower,
                        VolInode& destination, std::string_view new_name, VolInode* target);
  Result<std::string> MakeGuestWhiteout();
  // Is at a new place after a rename.
  void Arrive(VolInode& parent, std::string_view name);
  Result<void> CountLinks(int difference);
  Result<void> CopyUpToCountLinks();
  std::string LowerPath() const;
  void ListingChanged(std::string_view removed_name = {});

  Result<void> ReadNative(int fd, uint64_t parent_ino, vfs::DirectorySink& sink);
  Result<void> ReadMerged(int fd, uint64_t parent_ino, vfs::DirectorySink& sink);
  Result<std::shared_ptr<MergedList>> BuildList(const MergedList* old);
  Result<void> AddMembers(HostDirectory& directory, MergedList& list, MemberNames& seen);

  VolFs& volfs_;
  Layer* layer_;
  HostKey key_;
  HostKey lower_key_;  // of the lower file before a copy-up; device 0 when there was none
  uint64_t birth_ = 0;
  uint64_t number_ = 0;
  uint32_t host_mode_ = 0;  // st_mode of the host file
  timespec seen_ctime_{};   // of live trees: when the record was read
  Ownership owner_{};
  bool registered_ = false;
  bool copying_ = false;
  bool may_be_open_ = true;          // since the file was last found not to be
  bool may_be_written_ = true;       // open for writing, since it was last found not to be
  bool reading_changes_it_ = false;  // IsSteady() said yes, and the access time does not rest
  bool watched_ = false;             // by a guest's inotify, now or earlier
  std::unique_ptr<AttributeRecord> record_;
  std::unique_ptr<DirectoryState> directory_;  // of directories
  Place place_;
  std::unique_ptr<std::unordered_set<Place, PlaceHash>> other_places_;  // null when there are none: the common case
  std::unique_ptr<const std::string> target_;                           // of symlinks, once it was read
  std::string index_name_;  // in `.usl/index`: a copied-up file that has several names in the lower layers
  UniqueFd pinned_;
};

}  // namespace usl::fs
