// The shim: answers calls that name files from what the kernel published (protocol/fast_path.h). It runs in the guest,
// in place of a system call, on the caller's stack. Whatever is not plainly in the table goes to the kernel: a wrong
// guess costs a few nanoseconds, a wrong answer would be a bug that nobody sees.
//
// Forbidden: libc, SSE, data of its own, calls that change anything.
#include <asm/unistd_64.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "platform/loader/image/freestanding.h"
#include "protocol/fast_path.h"

namespace usl::platform::shim {
namespace {

using loader::CopyUp;
using loader::Syscall;
using protocol::FastControl;
using protocol::FastKind;
using protocol::FastSlot;
using protocol::FastTable;

struct Answer {
  int64_t value;
  uint64_t known;
};
constexpr Answer kUnknown{0, 0};
constexpr Answer Known(int64_t value) {
  return {value, 1};
}

// The call's arguments in their order.
using Arguments = const uint64_t*;

extern "C" __attribute__((visibility("hidden"))) const char usl_shim_start[];

const FastControl& Control() {
  return *reinterpret_cast<const FastControl*>(usl_shim_start - protocol::kFastAreaSize);
}
const FastTable& Table() {
  return *reinterpret_cast<const FastTable*>(usl_shim_start + protocol::kFastCodeSize);
}

// A pointer that the kernel would answer with EFAULT must not end the program here. rt_sigprocmask reads its new mask
// before it finds that `how` means nothing, and writes the old one: the cheapest native calls that try memory.
constexpr uint64_t kBadHow = 0x7fff;
constexpr uint64_t kMaskSize = 8;

bool InUserSpace(uint64_t address) {
  return address >= 0x10000 && address < uint64_t{1} << 47;
}

bool IsReadable(uint64_t address) {
  return InUserSpace(address) &&
         Syscall(__NR_rt_sigprocmask, kBadHow, address & ~(kMaskSize - 1), 0, kMaskSize) == -EINVAL;
}

bool IsWritable(uint64_t address, uint64_t size) {
  if (!InUserSpace(address) || !InUserSpace(address + size)) return false;
  // What lies a little above this frame is the callers' stack.
  const uint64_t here = reinterpret_cast<uint64_t>(__builtin_frame_address(0));
  if (address > here && address + size < here + loader::kPage) return true;
  return Syscall(__NR_rt_sigprocmask, 0, 0, address, kMaskSize) == 0 &&
         Syscall(__NR_rt_sigprocmask, 0, 0, address + size - kMaskSize, kMaskSize) == 0;
}

bool IsSame(const char* a, const char* b, uint64_t size) {
  for (uint64_t i = 0; i < size; ++i) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

uint32_t Load(const uint32_t& word) {
  return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}

// A slot that was found, and that is still the same when Holds() says so after it was read.
struct Found {
  const FastSlot* slot = nullptr;
  uint32_t sequence = 0;
  bool Holds() const {
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return Load(slot->sequence) == sequence && slot->generation == Load(Table().generation);
  }
};

// The slot of the guest's path for calls that follow links or stay, or none.
Found Find(uint64_t path_address, uint8_t calls) {
  const FastControl& control = Control();
  if (!control.enabled || !IsReadable(path_address)) return {};
  const char* path = reinterpret_cast<const char*>(path_address);
  const uint32_t context = path[0] == '/' ? control.root_context : control.cwd_context;
  if (context == 0) return {};
  uint64_t hash = protocol::FastHashStart(context);
  uint64_t length = 0;
  for (; path[length] != '\0'; ++length) {
    if (length == protocol::kFastTextSize) return {};
    const uint64_t next = path_address + length + 1;
    if (next % loader::kPage == 0 && !IsReadable(next)) return {};
    hash = protocol::FastHashStep(hash, static_cast<unsigned char>(path[length]));
  }
  if (length == 0) return {};
  const uint32_t generation = Load(Table().generation);
  for (uint32_t way = 0; way < protocol::kFastWays; ++way) {
    const FastSlot& slot = Table().slots[protocol::FastIndex(hash) + way];
    Found found{&slot, Load(slot.sequence)};
    if ((found.sequence & 1) || slot.generation != generation || slot.hash != hash || slot.context != context ||
        slot.path_length != length || !(slot.calls & calls) || slot.kind == FastKind::kNone ||
        !IsSame(slot.text, path, length)) {
      continue;
    }
    return found;
  }
  return {};
}

Answer Missing(const Found& found) {
  return found.Holds() ? Known(-ENOENT) : kUnknown;
}

void SetTime(struct timespec& to, const statx_timestamp& from) {
  to.tv_sec = from.tv_sec;
  to.tv_nsec = from.tv_nsec;
}

uint64_t MakeDevice(uint64_t major, uint64_t minor) {
  return (minor & 0xff) | (major & 0xfff) << 8 | (minor & ~uint64_t{0xff}) << 12 | (major & ~uint64_t{0xfff}) << 32;
}

void Convert(const struct statx& from, struct stat& to) {
  loader::Zero(&to, sizeof to);
  to.st_dev = MakeDevice(from.stx_dev_major, from.stx_dev_minor);
  to.st_ino = from.stx_ino;
  to.st_nlink = from.stx_nlink;
  to.st_mode = from.stx_mode;
  to.st_uid = from.stx_uid;
  to.st_gid = from.stx_gid;
  to.st_rdev = MakeDevice(from.stx_rdev_major, from.stx_rdev_minor);
  to.st_size = static_cast<off_t>(from.stx_size);
  to.st_blksize = from.stx_blksize;
  to.st_blocks = static_cast<blkcnt_t>(from.stx_blocks);
  SetTime(to.st_atim, from.stx_atime);
  SetTime(to.st_mtim, from.stx_mtime);
  SetTime(to.st_ctim, from.stx_ctime);
}

Answer Stat(uint64_t path, uint64_t result, uint8_t calls) {
  const Found found = Find(path, calls);
  if (!found.slot) return kUnknown;
  if (found.slot->kind == FastKind::kMissing) return Missing(found);
  if (!IsWritable(result, sizeof(struct stat))) return kUnknown;
  Convert(found.slot->status, *reinterpret_cast<struct stat*>(result));
  return found.Holds() ? Known(0) : kUnknown;
}

// Only the mask that the kernel, too, answers in full is answered here; newer bits change what it says.
Answer Statx(uint64_t path, uint64_t mask, uint64_t result, uint8_t calls) {
  if (mask & ~uint64_t{STATX_ALL | STATX_MNT_ID}) return kUnknown;
  const Found found = Find(path, calls);
  if (!found.slot) return kUnknown;
  if (found.slot->kind == FastKind::kMissing) return Missing(found);
  if (!IsWritable(result, sizeof(struct statx))) return kUnknown;
  CopyUp(reinterpret_cast<void*>(result), &found.slot->status, sizeof(struct statx));
  return found.Holds() ? Known(0) : kUnknown;
}

// Permission depends on who asks, existence does not.
Answer Access(uint64_t path, uint64_t mode, uint8_t calls) {
  if (mode & ~uint64_t{7}) return kUnknown;
  const Found found = Find(path, calls);
  if (!found.slot) return kUnknown;
  if (found.slot->kind == FastKind::kMissing) return Missing(found);
  return mode == 0 && found.Holds() ? Known(0) : kUnknown;
}

Answer Open(uint64_t path, uint64_t flags) {
  if (flags & (O_CREAT | O_TMPFILE)) return kUnknown;
  const Found found = Find(path, (flags & O_NOFOLLOW) ? protocol::kFastStays : protocol::kFastFollows);
  return found.slot && found.slot->kind == FastKind::kMissing ? Missing(found) : kUnknown;
}

Answer ReadLink(uint64_t path, uint64_t buffer, uint64_t size) {
  const int wanted = static_cast<int>(size);
  if (wanted <= 0) return kUnknown;
  const Found found = Find(path, protocol::kFastStays);
  if (!found.slot) return kUnknown;
  const FastSlot& slot = *found.slot;
  if (slot.kind == FastKind::kMissing) return Missing(found);
  if (!S_ISLNK(slot.status.stx_mode)) return found.Holds() ? Known(-EINVAL) : kUnknown;
  const uint64_t length = slot.target_length < wanted ? slot.target_length : static_cast<uint64_t>(wanted);
  if (!slot.has_target || length < kMaskSize || slot.path_length + length > protocol::kFastTextSize ||
      !IsWritable(buffer, length)) {
    return kUnknown;
  }
  CopyUp(reinterpret_cast<void*>(buffer), slot.text + slot.path_length, length);
  return found.Holds() ? Known(static_cast<int64_t>(length)) : kUnknown;
}

// Attributes of files that have none at all: those whose reading needs no permission on the file.
Answer GetXattr(uint64_t path, uint64_t name_address, uint8_t calls) {
  constexpr char kSecurity[] = "security.";
  constexpr char kAcl[] = "system.posix_acl_access";
  // Names are short and lie within the page of their start as a rule.
  if (name_address % loader::kPage + sizeof kAcl > loader::kPage || !IsReadable(name_address)) return kUnknown;
  const char* name = reinterpret_cast<const char*>(name_address);
  const bool security = IsSame(name, kSecurity, sizeof kSecurity - 1) && name[sizeof kSecurity - 1] != '\0';
  if (!security && !IsSame(name, kAcl, sizeof kAcl)) return kUnknown;
  if (security) {
    uint64_t length = 0;
    for (; name[length] != '\0'; ++length) {
      if (length == 200 || (name_address + length + 1) % loader::kPage == 0) return kUnknown;
    }
  }
  const Found found = Find(path, calls);
  if (!found.slot) return kUnknown;
  if (found.slot->kind == FastKind::kMissing) return Missing(found);
  if (!found.slot->no_xattrs || (!security && S_ISLNK(found.slot->status.stx_mode))) return kUnknown;
  return found.Holds() ? Known(-ENODATA) : kUnknown;
}

bool IsCwd(uint64_t dirfd) {
  return static_cast<int>(dirfd) == AT_FDCWD;
}

uint8_t Calls(uint64_t at_flags) {
  return (at_flags & AT_SYMLINK_NOFOLLOW) ? protocol::kFastStays : protocol::kFastFollows;
}

// Relative to a directory's descriptor nothing is known: the number may mean another one now. An absolute path does not
// care.
bool StartsAtCwdOrRoot(uint64_t dirfd, uint64_t path) {
  return IsCwd(dirfd) || (IsReadable(path) && *reinterpret_cast<const char*>(path) == '/');
}

Answer AnswerAt(uint64_t number, Arguments a) {
  if (!StartsAtCwdOrRoot(a[0], a[1])) return kUnknown;
  switch (number) {
    case __NR_newfstatat:
      if (static_cast<uint32_t>(a[3]) & ~uint32_t{AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT}) return kUnknown;
      return Stat(a[1], a[2], Calls(a[3]));
    case __NR_statx:
      if (static_cast<uint32_t>(a[2]) & ~uint32_t{AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT}) return kUnknown;
      return Statx(a[1], static_cast<uint32_t>(a[3]), a[4], Calls(a[2]));
    case __NR_faccessat: return Access(a[1], static_cast<uint32_t>(a[2]), protocol::kFastFollows);
    case __NR_faccessat2:
      if (static_cast<uint32_t>(a[3]) & ~uint32_t{AT_SYMLINK_NOFOLLOW | AT_EACCESS}) return kUnknown;
      return Access(a[1], static_cast<uint32_t>(a[2]), Calls(a[3]));
    case __NR_openat: return Open(a[1], a[2]);
    case __NR_readlinkat: return ReadLink(a[1], a[2], a[3]);
    default: return kUnknown;
  }
}

}  // namespace

extern "C" __attribute__((visibility("hidden"), used)) Answer UslShimAnswer(uint64_t number, Arguments a) {
  switch (number) {
    case __NR_stat: return Stat(a[0], a[1], protocol::kFastFollows);
    case __NR_lstat: return Stat(a[0], a[1], protocol::kFastStays);
    case __NR_access: return Access(a[0], static_cast<uint32_t>(a[1]), protocol::kFastFollows);
    case __NR_open: return Open(a[0], a[1]);
    case __NR_readlink: return ReadLink(a[0], a[1], a[2]);
    case __NR_getxattr: return GetXattr(a[0], a[1], protocol::kFastFollows);
    case __NR_lgetxattr: return GetXattr(a[0], a[1], protocol::kFastStays);
    default: return AnswerAt(number, a);
  }
}

}  // namespace usl::platform::shim
