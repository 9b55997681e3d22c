#include "platform/runtime_dir.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "gtest/gtest.h"
#include "platform/loader/embedded.h"

namespace usl::platform {
namespace {

class RuntimeDirTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/usl-runtime-test-XXXXXX";
    base_ = mkdtemp(name);
  }
  void TearDown() override { std::filesystem::remove_all(base_); }
  std::string base_;
};

mode_t ModeOf(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(lstat(path.c_str(), &info), 0) << path;
  return info.st_mode & 07777;
}

TEST_F(RuntimeDirTest, HoldsTheLoaderAndAnEmptyDirectory) {
  std::string path;
  {
    auto dir =
        RuntimeDir::Create({.instance_name = "a/../b", .pico_base = 0x20000, .candidates = {base_ + "/run"}}, nullptr);
    ASSERT_TRUE(dir);
    path = dir->path();
    EXPECT_EQ(path, base_ + "/run/a_.._b-" + std::to_string(getpid()));
    EXPECT_EQ(ModeOf(path), 0700u);
    EXPECT_EQ(dir->LoaderPath(), path + "/loader-20000");
    EXPECT_EQ(ModeOf(dir->LoaderPath()), 0500u);
    EXPECT_EQ(std::filesystem::file_size(dir->LoaderPath()), loader::LoaderImage().size());
    EXPECT_TRUE(std::filesystem::is_empty(dir->EmptyPath()));
    EXPECT_TRUE(dir->loader_is_file());
    // Another instance of the same process, and things that somebody else puts there.
    auto second = RuntimeDir::Create({.instance_name = "a/../b", .candidates = {base_ + "/run"}}, nullptr);
    ASSERT_TRUE(second);
    EXPECT_NE(second->path(), path);
    mkdirat(dir->fd(), "more", 0700);
    close(openat(dir->fd(), "more/file", O_CREAT | O_WRONLY, 0600));
  }
  EXPECT_TRUE(std::filesystem::is_empty(base_ + "/run")) << "removed at the end";
}

TEST_F(RuntimeDirTest, AForkedChildDoesNotRemoveIt) {
  auto dir = RuntimeDir::Create({.candidates = {base_ + "/run"}}, nullptr);
  ASSERT_TRUE(dir);
  pid_t child = fork();
  if (child == 0) {
    { RuntimeDir mine(std::move(*dir)); }
    _exit(0);
  }
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(std::filesystem::exists(dir->LoaderPath()));
}

TEST_F(RuntimeDirTest, RefusesDirectoriesThatOthersCanWrite) {
  std::filesystem::create_directory(base_ + "/open");
  chmod((base_ + "/open").c_str(), 0777);
  std::filesystem::create_directory_symlink(base_, base_ + "/link");
  std::string why;
  auto dir = RuntimeDir::Create({.candidates = {base_ + "/open", base_ + "/link"}}, &why);
  ASSERT_FALSE(dir);
  EXPECT_NE(why.find(base_ + "/open"), std::string::npos) << why;
  // With a usable one behind them that is taken.
  auto usable = RuntimeDir::Create({.candidates = {base_ + "/open", base_ + "/run"}}, nullptr);
  ASSERT_TRUE(usable);
  EXPECT_EQ(usable->path().find(base_ + "/run/"), 0u);
}

TEST_F(RuntimeDirTest, RunsTheLoaderFromMemoryWhereAllIsNoexec) {
  std::filesystem::create_directory(base_ + "/noexec");
  if (mount("none", (base_ + "/noexec").c_str(), "tmpfs", MS_NOEXEC | MS_NOSUID | MS_NODEV, "mode=0700") != 0) {
    GTEST_SKIP() << "mounting needs root";
  }
  {
    auto dir = RuntimeDir::Create({.candidates = {base_ + "/noexec"}}, nullptr);
    ASSERT_TRUE(dir);
    EXPECT_FALSE(dir->loader_is_file());
    EXPECT_EQ(access(dir->LoaderPath().c_str(), X_OK), 0);
    EXPECT_EQ(std::filesystem::file_size(dir->LoaderPath()), loader::LoaderImage().size());
    auto other = RuntimeDir::Create({.candidates = {base_ + "/noexec", base_ + "/run"}}, nullptr);
    ASSERT_TRUE(other);
    EXPECT_TRUE(other->loader_is_file()) << "a directory that allows exec is better";
  }
  umount2((base_ + "/noexec").c_str(), MNT_DETACH);
}

TEST_F(RuntimeDirTest, OtherUsersMayPassButNotList) {
  auto dir = RuntimeDir::Create({.for_other_user = true, .candidates = {base_ + "/run"}}, nullptr);
  ASSERT_TRUE(dir);
  EXPECT_EQ(ModeOf(dir->path()), 0711u);
  EXPECT_EQ(ModeOf(dir->LoaderPath()), 0555u);
}

}  // namespace
}  // namespace usl::platform
