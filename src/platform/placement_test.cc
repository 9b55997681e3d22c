#include "platform/placement.h"

#include <sched.h>

#include <atomic>
#include <bit>
#include <functional>
#include <thread>

#include "gtest/gtest.h"
#include "platform/task_token.h"
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

// A guest that calls, and the receiver that serves it as the kernel does.
class PairTest : public ::testing::Test {
 protected:
  static constexpr int kCalls = 40;
  void SetUp() override {
    all_ = MaskOf(0);
    ASSERT_TRUE(WriteToken(guest_.pid(), 7));
    if (std::popcount(all_[0]) < 2) GTEST_SKIP() << "one processor: nothing to pair";
  }
  void TearDown() override {
    placement().Tick();
    placement().LeaveReceiver();
  }
  // Serves `count` calls; `before_answer` runs while the guest waits.
  void Serve(int count, const std::function<void(int)>& before_answer) {
    for (int i = 0; i < count; ++i) {
      auto call = guest_.listener().Receive();
      ASSERT_TRUE(call);
      needs_tick_ = guest_.listener().placement().OnCall(call->tid) || needs_tick_;
      before_answer(i);
      ASSERT_TRUE(guest_.listener().Respond(call->id, 0));
    }
  }
  bool IsPaired() const { return std::popcount(MaskOf(guest_.pid())[0]) == 1 && MaskOf(0) == MaskOf(guest_.pid()); }
  Placement& placement() { return guest_.listener().placement(); }

  CpuMask all_{};
  bool needs_tick_ = false;
  TestGuest guest_{SmallFilter({SYS_open}), [] {
                     for (int i = 0; i < kCalls; ++i) syscall(SYS_open, "x", O_RDONLY);
                     return 0;
                   }};
};

TEST_F(PairTest, CallsInARowMakeAPairUntilTheNextTick) {
  Serve(kCalls, [&](int i) {
    if (i == 0) {
      EXPECT_FALSE(IsPaired());
    } else if (i == 10) {
      EXPECT_TRUE(IsPaired());
      EXPECT_TRUE(needs_tick_);
      EXPECT_TRUE(placement().Tick());
      EXPECT_EQ(MaskOf(guest_.pid()), all_);
    } else if (i == 11) {
      EXPECT_EQ(MaskOf(0), all_) << "the receiver is free as well";
    } else if (i == 20) {
      EXPECT_TRUE(IsPaired());
      placement().Release(guest_.pid());  // a fork
      EXPECT_EQ(MaskOf(guest_.pid()), all_);
    } else if (i == 30) {
      EXPECT_TRUE(IsPaired());
      placement().LeaveReceiver();
      EXPECT_EQ(MaskOf(0), all_);
    }
  });
  placement().Tick();
  EXPECT_FALSE(placement().Tick()) << "nothing is left to do";
  EXPECT_EQ(guest_.Wait(), 0);
}

TEST_F(PairTest, WhoeverAsksSeesTheTasksOwnMask) {
  Serve(kCalls, [&](int i) {
    if (i != 20) return;
    EXPECT_TRUE(IsPaired());
    CpuMask seen{};
    ASSERT_TRUE(placement().GetAffinity(guest_.pid(), std::as_writable_bytes(std::span(seen))));
    EXPECT_EQ(seen, all_);
  });
  EXPECT_EQ(guest_.Wait(), 0);
}

TEST_F(PairTest, TasksThatCallInTurnsAreLeftAlone) {
  Serve(kCalls, [&](int i) {
    if (i < 10) return;
    placement().OnCall(getpid());  // another guest's call after each
    if (i == kCalls - 1) EXPECT_EQ(MaskOf(guest_.pid()), all_);
  });
  EXPECT_EQ(guest_.Wait(), 0);
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
