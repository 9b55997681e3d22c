// One mounted file system instance (a superblock), and the inode interface that each file system implements.
//
// Inodes do mechanism only: permissions, sticky bits, umask, read-only mounts, name limits and lookup caching are
// Vfs's. All calls run under the kernel lock (base/blocking.h); what may take long opens a BlockingScope.
#pragma once

#include <sys/stat.h>
#include <sys/vfs.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "cred/credentials.h"
#include "vfs/attributes.h"

namespace usl::vfs {

class Dentry;
class FileSystem;
class Inode;
class Mount;
class NameObserver;
struct Context;
struct Path;

// What is to be made by Inode::Create.
struct NewInode {
  uint32_t mode = 0;  // S_IFMT type and permissions, umask and setgid inheritance applied already
  uid_t uid = 0;
  gid_t gid = 0;
  dev_t rdev = 0;
  std::string_view symlink_target;  // S_IFLNK only
};

// Receives directory entries. Add returns false when the caller's buffer is full; that entry was not taken.
class DirectorySink {
 public:
  virtual ~DirectorySink() = default;
  // `next` is the cursor behind this entry (d_off); `type` a DT_* value.
  virtual bool Add(std::string_view name, uint64_t ino, unsigned char type, int64_t next) = 0;
  // The cursor of the open directory, where the caller has asked for it already. Void once the directory was read.
  std::optional<uint64_t> position;
};

class Inode : public RefCounted {
 public:
  // `type` is the S_IFMT part of the mode and never changes.
  Inode(FileSystem& file_system, uint32_t type) : file_system_(file_system), type_(type) {}

  FileSystem& file_system() const { return file_system_; }
  uint32_t type() const { return type_; }
  bool IsDirectory() const { return type_ == S_IFDIR; }
  bool IsRegular() const { return type_ == S_IFREG; }
  bool IsSymlink() const { return type_ == S_IFLNK; }

  // Live attributes: size and times are read from the host at each call.
  virtual Result<Attributes> GetAttributes() = 0;
  // The same, where the caller has a descriptor that was found to be of this inode: saves looking for the host file.
  virtual Result<Attributes> GetAttributesOf(int) { return GetAttributes(); }
  // The same from what fstat(2) said of such a descriptor just now; what stat(2) shows is right, the rest may be unset.
  virtual Result<Attributes> GetAttributesFrom(const struct stat&) { return GetAttributes(); }
  // What permission checks need, and cheaper: mode, uid, gid only (other members may be unset). Called at each step of
  // a path walk, which holds plain pointers meanwhile: must not open a BlockingScope.
  virtual Result<Attributes> GetPermissions() { return GetAttributes(); }
  virtual Result<void> SetAttributes(const AttributeChange& change);

  // Opens the file's host object with the access mode and status flags of `flags` (O_ACCMODE, O_APPEND, O_DIRECT,
  // O_PATH, O_TRUNC, O_NONBLOCK, O_SYNC, O_NOATIME...; O_CREAT and O_EXCL are done by Vfs before) for donation: the
  // fd's rights and F_GETFL are exactly those that the guest asked for. Directories: the f_pos of the fd is
  // ReadDirectory's cursor.
  virtual Result<UniqueFd> Open(int flags, const Context& context);
  // For a file that is opened and not donated (exec, copying): read only, O_CLOEXEC; it may be O_NONBLOCK.
  virtual Result<UniqueFd> OpenForKernel();
  // May somebody have the host file open for writing? NotOpenForWriting(): the host has just said that nobody has.
  virtual bool MayBeOpenForWriting() const { return true; }
  virtual void NotOpenForWriting() {}

  // Symbolic links: the target, or for magic links what readlink(2) shows.
  virtual Result<std::string> ReadLink(const Context& context);
  // True for links that Follow() resolves instead of the text of ReadLink().
  virtual bool IsMagicLink() const { return false; }
  // Where a magic link leads: fills `path` and returns an empty fd, or returns the fd of an object without a place. For
  // a file that was removed both may be given: `path` says what it was, the fd is what an open of the link reopens.
  virtual Result<UniqueFd> Follow(const Context& context, Path& path);

  // Directories. Names have been checked (length, no '/', not "." or "..").
  virtual Result<Ref<Inode>> Lookup(std::string_view name, const Context& context);  // ENOENT when absent
  // An absent name is an error of the look-up itself (procfs): making one is ENOENT, before any permission is asked.
  virtual bool RefusesAbsentNames() const { return false; }
  virtual Result<Ref<Inode>> Create(std::string_view name, const NewInode& spec);  // EEXIST
  // Create() of a regular file and the Open() of it for `flags`, where the file system can do both at once; else `fd`
  // stays empty and the file is to be opened.
  virtual Result<Ref<Inode>> CreateOpened(std::string_view name, const NewInode& spec, int /*flags*/,
                                          UniqueFd* /*fd*/) {
    return Create(name, spec);
  }
  // Whether Create() finds out by itself, at no cost, that a name is taken, and says EEXIST: then nobody has to look
  // the name up before.
  virtual bool CreateLooksUp() const { return false; }
  virtual Result<void> Link(std::string_view name, Inode& target);
  virtual Result<void> Unlink(std::string_view name, Inode& victim);
  virtual Result<void> RemoveDirectory(std::string_view name, Inode& victim);  // ENOTEMPTY
  // Within one file system. `flags` are RENAME_*. `target` is null when the new name is free.
  virtual Result<void> Rename(std::string_view old_name, Inode& source, Inode& new_directory, std::string_view new_name,
                              Inode* target, unsigned flags);
  // An unnamed file (O_TMPFILE); Open() opens it, Link() gives it a name later if `linkable`. The file system keeps the
  // inode (and so FindByHostFile gives the same one) while the file is open, as far as it can know.
  virtual Result<Ref<Inode>> CreateUnnamed(const NewInode& spec, bool linkable);
  // Adds entries from the cursor of `open_directory` (a duplicate of the guest's fd; cursor = its f_pos, which is
  // advanced) until the sink is full or the end. "." and ".." are added by this function too; `parent_ino` is ".."'s
  // number.
  virtual Result<void> ReadDirectory(int open_directory, uint64_t parent_ino, DirectorySink& sink);
  // May names in this directory be cached (as negative or positive dentries) without asking again? False for synthetic
  // directories whose content changes by itself and for DrvFs, whose host side changes.
  virtual bool CacheableNames() const { return true; }
  // The name by which `directory` has this inode, which its Lookup has just found as `name`: another spelling where
  // that disregards case.
  virtual std::string_view NameIn(const Inode& directory, std::string_view name) const {
    (void)directory;
    return name;
  }

  // A guest is about to watch the inode's host object by inotify(7) for the events of `mask`: from now on that object
  // stays the same one, and what guests do in a directory is done to its host directory as they ask for it.
  virtual Result<void> PrepareWatch(uint32_t mask) {
    (void)mask;
    return {};
  }

  // Extended attributes, with their full names ("user.mime_type"); permission is checked before. ENODATA when absent,
  // EOPNOTSUPP where the file system has none. "system.posix_acl_*" arrive here in Linux's binary form.
  virtual Result<std::vector<std::byte>> GetXattr(std::string_view name);
  virtual Result<void> SetXattr(std::string_view name, std::span<const std::byte> value, int flags);
  virtual Result<void> RemoveXattr(std::string_view name);
  virtual Result<std::vector<std::string>> ListXattr();

  // Cheap hints, asked before the xattrs above at each permission check and each open for writing. HasAcl: is there a
  // system.posix_acl_access or system.posix_acl_default? HasFileCapabilities: may there be a security.capability?
  virtual bool HasAcl() { return false; }
  virtual bool HasFileCapabilities() { return true; }

  // May attributes that were just read be shown again without asking, until Changed() or SearchChanged() is called?
  // Only a file system that knows of every change to a file can say so.
  virtual bool IsSteady(const Attributes&) { return false; }

  // The host path that AF_UNIX bind/connect of this socket node uses, once set by the network layer.
  const std::string& socket_address() const { return socket_address_; }
  void set_socket_address(std::string address) { socket_address_ = std::move(address); }

  // A process runs it: from now on Vfs asks whether one still does before the file is opened for writing.
  void MarkExecuted() { may_be_running_ = true; }

 protected:
  // What the file system calls after a change, where IsSteady() may have answered true: of any attribute of this inode,
  // or (of a directory) of who may search it.
  void Changed();
  void SearchChanged();

 private:
  friend class Dentry;
  friend class DentryCache;
  friend class Vfs;
  FileSystem& file_system_;
  const uint32_t type_;
  bool linkable_ = false;  // made by O_TMPFILE without O_EXCL: may get a name although it has no link
  bool may_be_running_ = false;
  Dentry* first_dentry_ = nullptr;  // the index from inodes to dentries: a list through Dentry::alias_next_
  std::string socket_address_;
};

// Thread-compatible under the kernel lock.
class FileSystem : public RefCounted {
 public:
  explicit FileSystem(std::string type_name);
  // "ext4"-like name for /proc/mounts.
  const std::string& type_name() const { return type_name_; }
  // The device number that stat shows for its files: anonymous numbers (major 0), unique in the instance.
  dev_t device() const { return device_; }

  virtual Ref<Inode> root() = 0;
  virtual Result<struct statfs> StatFs() = 0;
  virtual bool IsReadOnly() const { return false; }
  // MS_NOSUID, MS_NODEV, MS_NOEXEC that hold on every mount of it, whatever mount(2) asks for (Linux: SB_I_NODEV...).
  virtual unsigned ForcedMountFlags() const { return 0; }
  // The inode behind an open host file, or null when it is not of this file system. `status` is the fstat of `fd`.
  virtual Ref<Inode> FindByHostFile(int fd, const struct stat& status);
  // Cheap: is a host file of this device and number cached here? Several file systems may share a host device, and only
  // the one that knows the file should look closer first.
  virtual bool HasCached(const struct stat&) const { return false; }
  // The host device numbers (st_dev) of the files that FindByHostFile may know, so that it is asked for those alone.
  // Empty (the default): it is asked for every file that no other file system claims. Read once, at Vfs::Register.
  virtual std::vector<dev_t> HostDevices() const { return {}; }
  // The path from this file system's root ("/" or "/a/b") by which the host knows an open file now, to build its dentry
  // when none is cached and to tell hard links apart; with " (deleted)" at the end for a removed one. EOPNOTSUPP where
  // the host does not know it.
  virtual Result<std::string> FindPath(int fd, Inode& inode);
  // Writes everything to the host's disk (sync(2) of the guest).
  virtual Result<void> Sync() { return {}; }
  // The name of the source and the options shown in /proc/mounts.
  virtual std::string source() const { return type_name_; }
  virtual std::string options() const { return {}; }

  // New options for what is mounted already (MS_REMOUNT, FSCONFIG_CMD_RECONFIGURE). EINVAL for unknown ones; what a
  // file system does not look at is accepted, as by Linux's proc and sysfs.
  virtual Result<void> Reconfigure(std::string_view) { return {}; }
  // Read-only for all mounts of it (SB_RDONLY).
  bool is_set_read_only() const { return set_read_only_; }
  void SetReadOnly(bool read_only) { set_read_only_ = read_only; }

  NameObserver* observer() const { return observer_; }

  // How many Mount objects show it, in any namespace or in none (lazily unmounted, but in use).
  size_t mount_count() const { return mounts_.size(); }

 private:
  friend class Mount;
  friend class MountNamespace;
  friend class Vfs;
  std::string type_name_;
  dev_t device_;
  bool set_read_only_ = false;
  uint64_t home_mount_ = 0;  // the id of the first mount that showed all of it; 0 = there was none
  unsigned home_flags_ = 0;  // of that mount, when it has ended
  NameObserver* observer_ = nullptr;
  std::vector<Mount*> mounts_;  // in the order in which they were made
};

}  // namespace usl::vfs
