// The flags argument of mount(2): which of its bits belong to the mount, and how they default. Pure.
#pragma once

#include <sys/mount.h>

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

}  // namespace usl::syscalls
