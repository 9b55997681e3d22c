#include "syscalls/mount_flags.h"

#include <bit>

namespace usl::syscalls {
namespace {

constexpr unsigned long kNoSymlinkFollow = 256;  // MS_NOSYMFOLLOW, Linux 5.10
constexpr unsigned long kTimeFlags = MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME;
constexpr unsigned long kMountFlags =
    MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME | kNoSymlinkFollow;

}  // namespace

unsigned NewMountFlags(unsigned long flags) {
  if (!(flags & MS_NOATIME)) flags |= MS_RELATIME;
  if (flags & MS_STRICTATIME) flags &= ~static_cast<unsigned long>(MS_RELATIME | MS_NOATIME);
  return static_cast<unsigned>(flags & kMountFlags);
}

unsigned RemountFlags(unsigned long flags, unsigned before) {
  if (flags & kTimeFlags) return NewMountFlags(flags);
  return static_cast<unsigned>((flags & kMountFlags) | (before & kTimeFlags));
}

unsigned PropagationType(unsigned long flags) {
  // Linux allows nothing beside the type but MS_REC and MS_SILENT.
  if (flags & ~(kPropagationFlags | MS_REC | MS_SILENT)) return 0;
  const unsigned long type = flags & kPropagationFlags;
  return std::has_single_bit(type) ? static_cast<unsigned>(type) : 0;
}

}  // namespace usl::syscalls
