#include "fs/cgroupfs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fs/fake_proc_source.h"
#include "fs/synthetic_test_util.h"

namespace usl::fs {
namespace {

TEST(CgroupFs, ShowsTheInstanceAsOneGroup) {
  SyntheticInstance instance;
  FakeProcSource source;
  const auto cgroup = CgroupFs::Create(source, instance);
  const TestContext context;
  const auto read = [&](std::string_view path) {
    auto fd = cgroup->WalkPath(path)->Open(O_RDONLY, context.get());
    return fd ? ReadFd(fd->get()) : "errno " + std::to_string(fd.error().code());
  };
  EXPECT_EQ(read("/cgroup.procs"), std::to_string(getpid()) + "\n");
  EXPECT_EQ(read("/memory.max"), "max\n");
  EXPECT_EQ(read("/pids.current"), "1\n");
  EXPECT_GT(std::stoull(read("/memory.current")), 0u);
  EXPECT_EQ(cgroup->WalkPath("/memory.max")->Open(O_WRONLY, context.get()).error().code(), EACCES);
  EXPECT_FALSE(cgroup->WalkPath("/other"));
}

}  // namespace
}  // namespace usl::fs
