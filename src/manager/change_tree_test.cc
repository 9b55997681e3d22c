#include "manager/change_tree.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace usl::manager {
namespace {

namespace fs = std::filesystem;

class ChangeTreeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/usl-tree-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    data_ = name;
    setenv("XDG_DATA_HOME", name, 1);
  }
  void TearDown() override {
    unsetenv("XDG_DATA_HOME");
    fs::remove_all(data_);
  }
  fs::path data_;
  std::string why_;
};

TEST_F(ChangeTreeTest, ATemporaryOneGoesWithItsContent) {
  std::string path;
  {
    auto tree = ChangeTree::MakeTemporary(&why_);
    ASSERT_TRUE(tree) << why_;
    path = tree->path();
    fs::create_directories(path + "/upper/a/b");
    std::ofstream(path + "/upper/a/b/file") << "x";
    fs::create_symlink("/etc", path + "/upper/link");
    chmod((path + "/upper/a").c_str(), 0);
    ASSERT_TRUE(fs::exists(path));
  }
  EXPECT_FALSE(fs::exists(path));
  EXPECT_TRUE(fs::exists("/etc/passwd"));
}

TEST_F(ChangeTreeTest, AForkedChildDoesNotRemoveIt) {
  auto tree = ChangeTree::MakeTemporary(&why_);
  ASSERT_TRUE(tree);
  EXPECT_EXIT((tree->Remove(), _exit(0)), ::testing::ExitedWithCode(0), "");
  EXPECT_TRUE(fs::exists(tree->path()));
}

TEST_F(ChangeTreeTest, AKeptOneStaysAndIsUsedByOneAtATime) {
  {
    auto tree = ChangeTree::OpenKept("work", &why_);
    ASSERT_TRUE(tree) << why_;
    std::ofstream(tree->UpperPath() + "/file") << "x";
    std::string why;
    auto second = ChangeTree::OpenKept("work", &why);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code(), EBUSY);
    EXPECT_NE(why.find("used by another instance"), why.npos);
  }
  EXPECT_TRUE(fs::exists(data_ / "usl/kept/work/upper/file"));
}

TEST_F(ChangeTreeTest, SweepsWhatTheDeadLeftAndSparesTheLiving) {
  auto living = ChangeTree::MakeTemporary(&why_);
  ASSERT_TRUE(living);
  fs::create_directories(data_ / "usl/running/999999999/upper/x");
  std::ofstream(data_ / "usl/running/999999999/lock") << "";
  EXPECT_EXIT(
      {
        auto next = ChangeTree::MakeTemporary(&why_);
        _exit(next && !fs::exists(data_ / "usl/running/999999999") && fs::exists(living->path()) ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST_F(ChangeTreeTest, SaysWhereItCannotWrite) {
  setenv("XDG_DATA_HOME", "/proc", 1);
  EXPECT_FALSE(ChangeTree::MakeTemporary(&why_));
  EXPECT_NE(why_.find("XDG_DATA_HOME"), why_.npos);
}

TEST_F(ChangeTreeTest, RemovesDeepDirectories) {
  ASSERT_EQ(mkdir((data_ / "deep").c_str(), 0700), 0);
  UniqueFd at(open((data_ / "deep").c_str(), O_RDONLY | O_DIRECTORY));
  for (int i = 0; i < 300; ++i) {
    ASSERT_EQ(mkdirat(at.get(), "d", 0700), 0);
    at.Reset(openat(at.get(), "d", O_RDONLY | O_DIRECTORY));
  }
  RemoveTree(AT_FDCWD, (data_ / "deep").c_str());
  EXPECT_FALSE(fs::exists(data_ / "deep"));
}

}  // namespace
}  // namespace usl::manager
