#include "fs/tmpfs_options.h"

#include <gtest/gtest.h>

namespace usl::fs {
namespace {

TEST(TmpFsOptions, KnowsWhatProgramsGive) {
  const auto options = ParseTmpFsOptions("size=64m,nr_inodes=2k,mode=0750,uid=5,gid=6,huge=never");
  ASSERT_TRUE(options);
  EXPECT_EQ(options->size, 64u << 20);
  EXPECT_EQ(options->inodes, 2048u);
  EXPECT_EQ(options->mode, 0750u);
  EXPECT_EQ(options->uid, 5u);
  EXPECT_EQ(options->gid, 6u);
  EXPECT_EQ(ParseTmpFsOptions("nr_blocks=3")->size, 3u * 4096);
}

TEST(TmpFsOptions, NothingAndZeroAreTheDefaults) {
  EXPECT_TRUE(ParseTmpFsOptions(""));
  EXPECT_EQ(ParseTmpFsOptions("size=0")->size, std::nullopt);
  EXPECT_GT(ParseTmpFsOptions("size=50%")->size, 0u);
}

TEST(TmpFsOptions, RefusesTheRest) {
  for (const char* text :
       {"size=", "size=x", "size=1x", "size=200%", "size=99999999999999999999", "size=99999999999999t", "mode=9",
        "mode=17777", "uid=-1", "uid=4294967295", "unknown", "unknown=1", "size"}) {
    EXPECT_FALSE(ParseTmpFsOptions(text)) << text;
  }
}

}  // namespace
}  // namespace usl::fs
