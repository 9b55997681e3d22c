// What procfs asks of the kernel: all that the host's /proc does not know about guests. The kernel implements it
// (src/kernel depends on src/fs, not the other way); tests use FakeProcSource.
//
// Numbers are the host's, which are the guest's too, except that init is also seen as pid 1.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cred/credentials.h"
#include "vfs/path.h"
#include "vfs/vfs.h"

namespace usl::fs {

// A guest process (or one of its threads), as far as the kernel's records tell.
struct ProcProcess {
  // Distinguishes two processes that had the same number; never 0.
  uint64_t serial = 0;
  cred::CredentialsRef credentials;
  vfs::Path executable, cwd, root;
  mode_t umask = 022;
  bool dumpable = true;  // PR_SET_DUMPABLE, virtual
  // Between an accepted exec that gains rights (or of an unreadable image) and the loader's start: nobody may attach.
  bool exec_pending = false;
  int seccomp_mode = 0;  // the guest's own filters: SECCOMP_MODE_*
  unsigned seccomp_filters = 0;
  // Arguments that a script's interpreter line put in front, and how many native arguments they replace.
  std::vector<std::string> command_prefix;
  size_t command_drop = 0;
};

// A line of mountinfo, texts not escaped yet.
struct ProcMount {
  uint64_t id = 0, parent_id = 0;
  dev_t device = 0;
  std::string root;         // of the mount within its file system
  std::string mount_point;  // from the reader's root
  unsigned flags = 0;       // MS_*
  unsigned propagation = 0;
  uint32_t peer_group = 0, master_group = 0;  // 0 = none
  uint32_t propagate_from = 0;                // the nearest group above that is seen from the root; 0 = master_group is
  bool is_file_system_read_only = false;
  std::string type, source, options;
};

// How a file mapping or an open file of the host is shown to guests.
struct ProcFileName {
  std::string path;
  dev_t device = 0;
  ino_t inode = 0;
};

// What descriptor N of a process is. Exactly one of `path`, `object` is meaningful to follow; `text` is readlink's.
struct ProcDescriptor {
  std::string text;  // "/etc/passwd", "pipe:[123]", "socket:[7]", "anon_inode:[eventpoll]", "/memfd:x (deleted)"
  vfs::Path path;    // where the file has a place
  UniqueFd object;   // else the object itself, to be reopened through /proc/self/fd
};

enum class ProcNamespace { kCgroup, kIpc, kMount, kNet, kPid, kTime, kUser, kUts };
enum class SysvKind { kShm, kMessage, kSemaphore };

// Guarded by the kernel lock, as Vfs.
class ProcSource {
 public:
  virtual ~ProcSource() = default;

  // The instance's processes that live now (zombies count), ascending. Never one of the host.
  virtual std::vector<pid_t> Processes() = 0;
  // Is this number that of a living process (thread group) of the instance?
  virtual bool HasProcess(pid_t pid) = 0;
  // The host's number of the process that guests also call 1; 0 when there is none.
  virtual pid_t InitPid() = 0;
  // A process, or its thread `tid` (== pid for the leader). The record is checked to be that of the process which has
  // the number now (pidfd), not of a dead one; nullopt otherwise.
  virtual std::optional<ProcProcess> Find(pid_t pid, pid_t tid) = 0;

  // Limits that are not the host's: RLIMIT_CORE, RLIMIT_LOCKS (a token natively), raised ones.
  virtual std::optional<rlimit> VirtualLimit(pid_t pid, int resource) = 0;
  // A number as in /proc/PID/ns/*; the same for all members of the namespace.
  virtual uint64_t NamespaceId(pid_t pid, ProcNamespace kind) = 0;
  // The mounts that `pid` sees, with places below its root.
  virtual std::vector<ProcMount> Mounts(pid_t pid) = 0;
  // d_path of a place, seen from `root` (Vfs::PathText).
  virtual std::string PathText(const vfs::Path& path, const vfs::Path& root) = 0;
  // Descriptor `fd` in the table of thread `tid`, `text` as seen from the reader's root. EBADF when it is not open.
  virtual Result<ProcDescriptor> Descriptor(pid_t tid, int fd, const vfs::Path& reader_root) = 0;
  // The guest's name for a host file that is mapped: VolFs, DrvFs, tmpfs and synthetic files. nullopt: a native object,
  // shown as the host shows it (memfds of the guest, /dev/zero, SysV segments) when it starts with "/memfd:", "/SYSV",
  // "/dev/zero", "/dev/shm" or '[', without a name otherwise.
  virtual std::optional<ProcFileName> MappedFile(pid_t pid, dev_t device, ino_t inode, std::string_view host_path) = 0;
  // The auxiliary vector that the guest's loader gave, or empty: it is then looked for on the guest's stack.
  virtual std::string AuxiliaryVector(pid_t) { return {}; }
  // Where the pico page is mapped in guests, [base, base + size).
  virtual uint64_t PicoBase() = 0;

  // uname(2) of a process's UTS namespace; `release` is the kernel release that guests see.
  struct Uts {
    std::string host_name, domain_name, release, version;
  };
  virtual Uts UtsNames(pid_t pid) = 0;
  // EPERM without CAP_SYS_ADMIN (checked by procfs before).
  virtual Result<void> SetHostName(pid_t pid, std::string_view name) = 0;
  virtual Result<void> SetDomainName(pid_t pid, std::string_view name) = 0;

  // fs.protected_*, to be read and changed; null: there are none.
  virtual vfs::Protection* FileProtection() { return nullptr; }
  // False with `--network none`: no interface is shown.
  virtual bool HasNetwork() = 0;
  // The lines of /proc/filesystems; empty: those that USL always has.
  virtual std::string FileSystems() { return {}; }
  // Lines of /proc/sysvipc/* without the header.
  virtual std::vector<std::string> SysvObjects(SysvKind) { return {}; }
  // The texts of /proc/keys, as far as `reader` may view them, and of /proc/key-users.
  virtual std::string Keys(const vfs::Context&) { return {}; }
  virtual std::string KeyUsers() { return {}; }
  // /proc/kmsg: a descriptor from which each read takes a line of the instance's kernel log. `flags` as open(2)'s.
  virtual Result<UniqueFd> OpenKernelLog(int) { return Fail(ENOENT); }
  // The sockets that the instance's processes hold, by inode number, with the user of one of them: whatever else the
  // host's tables of sockets list is none of the guest's business.
  virtual std::map<ino_t, uid_t> Sockets() { return {}; }
  // The guest's name of an AF_UNIX socket by the host's: a path, or an abstract name with '@' in front; empty for none.
  virtual std::string UnixSocketName(std::string_view) { return {}; }

  // A value of /proc/sys that the kernel itself keeps; `path` as "kernel/ctrl-alt-del". nullopt: procfs has it.
  virtual std::optional<std::string> SysctlValue(std::string_view) { return std::nullopt; }
  // A guest with the right to do so wrote `value` (without its newline).
  virtual void SysctlWritten(std::string_view, std::string_view) {}
};

// One mount; `mount_point` is empty when it is not below `root`.
ProcMount DescribeMount(vfs::Vfs& vfs, vfs::Mount& mount, const vfs::Path& root);
// The mounts of a namespace as procfs shows them from `root`; the kernel's ProcSource::Mounts uses it.
std::vector<ProcMount> ListMounts(vfs::Vfs& vfs, const vfs::MountNamespace& mounts, const vfs::Path& root);

}  // namespace usl::fs
