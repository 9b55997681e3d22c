#include "manager/rootfs_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace usl::manager {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class RootfsCheckTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/usl-root-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    root_ = name;
  }
  void TearDown() override { fs::remove_all(root_); }
  void WriteShell(int machine) {
    std::string header(64, '\0');
    header.replace(0, 7,
                   "\x7f"
                   "ELF\x02\x01\x01");
    header[18] = static_cast<char>(machine);
    fs::create_directories(root_ / "usr/bin");
    std::ofstream(root_ / "usr/bin/dash") << header;
    fs::create_symlink("/usr/bin", root_ / "bin");
    fs::create_symlink("dash", root_ / "usr/bin/sh");
  }
  fs::path root_;
};

TEST_F(RootfsCheckTest, TakesATreeOfThisMachine) {
  WriteShell(62);
  EXPECT_EQ(ExplainBadRootfs(root_), "");
}

TEST_F(RootfsCheckTest, ATreeWithOneProgramIsEnough) {
  std::ofstream(root_ / "server") << "x";
  EXPECT_EQ(ExplainBadRootfs(root_), "");
}

TEST_F(RootfsCheckTest, SaysWhatIsWrong) {
  EXPECT_THAT(ExplainBadRootfs(root_), HasSubstr("is empty"));
  EXPECT_THAT(ExplainBadRootfs(root_ / "none"), HasSubstr("does not exist"));
  EXPECT_THAT(ExplainBadRootfs("/etc/passwd"), HasSubstr("not a directory"));
  if (geteuid() != 0) {  // root may write everywhere
    EXPECT_THAT(ExplainBadRootfs("/usr"), HasSubstr("not writable"));
  }
}

TEST_F(RootfsCheckTest, FollowsSymlinksWithinTheTreeToTheArchitecture) {
  WriteShell(183);
  EXPECT_THAT(ExplainBadRootfs(root_), HasSubstr("programs for arm64"));
}

}  // namespace
}  // namespace usl::manager
