#include "platform/placement.h"

#include <sched.h>

#include <atomic>
#include <thread>

#include "gtest/gtest.h"
#include "platform/test_guest.h"

namespace usl::platform {
namespace {

using testing::SmallFilter;
using testing::TestGuest;

CpuMask MaskOf(pid_t tid) {
  CpuMask mask{};
  syscall(SYS_sched_getaffinity, tid, sizeof mask, mask.data());
  return mask;
}

TEST(PlacementTest, TheGuestNeverSeesTheBorrowedMask) {
  constexpr int kRounds = 3000;  // enough for many placed calls, as the way that looks worse is tried too
  TestGuest guest(SmallFilter({SYS_open}), [] {
    const CpuMask mine = MaskOf(0);
    for (int i = 0; i < kRounds; ++i) {
      long fd = syscall(SYS_open, "x", O_RDONLY);
      if (fd < 0) return 1;
      if (MaskOf(0) != mine) return 2;
      close(static_cast<int>(fd));
    }
    return 0;
  });
  UniqueFd file(open("/dev/null", O_RDONLY | O_CLOEXEC));
  Listener& listener = guest.listener();
  const CpuMask before = MaskOf(guest.pid());
  // Somebody who asks by tid is served through the placement, and sees nothing either.
  std::atomic<bool> done = false;
  std::atomic<int> wrong = 0;
  std::thread asker([&] {
    while (!done) {
      CpuMask seen{};
      auto size = listener.placement().GetAffinity(guest.pid(), std::as_writable_bytes(std::span(seen)));
      if (size && seen != before) ++wrong;
    }
  });
  for (int i = 0; i < kRounds; ++i) {
    auto call = listener.Receive();
    ASSERT_TRUE(call);
    ASSERT_TRUE(listener.AddFdAndRespond(*call, file.get(), true));
  }
  done = true;
  asker.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(guest.Wait(), 0);
}

TEST(PlacementTest, LeavesTasksAloneThatChoseTheirCpu) {
  CpuMask all = MaskOf(0);
  TestGuest guest(SmallFilter({SYS_open}), [] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
    const CpuMask mine = MaskOf(0);
    for (int i = 0; i < 300; ++i) close(static_cast<int>(syscall(SYS_open, "x", O_RDONLY)));
    return MaskOf(0) == mine ? 0 : 1;
  });
  UniqueFd file(open("/dev/null", O_RDONLY | O_CLOEXEC));
  for (int i = 0; i < 300; ++i) {
    auto call = guest.listener().Receive();
    ASSERT_TRUE(call);
    ASSERT_TRUE(guest.listener().AddFdAndRespond(*call, file.get(), true));
  }
  EXPECT_EQ(guest.Wait(), 0);
  EXPECT_EQ(MaskOf(0), all) << "the receiver's own mask stays";
}

TEST(PlacementTest, PassesErrorsOn) {
  Placement placement;
  for (int i = 0; i < 200; ++i) {
    auto result = placement.Run(getpid(), []() -> Result<int> { return Fail(EMFILE); });
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), EMFILE);
  }
  EXPECT_EQ(placement.Run(0x3fffffff, []() -> Result<int> { return 7; }).value(), 7);
  CpuMask mask{};
  EXPECT_FALSE(placement.GetAffinity(0x3fffffff, std::as_writable_bytes(std::span(mask))));
  EXPECT_FALSE(placement.SetAffinity(0, std::as_bytes(std::span(mask)))) << "no CPU at all";
}

}  // namespace
}  // namespace usl::platform
