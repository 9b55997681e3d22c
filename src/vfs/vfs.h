// The virtual file system: every operation that names a file by path, with Linux's rules (path_resolution(7),
// permission at each step with the guest's credentials, mount flags, sticky directories, set-id clearing). Guarded by
// the kernel lock.
#pragma once

#include <linux/openat2.h>
#include <sys/stat.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vfs/attributes.h"
#include "vfs/context.h"
#include "vfs/dentry.h"
#include "vfs/file_system.h"
#include "vfs/mount.h"
#include "vfs/path.h"

namespace usl::vfs {

// A place given by a system call: `path` relative to `at` (the directory of a dirfd, or the cwd). An absolute path
// ignores `at`. With `allow_empty` (AT_EMPTY_PATH) an empty path means `at` itself, else it is ENOENT.
struct Location {
  Path at;
  std::string_view path;
  bool allow_empty = false;
};

struct OpenHow {
  int flags = 0;         // O_*, as open(2)
  mode_t mode = 0;       // of a new file, before umask
  uint64_t resolve = 0;  // RESOLVE_* of openat2(2)
};

// How a path was walked.
struct WalkReport {
  // Everybody would have come there: all directories on the way may be searched by all, nothing depended on the caller,
  // and no name can change without this VFS.
  bool same_for_all = false;
  // ENOENT: the name that is not there.
  Ref<Dentry> missing;
};

class FifoTicket;

// A successful open: the host fd to donate.
struct OpenedFile {
  UniqueFd fd;
  Path path;  // what was opened (empty for objects without a place)
  // Set when the open must wait as Linux's does (a FIFO without its other end): the caller parks the call under
  // fifo->wake_key() and asks fifo->Attempt() at each wake (vfs/fifo.h). Dropping `fifo` gives the open up.
  bool would_block = false;
  std::shared_ptr<FifoTicket> fifo;
};

// The sysctls fs.protected_* (proc_sys_fs(5)), with Debian's values.
struct Protection {
  int symlinks = 1;
  int hardlinks = 1;
  int fifos = 1;
  int regular = 2;
};

// What an fd that a guest handed in refers to.
struct FileIdentity {
  Path path;         // mount and dentry (which may be unlinked); both set when inode is
  Ref<Inode> inode;  // null for native objects: pipes, sockets, memfds of the guest, epoll...
  // What the host said of the fd, so that nobody asks it twice.
  std::optional<struct stat> status{};  // fstat(2)
  std::optional<int> flags{};           // F_GETFL
};

enum class XattrOp { kGet, kSet, kRemove, kList };

// The flags of a mount that forbid something to who opens files through it.
inline constexpr unsigned kRestrictions = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;

class DeviceTable;
class HandleTable;
class FifoTable;
class PathWalker;

class Vfs {
 public:
  // `runtime_directory` is a private host directory for the objects that stand for synthetic directories and FIFOs.
  static Result<std::unique_ptr<Vfs>> Create(std::string runtime_directory);
  ~Vfs();

  DentryCache& dentries() { return dentries_; }
  DeviceTable& devices() { return *devices_; }
  HandleTable& handles() { return *handles_; }
  FifoTable& fifos() { return *fifos_; }
  // May be changed at any time (/proc/sys/fs/protected_*).
  Protection& protection() { return protection_; }
  // `runs` tells whether a process runs that file now; asked for files that were executed once (Inode::MarkExecuted)
  // when they are to be written to: ETXTBSY.
  void SetRunningCheck(std::function<bool(const Inode&)> runs) { runs_ = std::move(runs); }
  // Makes a dentry tree for a file system: its root dentry (one per file system, kept).
  Ref<Dentry> RootDentry(const Ref<FileSystem>& file_system);
  // Tells `observer`, which outlives this object, of changes from now on; null for nobody.
  void SetObserver(NameObserver* observer);
  // File systems must be known here for Identify() to find their files.
  void Register(Ref<FileSystem> file_system);
  // Drops registered file systems that had a mount and have none any more, with their cached names. After an unmount.
  // Those that are in use stay (lazily unmounted, with open files); is_lingering() says that there are such.
  void CollectUnused();
  bool is_lingering() const { return lingering_; }
  // Says whether a guest has a file of a file system open; asked by CollectUnused.
  void SetUseCheck(std::function<bool(const FileSystem&)> is_open) { is_open_ = std::move(is_open); }

  // Path walk. `flags` are kFollow etc. below. The namespace is that of the mounts in context.root.
  enum WalkFlags : unsigned {
    kNoFollow = 1,       // do not follow a symlink in the last component
    kDirectory = 2,      // ENOTDIR unless it is a directory
    kAllowNegative = 4,  // the last component may be absent: the path has a negative dentry then
    kParent = 8,         // stop at the parent of the last component
    kNoMountPoint = 16,  // do not cross a mount on the last component (umount, stat of AT_NO_AUTOMOUNT is not this)
  };
  Result<Path> Walk(const Context& context, const Location& location, unsigned flags, uint64_t resolve = 0);
  // The same, for what is to be said to others too: fills `report` also when it fails.
  Result<Path> WalkForAll(const Context& context, const Location& location, unsigned flags, WalkReport* report);

  // Open(2), openat(2). Bits of how.flags that Linux does not know are dropped, as these calls do.
  Result<OpenedFile> Open(const Context& context, const Location& location, const OpenHow& how);
  // EINVAL for flags that do not go together: what open(2) checks before it looks at the path.
  static Result<void> CheckOpenFlags(int flags);
  // openat2(2)'s stricter rules on its argument, which Open then takes: EINVAL for unknown or contradictory bits.
  static Result<OpenHow> CheckOpenHow(const struct open_how& how);
  // Reopens what a guest's fd refers to (open of /proc/self/fd/N arrives here by itself through magic links).
  Result<OpenedFile> OpenPath(const Context& context, const Path& path, int flags);

  Result<Attributes> GetAttributes(const Path& path);
  // Whole struct stat / statx with the device number of the mount's file system.
  Result<struct stat> Stat(const Path& path);
  Result<struct statfs> StatFs(const Path& path);
  // access(2) and faccessat2(2): with real or effective ids as `effective` says; `mode` of R_OK, W_OK, X_OK.
  Result<void> Access(const Context& context, const Path& path, int mode, bool effective);
  // May the context's credentials do `mask` (MAY_EXEC 1, MAY_WRITE 2, MAY_READ 4) to the inode? inode_permission().
  Result<void> CheckPermission(const cred::Credentials& credentials, Inode& inode, int mask);

  Result<void> MakeDirectory(const Context& context, const Location& location, mode_t mode);
  Result<void> MakeNode(const Context& context, const Location& location, mode_t mode, dev_t device);
  Result<Path> MakeSocket(const Context& context, const Location& location, mode_t mode);  // EADDRINUSE when it exists
  Result<void> MakeSymlink(const Context& context, const Location& location, std::string_view target);
  Result<void> Link(const Context& context, const Location& old_location, const Location& new_location, int at_flags);
  // linkat with AT_EMPTY_PATH or of an O_TMPFILE file by its identity.
  Result<void> LinkInode(const Context& context, const FileIdentity& file, const Location& new_location);
  Result<void> Unlink(const Context& context, const Location& location);
  Result<void> RemoveDirectory(const Context& context, const Location& location);
  Result<void> Rename(const Context& context, const Location& old_location, const Location& new_location,
                      unsigned flags);
  Result<std::string> ReadLink(const Context& context, const Path& path);

  // By identity, so that they serve path calls and f* calls alike. `mount` may be null (no read-only check then).
  Result<void> ChangeMode(const Context& context, const FileIdentity& file, mode_t mode);
  Result<void> ChangeOwner(const Context& context, const FileIdentity& file, uid_t uid, gid_t gid);  // -1 = keep
  // `times` null = both now. tv_nsec may be UTIME_NOW or UTIME_OMIT.
  Result<void> ChangeTimes(const Context& context, const FileIdentity& file, const timespec* times);
  Result<void> Truncate(const Context& context, const FileIdentity& file, uint64_t size);
  Result<std::vector<std::byte>> GetXattr(const Context& context, const FileIdentity& file, std::string_view name);
  Result<void> SetXattr(const Context& context, const FileIdentity& file, std::string_view name,
                        std::span<const std::byte> value, int flags);
  Result<void> RemoveXattr(const Context& context, const FileIdentity& file, std::string_view name);
  Result<std::vector<std::string>> ListXattr(const Context& context, const FileIdentity& file);

  // getdents of a guest's directory fd; `fd` is a duplicate. ENOTDIR, ENOENT when the directory was removed.
  Result<void> ReadDirectory(const FileIdentity& file, int fd, DirectorySink& sink);

  // What a duplicate of a guest's fd refers to. Never fails: an unknown object is a native one (null inode).
  // Directories and O_PATH descriptors are seen through the very mount that they were opened through. Of other files
  // the host does not keep it: they are seen through the primary mount of their file system in `mounts` (the
  // caller's namespace), or where the file system was mounted first; but through the most restricted one when they were
  // opened through a mount with restrictions (read-only, noexec...) that the primary one does not have.
  FileIdentity Identify(int fd, const MountNamespace* mounts = nullptr);
  // The path text that the guest sees (readlink of /proc/self/fd/N, /proc/PID/exe), from `root`, with " (deleted)" as
  // Linux writes it (d_path). A place that cannot be reached from `root` is shown from the root of its mount tree.
  std::string PathText(const Path& path, const Path& root);
  // getcwd(2): ENOENT for a removed directory, "(unreachable)" in front of what is not below `root`.
  Result<std::string> WorkingDirectoryText(const Path& path, const Path& root);
  // A path for a native object (a pipe, a guest's memfd, a file handed in from outside) that has no place in the tree,
  // so that stat and open of /proc/self/fd/N work on it. It belongs to `credentials`; takes the fd.
  Path NativeObject(UniqueFd fd, const cred::Credentials& credentials);

 private:
  friend class PathWalker;
  struct Creation;  // what a new inode gets (create.cc)
  Vfs();

  // A new file that is wanted open at once: for these flags, by this descriptor if the file system could do it.
  struct Opening {
    int flags;
    UniqueFd fd;
    bool made = false;  // it is there, whatever failed afterwards
  };

  // open.cc
  Result<OpenedFile> OpenLast(const Context& context, PathWalker& walker, int flags, mode_t mode);
  Result<OpenedFile> OpenUnnamed(const Context& context, PathWalker& walker, int flags, mode_t mode);
  Result<OpenedFile> OpenFound(const Context& context, const Path& path, int flags, bool created, UniqueFd reopen);
  Result<UniqueFd> OpenObject(const Context& context, const Path& path, int flags, UniqueFd reopen);
  int ObjectFlags(const Path& place, uint32_t type, int flags);
  bool MayCreateUnseen(const PathWalker& walker);
  Result<OpenedFile> CreateUnseen(const Context& context, const Path& parent, std::string_view name, int flags,
                                  mode_t mode, bool* made);
  Result<void> DropPrivileges(const Context& context, Inode& inode);
  Result<void> CheckNotRunning(Inode& inode);
  // create.cc
  Result<Creation> PrepareCreation(const Context& context, Inode& directory, mode_t mode);
  Result<Ref<Inode>> CreateIn(const Context& context, const Ref<Dentry>& directory, std::string_view name, mode_t mode,
                              dev_t device, std::string_view symlink_target, Opening* opening = nullptr);
  Result<Path> CreateAt(const Context& context, const Location& location, mode_t mode, dev_t device,
                        std::string_view symlink_target);
  Result<void> LinkTo(const Context& context, const Path& source, const Location& new_location);
  // remove.cc, rename.cc
  Result<void> CheckDelete(const Context& context, const Dentry& directory, const Dentry& victim,
                           bool directory_wanted);
  Result<void> CheckNoMountOn(const Context& context, const Dentry& dentry);
  Result<Ref<Dentry>> LookupIn(const Context& context, const Ref<Dentry>& directory, std::string_view name);
  Result<void> AdoptWhiteout(const Context& context, const Ref<Dentry>& directory, std::string_view name);
  // vfs.cc
  Ref<Dentry> FindDentry(int fd, const Ref<Inode>& inode);
  Ref<Dentry> DentryFromHostPath(int fd, const Ref<Inode>& inode);
  Ref<Mount> HomeMount(FileSystem& file_system);
  Ref<Mount> MountFor(FileSystem& file_system, const MountNamespace* mounts, const Dentry& dentry);
  Ref<Mount> RestrictedMount(FileSystem& file_system, const MountNamespace* mounts, const Dentry& dentry);
  bool PrependPath(const Path& path, const Path& root, std::string& text);

  Protection protection_;
  std::function<bool(const Inode&)> runs_;
  DentryCache dentries_;
  std::unique_ptr<DeviceTable> devices_;
  std::unique_ptr<HandleTable> handles_;
  std::unique_ptr<FifoTable> fifos_;
  struct Registered {
    Ref<FileSystem> file_system;
    Ref<Dentry> root;
    bool was_mounted = false;
  };
  std::vector<Registered> file_systems_;
  std::function<bool(const FileSystem&)> is_open_;
  bool lingering_ = false;
  bool collecting_ = false;
  std::unordered_map<dev_t, std::vector<FileSystem*>> by_host_device_;
  std::vector<FileSystem*> for_any_device_;
  NameObserver* observer_ = nullptr;
  Ref<FileSystem> native_objects_;
  Ref<Mount> native_mount_;
};

}  // namespace usl::vfs
