// The flags argument of mount(2): which of its bits belong to the mount, and how they default. Pure.
#pragma once

#include <sys/mount.h>

#include <cstdint>

#include "base/result.h"

namespace usl::syscalls {

inline constexpr unsigned long kPropagationFlags = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;

// Old programs put a magic number into the upper half.
constexpr unsigned long StripMagic(unsigned long flags) {
  constexpr unsigned long kMagic = 0xC0ED0000, kMagicMask = 0xffff0000;
  return (flags & kMagicMask) == kMagic ? flags & ~kMagicMask : flags;
}

// The flags of a new mount: relatime unless something else is asked for.
unsigned NewMountFlags(unsigned long flags);
// The flags after MS_REMOUNT: those given, but the times' rule of before when none is given.
unsigned RemountFlags(unsigned long flags, unsigned before);
// The one propagation type that is asked for, or 0 when the combination is none (EINVAL).
unsigned PropagationType(unsigned long flags);

// MOUNT_ATTR_* of the newer calls to MS_* flags: EINVAL for unknown bits, and for no known rule of access times.
Result<unsigned> FlagsOfAttributes(uint64_t attributes);
// And back, as statmount(2) shows them.
uint64_t AttributesOfFlags(unsigned flags);

// What mount_setattr(2) changes.
struct MountChange {
  unsigned set = 0, clear = 0;  // MS_*
  unsigned propagation = 0;     // MS_SHARED and so on; 0 = as it is
  unsigned Apply(unsigned flags) const { return (flags & ~clear) | set; }
};
// EINVAL for what does not go together, and for id mappings, which need a user namespace.
Result<MountChange> CheckMountChange(const mount_attr& change);

}  // namespace usl::syscalls
