#include "fs/sysfs.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/synthetic_test_util.h"

namespace usl::fs {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;

class SysFsTest : public ::testing::Test {
 protected:
  std::string Read(SysFs& sys, std::string_view path) {
    const Ref<vfs::Inode> inode = sys.WalkPath(path);
    if (!inode) return "absent";
    auto fd = inode->Open(O_RDONLY, context_.get());
    return fd ? ReadFd(fd->get()) : "errno " + std::to_string(fd.error().code());
  }
  SyntheticInstance instance_;
  TestContext context_;
};

TEST_F(SysFsTest, ShowsTheProcessorsOfTheHost) {
  const auto sys = SysFs::Create(instance_, true);
  EXPECT_EQ(Read(*sys, "/devices/system/cpu/online"), *ReadHostFile(AT_FDCWD, "/sys/devices/system/cpu/online"));
  EXPECT_EQ(Read(*sys, "/devices/system/cpu/cpu0/topology/core_id"),
            ReadHostFile(AT_FDCWD, "/sys/devices/system/cpu/cpu0/topology/core_id").value_or("absent"));
  const auto names = ListNames(*sys->WalkPath("/devices/system/cpu"));
  EXPECT_THAT(names, Contains("cpu0"));
  EXPECT_THAT(names, Not(Contains("uevent")));
  EXPECT_EQ(sys->WalkPath("/devices/system/cpu/online")->Open(O_WRONLY, context_.get()).error().code(), EACCES);
}

TEST_F(SysFsTest, KeepsTheRestOfTheHostOut) {
  const auto sys = SysFs::Create(instance_, true);
  EXPECT_FALSE(IsSysPathVisible("/sys/devices/system/cpufreq2"));
  EXPECT_FALSE(IsSysPathVisible("/sys/firmware/efi"));
  EXPECT_FALSE(IsSysPathVisible("/sys/devices/system/cpu/uevent"));
  EXPECT_TRUE(IsSysPathVisible("/sys/devices/system/cpu/cpu0"));
  for (const char* path : {"/devices/pci0000:00", "/kernel/notes", "/module/kernel"}) {
    EXPECT_EQ(Read(*sys, path), "absent") << path;
  }
  EXPECT_THAT(ListNames(*sys->WalkPath("/block")), ElementsAre(".", ".."));
}

TEST_F(SysFsTest, InterfacesFollowTheNetwork) {
  const auto with = SysFs::Create(instance_, true);
  const auto without = SysFs::Create(instance_, false);
  EXPECT_THAT(ListNames(*without->WalkPath("/class/net")), ElementsAre(".", ".."));
  EXPECT_EQ(Read(*without, "/devices/virtual/net/lo/mtu"), "absent");
  struct stat status;
  if (stat("/sys/class/net/lo", &status) != 0) GTEST_SKIP() << "the host has no lo";
  EXPECT_THAT(ListNames(*with->WalkPath("/class/net")), Contains("lo"));
  EXPECT_EQ(*with->WalkPath("/class/net/lo")->ReadLink(context_.get()), "../../devices/virtual/net/lo");
  EXPECT_EQ(Read(*with, "/devices/virtual/net/lo/mtu"), *ReadHostFile(AT_FDCWD, "/sys/class/net/lo/mtu"));
}

TEST_F(SysFsTest, DonatedFilesAreRecognised) {
  const auto sys = SysFs::Create(instance_, true);
  const Ref<vfs::Inode> inode = sys->WalkPath("/devices/system/cpu/online");
  const UniqueFd fd = *inode->Open(O_RDONLY, context_.get());
  struct stat status;
  ASSERT_EQ(fstat(fd.get(), &status), 0);
  EXPECT_EQ(sys->FindByHostFile(fd.get(), status), inode);
}

}  // namespace
}  // namespace usl::fs
