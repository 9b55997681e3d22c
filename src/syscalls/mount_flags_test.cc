#include "syscalls/mount_flags.h"

#include <gtest/gtest.h>

namespace usl::syscalls {
namespace {

TEST(MountFlags, TheOldMagicIsDropped) {
  EXPECT_EQ(StripMagic(0xC0ED0000 | MS_RDONLY), static_cast<unsigned long>(MS_RDONLY));
  EXPECT_EQ(StripMagic(MS_BIND | MS_REC), static_cast<unsigned long>(MS_BIND | MS_REC));
}

TEST(MountFlags, NewMountsAreRelatimeByDefault) {
  EXPECT_EQ(NewMountFlags(MS_NOSUID), static_cast<unsigned>(MS_NOSUID | MS_RELATIME));
  EXPECT_EQ(NewMountFlags(MS_NOATIME), static_cast<unsigned>(MS_NOATIME));
  EXPECT_EQ(NewMountFlags(MS_STRICTATIME), 0u);
  EXPECT_EQ(NewMountFlags(MS_SILENT | MS_REC | MS_RDONLY), static_cast<unsigned>(MS_RDONLY | MS_RELATIME));
}

TEST(MountFlags, RemountKeepsTheTimesRuleUnlessOneIsGiven) {
  EXPECT_EQ(RemountFlags(MS_REMOUNT | MS_RDONLY, MS_NOATIME | MS_NOSUID),
            static_cast<unsigned>(MS_RDONLY | MS_NOATIME));
  EXPECT_EQ(RemountFlags(MS_REMOUNT | MS_RELATIME, MS_NOATIME), static_cast<unsigned>(MS_RELATIME));
}

TEST(MountFlags, OnePropagationTypeAtATime) {
  EXPECT_EQ(PropagationType(MS_PRIVATE | MS_REC), static_cast<unsigned>(MS_PRIVATE));
  EXPECT_EQ(PropagationType(MS_PRIVATE | MS_SHARED), 0u);
  EXPECT_EQ(PropagationType(MS_PRIVATE | MS_RDONLY), 0u);
}

}  // namespace
}  // namespace usl::syscalls
