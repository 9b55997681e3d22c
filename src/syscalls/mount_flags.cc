#include "syscalls/mount_flags.h"

#include <bit>
#include <utility>

namespace usl::syscalls {
namespace {

constexpr unsigned kNoSymlinkFollow = 256;                // MS_NOSYMFOLLOW, Linux 5.10
constexpr uint64_t kAttributeNoSymlinkFollow = 0x200000;  // MOUNT_ATTR_NOSYMFOLLOW, Linux 5.14
constexpr unsigned long kTimeFlags = MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME;
constexpr unsigned long kMountFlags =
    MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME | kNoSymlinkFollow;

constexpr std::pair<uint64_t, unsigned> kAttributes[] = {
    {MOUNT_ATTR_RDONLY, MS_RDONLY},         {MOUNT_ATTR_NOSUID, MS_NOSUID},
    {MOUNT_ATTR_NODEV, MS_NODEV},           {MOUNT_ATTR_NOEXEC, MS_NOEXEC},
    {MOUNT_ATTR_NODIRATIME, MS_NODIRATIME}, {kAttributeNoSymlinkFollow, kNoSymlinkFollow},
};

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

Result<unsigned> FlagsOfAttributes(uint64_t attributes) {
  unsigned flags = 0;
  for (const auto& [attribute, flag] : kAttributes) {
    if (attributes & attribute) flags |= flag;
    attributes &= ~attribute;
  }
  switch (attributes) {
    case MOUNT_ATTR_RELATIME: return flags | MS_RELATIME;
    case MOUNT_ATTR_NOATIME: return flags | MS_NOATIME;
    case MOUNT_ATTR_STRICTATIME: return flags;
    default: return Fail(EINVAL);
  }
}

uint64_t AttributesOfFlags(unsigned flags) {
  uint64_t attributes = 0;
  for (const auto& [attribute, flag] : kAttributes) {
    if (flags & flag) attributes |= attribute;
  }
  if (flags & MS_NOATIME) return attributes | MOUNT_ATTR_NOATIME;
  return flags & MS_RELATIME ? attributes : attributes | MOUNT_ATTR_STRICTATIME;
}

Result<MountChange> CheckMountChange(const mount_attr& change) {
  MountChange result;
  if (change.propagation & ~kPropagationFlags) return Fail(EINVAL);
  if (change.propagation && !std::has_single_bit(change.propagation)) return Fail(EINVAL);
  result.propagation = static_cast<unsigned>(change.propagation);
  const uint64_t time = MOUNT_ATTR__ATIME;
  const uint64_t set_time = change.attr_set & time, clear_time = change.attr_clr & time;
  if (clear_time ? clear_time != time : set_time != 0) return Fail(EINVAL);
  if (clear_time) {
    result.clear = MS_NOATIME | MS_RELATIME;
    result.set = USL_TRY(FlagsOfAttributes(set_time));
  }
  constexpr unsigned kTimes = MS_NOATIME | MS_RELATIME;
  result.set |= USL_TRY(FlagsOfAttributes(change.attr_set & ~time)) & ~kTimes;
  result.clear |= USL_TRY(FlagsOfAttributes(change.attr_clr & ~time)) & ~kTimes;
  return result;
}

unsigned PropagationType(unsigned long flags) {
  // Linux allows nothing beside the type but MS_REC and MS_SILENT.
  if (flags & ~(kPropagationFlags | MS_REC | MS_SILENT)) return 0;
  const unsigned long type = flags & kPropagationFlags;
  return std::has_single_bit(type) ? static_cast<unsigned>(type) : 0;
}

}  // namespace usl::syscalls
