#include "platform/task_token.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace usl::platform {
namespace {

constexpr int kRounds = 200;

class TaskTokenTest : public ::testing::Test {
 protected:
  void SetUp() override { saved_ = ReadToken(0).value(); }
  void TearDown() override { EXPECT_TRUE(WriteToken(0, saved_)); }
  uint64_t saved_ = 0;
};

// What a new task shows is its maker's token, until it gets one of its own that its maker does not see.
void ExpectInherited(pid_t child, uint64_t token) {
  ASSERT_GT(child, 0);
  EXPECT_EQ(ReadToken(child).value(), token);
  EXPECT_FALSE(IsThreadOf(getpid(), child));
  EXPECT_TRUE(WriteToken(child, token + 1'000'000));
  EXPECT_EQ(ReadToken(0).value(), token);
  kill(child, SIGKILL);
  EXPECT_EQ(waitpid(child, nullptr, __WALL), child);
}

TEST_F(TaskTokenTest, HoldsAllBitsAndKeepsTheHardLimit) {
  for (uint64_t token : {uint64_t{0}, uint64_t{1} << 62, uint64_t{0xfffffffffffffffe}, uint64_t{5}}) {
    ASSERT_TRUE(WriteToken(0, token));
    EXPECT_EQ(ReadToken(0).value(), token);
  }
  rlimit limit{};
  getrlimit(RLIMIT_LOCKS, &limit);
  EXPECT_EQ(limit.rlim_max, RLIM_INFINITY);
}

TEST_F(TaskTokenTest, IsInheritedByFork) {
  for (uint64_t round = 0; round < kRounds; ++round) {
    ASSERT_TRUE(WriteToken(0, round));
    pid_t child = fork();
    if (child == 0) {
      for (;;) pause();
    }
    ExpectInherited(child, round);
  }
}

TEST_F(TaskTokenTest, IsInheritedByCloneWithSharedMemory) {
  const size_t kStack = 65536;
  auto* stack = static_cast<char*>(mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  for (int flags : {0, CLONE_VM, CLONE_VM | CLONE_FS | CLONE_FILES, CLONE_VM | CLONE_SIGHAND}) {
    for (uint64_t round = 0; round < kRounds; ++round) {
      ASSERT_TRUE(WriteToken(0, round));
      auto sleeper = [](void*) -> int {
        for (;;) syscall(SYS_pause);
      };
      ExpectInherited(clone(sleeper, stack + kStack, flags | SIGCHLD, nullptr), round);
    }
  }
  munmap(stack, kStack);
}

TEST_F(TaskTokenTest, IsInheritedByVfork) {
  static uint64_t seen;
  for (uint64_t round = 0; round < kRounds; ++round) {
    ASSERT_TRUE(WriteToken(0, round));
    pid_t child = vfork();
    if (child == 0) {
      rlimit limit{};
      syscall(SYS_prlimit64, 0, RLIMIT_LOCKS, nullptr, &limit);
      seen = limit.rlim_cur;
      _exit(0);
    }
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
    EXPECT_EQ(seen, round);
  }
}

TEST_F(TaskTokenTest, NamesTheGrandparentsChildAfterADoubleFork) {
  for (uint64_t round = 0; round < kRounds; ++round) {
    int to_us[2], to_child[2];
    ASSERT_EQ(pipe(to_us), 0);
    ASSERT_EQ(pipe(to_child), 0);
    pid_t middle = fork();
    if (middle == 0) {
      char byte;
      if (read(to_child[0], &byte, 1) != 1) _exit(1);  // until it has a token of its own
      pid_t orphan = fork();
      if (orphan != 0) _exit(0);
      pid_t self = getpid();
      (void)!write(to_us[1], &self, sizeof self);
      (void)!read(to_child[0], &byte, 1);
      _exit(0);
    }
    ASSERT_TRUE(WriteToken(middle, 7000 + round));
    ASSERT_EQ(write(to_child[1], "g", 1), 1);
    pid_t orphan = 0;
    ASSERT_EQ(read(to_us[0], &orphan, sizeof orphan), static_cast<ssize_t>(sizeof orphan));
    waitpid(middle, nullptr, 0);
    EXPECT_EQ(ReadToken(orphan).value(), 7000 + round) << "its native parent is somebody else by now";
    ASSERT_EQ(write(to_child[1], "g", 1), 1);
    for (int fd : {to_us[0], to_us[1], to_child[0], to_child[1]}) close(fd);
  }
}

TEST_F(TaskTokenTest, IsSharedByThreadsAndTellsThemFromChildren) {
  ASSERT_TRUE(WriteToken(0, 99));
  auto worker = [] {
    const pid_t tid = gettid();
    for (int round = 0; round < kRounds / 4; ++round) {
      EXPECT_EQ(ReadToken(tid).value(), 99u);
      EXPECT_TRUE(IsThreadOf(getpid(), tid));
      pid_t child = fork();
      if (child == 0) {
        for (;;) pause();
      }
      ASSERT_GT(child, 0);
      EXPECT_EQ(ReadToken(child).value(), 99u);
      EXPECT_FALSE(IsThreadOf(getpid(), child));
      kill(child, SIGKILL);
      EXPECT_EQ(waitpid(child, nullptr, 0), child);
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(worker);
  for (auto& thread : threads) thread.join();
}

TEST_F(TaskTokenTest, SaysWhenThereIsNoSuchTask) {
  EXPECT_EQ(ReadToken(0x3fffffff).error().code(), ESRCH);
  EXPECT_FALSE(IsThreadOf(getpid(), 0x3fffffff));
}

}  // namespace
}  // namespace usl::platform
