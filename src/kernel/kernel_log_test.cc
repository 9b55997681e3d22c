#include "kernel/kernel_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace usl::kernel {
namespace {

using ::testing::EndsWith;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

TEST(KernelLog, ShowsRecordsInBothForms) {
  KernelLog log;
  log.Add(6, "first\nsecond\n");
  ASSERT_EQ(log.records().size(), 2u);
  EXPECT_THAT(KernelLog::KmsgForm(log.records()[1]), MatchesRegex("6,1,[0-9]+,-;second\n"));
  EXPECT_THAT(KernelLog::SyslogForm(log.records()[0]), MatchesRegex("<6>\\[ *[0-9]+\\.[0-9]{6}\\] first\n"));
}

TEST(KernelLog, WrittenLinesHaveAPriority) {
  KernelLog log;
  log.AddWritten("<3>an error\n");
  log.AddWritten("<30>of a daemon");
  log.AddWritten("plain");
  log.AddWritten("<x>odd");
  EXPECT_EQ(log.records()[0].priority, 8u + 3);  // only the kernel itself is facility 0
  EXPECT_EQ(log.records()[0].text, "an error");
  EXPECT_EQ(log.records()[1].priority, 30u);
  EXPECT_EQ(log.records()[2].priority, 8u + 4);
  EXPECT_EQ(log.records()[3].text, "<x>odd");
}

TEST(KernelLog, EscapesWhatIsNoText) {
  KernelLog log;
  log.Add(6, "a\x1b[2J\\");
  EXPECT_THAT(KernelLog::KmsgForm(log.records()[0]), EndsWith(";a\\x1b[2J\\x5c\n"));
}

TEST(KernelLog, IsBounded) {
  KernelLog log;
  for (int i = 0; i < 1000; ++i) log.Add(6, "line");
  EXPECT_EQ(log.records().size(), KernelLog::kMaxRecords);
  EXPECT_EQ(log.records().back().sequence, 999u);
  log.Add(6, std::string(5000, 'x'));
  EXPECT_EQ(log.records().back().text.size(), KernelLog::kMaxText);
  for (int i = 0; i < 1000; ++i) log.Add(6, std::string(KernelLog::kMaxText, 'x'));
  EXPECT_LE(log.records().size() * KernelLog::kMaxText, KernelLog::kMaxBytes);
}

TEST(KernelLog, ReadingAllTakesNothingAndStartsBehindAClear) {
  KernelLog log;
  log.Add(6, "one");
  log.Add(6, "two");
  const std::string all = log.ReadAll(4096);
  EXPECT_EQ(log.ReadAll(4096), all);
  EXPECT_THAT(log.ReadAll(30), EndsWith("two\n"));
  EXPECT_EQ(std::ranges::count(log.ReadAll(30), '\n'), 1);
  log.Clear();
  EXPECT_EQ(log.ReadAll(4096), "");
  log.Add(6, "three");
  EXPECT_THAT(log.ReadAll(4096), EndsWith("three\n"));
}

TEST(KernelLog, UnreadIsTakenOnce) {
  KernelLog log;
  log.Add(6, "one");
  log.Add(6, "two");
  const size_t bytes = log.UnreadBytes();
  std::string taken = log.TakeUnread(5);
  EXPECT_EQ(taken.size(), 5u);
  EXPECT_EQ(log.UnreadBytes(), bytes - 5);
  taken += log.TakeUnread(4096);
  EXPECT_EQ(taken, log.ReadAll(4096));
  EXPECT_EQ(log.UnreadBytes(), 0u);
  EXPECT_EQ(log.TakeUnread(4096), "");
}

}  // namespace
}  // namespace usl::kernel
