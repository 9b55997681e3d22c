#include "syscalls/copy.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include <cstring>

namespace usl::syscalls {
namespace {

TEST(DirentPacker, Packs64WithTypeInFrontOfTheName) {
  DirentPacker packer(DirentPacker::Layout::k64, 100);
  ASSERT_TRUE(packer.Add("a", 7, DT_REG, 1));
  ASSERT_TRUE(packer.Add("longer-name", 8, DT_DIR, 2));
  const auto& bytes = packer.bytes();
  ASSERT_EQ(bytes.size(), 24u + 32u);
  const auto* first = reinterpret_cast<const dirent64*>(bytes.data());
  EXPECT_EQ(first->d_ino, 7u);
  EXPECT_EQ(first->d_off, 1);
  EXPECT_EQ(first->d_reclen, 24);
  EXPECT_EQ(first->d_type, DT_REG);
  EXPECT_STREQ(first->d_name, "a");
  const auto* second = reinterpret_cast<const dirent64*>(bytes.data() + 24);
  EXPECT_EQ(second->d_type, DT_DIR);
  EXPECT_STREQ(second->d_name, "longer-name");
}

TEST(DirentPacker, PacksTheOldLayoutWithTypeInTheLastByte) {
  DirentPacker packer(DirentPacker::Layout::kOld, 24);
  ASSERT_TRUE(packer.Add("abcd", 7, DT_FIFO, 3));
  const auto& bytes = packer.bytes();
  ASSERT_EQ(bytes.size(), 24u);
  EXPECT_STREQ(reinterpret_cast<const char*>(bytes.data()) + 18, "abcd");
  EXPECT_EQ(bytes.back(), std::byte{DT_FIFO});
}

TEST(DirentPacker, StopsWhenFullAndTellsWhenNothingFits) {
  DirentPacker packer(DirentPacker::Layout::k64, 24);
  EXPECT_TRUE(packer.Add("a", 1, DT_REG, 1));
  EXPECT_FALSE(packer.Add("b", 2, DT_REG, 2));
  EXPECT_FALSE(packer.IsTooSmall());
  DirentPacker tiny(DirentPacker::Layout::k64, 23);
  EXPECT_FALSE(tiny.Add("a", 1, DT_REG, 1));
  EXPECT_TRUE(tiny.IsTooSmall());
  const DirentPacker empty(DirentPacker::Layout::k64, 0);
  EXPECT_FALSE(empty.IsTooSmall());
}

vfs::Attributes SomeAttributes() {
  vfs::Attributes attributes;
  attributes.ino = 5;
  attributes.mode = S_IFCHR | 0620;
  attributes.uid = 1000;
  attributes.gid = 5;
  attributes.size = 3;
  attributes.rdev = makedev(4, 64);
  attributes.mtime = {10, 20};
  return attributes;
}

TEST(MakeStat, CarriesEverything) {
  const struct stat status = MakeStat(SomeAttributes(), makedev(0, 40));
  EXPECT_EQ(status.st_ino, 5u);
  EXPECT_EQ(status.st_mode, static_cast<mode_t>(S_IFCHR | 0620));
  EXPECT_EQ(status.st_dev, makedev(0, 40));
  EXPECT_EQ(status.st_rdev, makedev(4, 64));
  EXPECT_EQ(status.st_mtim.tv_nsec, 20);
}

TEST(MakeStatx, MaskTellsWhatIsKnown) {
  vfs::Attributes attributes = SomeAttributes();
  struct statx status = MakeStatx(attributes, {.device = makedev(0, 40)}, STATX_ALL);
  EXPECT_EQ(status.stx_mask, STATX_BASIC_STATS);
  EXPECT_EQ(status.stx_rdev_major, 4u);
  EXPECT_EQ(status.stx_rdev_minor, 64u);
  EXPECT_EQ(status.stx_dev_minor, 40u);

  attributes.has_btime = true;
  attributes.btime = {99, 0};
  status = MakeStatx(attributes, {makedev(0, 40), 21, 1021, true}, 0);
  EXPECT_EQ(status.stx_mask, STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID);
  EXPECT_EQ(status.stx_btime.tv_sec, 99);
  EXPECT_EQ(status.stx_mnt_id, 21u);
  constexpr unsigned kUnique = 0x4000;  // STATX_MNT_ID_UNIQUE
  EXPECT_EQ(MakeStatx(attributes, {makedev(0, 40), 21, 1021, true}, kUnique).stx_mnt_id, 1021u);
  EXPECT_FALSE(MakeStatx(attributes, {makedev(0, 40), 21, 1021, true}, kUnique).stx_mask & STATX_MNT_ID);
  EXPECT_TRUE(status.stx_attributes & STATX_ATTR_MOUNT_ROOT);
  EXPECT_TRUE(status.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT);
}

TEST(DecodeDevice, TakesTheSplitMinor) {
  EXPECT_EQ(DecodeDevice(0x0103), makedev(1, 3));
  EXPECT_EQ(DecodeDevice(0x12300145), makedev(1, 0x12345));
}

TEST(JoinNames, EndsEachWithNul) {
  EXPECT_EQ(JoinNames({"a", "bc"}), std::string("a\0bc\0", 5));
  EXPECT_EQ(JoinNames({}), "");
}

}  // namespace
}  // namespace usl::syscalls
