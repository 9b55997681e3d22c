#include "fs/record_log.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include <random>

#include "fs/volfs_test_support.h"

namespace usl::fs {
namespace {

using Access = RecordLog::Access;

class RecordLogTest : public ScratchTest {
 protected:
  RecordLogTest() : directory_(::open(scratch_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {}

  Result<std::unique_ptr<RecordLog>> Open(Access access = Access::kWrite, uint64_t tree = 7) {
    return RecordLog::Open(directory_.get(), "log", access, tree, &condition_);
  }
  static std::string Text(RecordLog& log, uint64_t key) {
    auto record = log.Get(key);
    if (!record) return "errno " + std::to_string(record.error().code());
    return {reinterpret_cast<const char*>(record->data.data()), record->data.size()};
  }
  std::string File() { return ReadHost(Path("log")); }
  void Overwrite(size_t at, const std::string& text) {
    std::fstream file(Path("log"), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file << text;
  }

  UniqueFd directory_;
  RecordLog::Condition condition_;
};

TEST_F(RecordLogTest, KeepsRecordsOverReopening) {
  {
    auto log = Open();
    ASSERT_THAT(log, Succeeds());
    ASSERT_THAT((*log)->Put(1, {11, 12}, Bytes("one")), Succeeds());
    ASSERT_THAT((*log)->Put(2, {}, Bytes("two")), Succeeds());
    ASSERT_THAT((*log)->Put(1, {11, 12}, Bytes("uno")), Succeeds());
    ASSERT_THAT((*log)->Put(3, {}, {}), Succeeds());
    (*log)->Drop(2);
    EXPECT_THAT((*log)->Get(2), FailsWith(ENOENT));
  }
  auto log = Open(Access::kRead);
  ASSERT_THAT(log, Succeeds());
  EXPECT_EQ((*log)->size(), 2u);
  EXPECT_EQ(Text(**log, 1), "uno");
  EXPECT_EQ((*log)->Get(1)->stamp.birth, 12u);
  EXPECT_EQ(Text(**log, 3), "");
  EXPECT_FALSE((*log)->Contains(2));
  EXPECT_THAT((*log)->Put(4, {}, Bytes("x")), FailsWith(EROFS));
}

TEST_F(RecordLogTest, ACutOffEndLosesTheLastChangeOnly) {
  {
    auto log = Open();
    ASSERT_THAT((*log)->Put(1, {}, Bytes("one")), Succeeds());
    ASSERT_THAT((*log)->Put(1, {}, Bytes(std::string(100, 'n'))), Succeeds());
  }
  const std::string whole = File();
  // As if the kernel had died after each possible number of bytes of the last entry.
  for (size_t size = whole.size() - 1; size > whole.size() - 143; --size) {
    WriteHost(Path("log"), whole);  // the same inode: made for this file
    ASSERT_EQ(::truncate(Path("log").c_str(), static_cast<off_t>(size)), 0);
    auto log = Open();
    ASSERT_THAT(log, Succeeds()) << size;
    bool is_whole = size >= whole.size() - 4;  // only padding is missing
    EXPECT_EQ(Text(**log, 1), is_whole ? std::string(100, 'n') : "one") << size;
    ASSERT_THAT((*log)->Put(2, {}, Bytes("two")), Succeeds());
    log = Open();
    ASSERT_THAT(log, Succeeds()) << size;
    EXPECT_EQ(Text(**log, 2), "two");
  }
}

TEST_F(RecordLogTest, DamageIsToldAndTheRestCanBeSaved) {
  {
    auto log = Open();
    for (uint64_t key = 1; key <= 9; ++key) ASSERT_THAT((*log)->Put(key, {}, Bytes(std::string(20, 'r'))), Succeeds());
  }
  Overwrite(64 + 3 * 64 + 45, "XX");  // in the fourth record
  EXPECT_THAT(Open(), FailsWith(EIO));
  EXPECT_EQ(condition_.damaged, 64u);
  EXPECT_THAT(Open(Access::kRead), FailsWith(EIO));
  {
    auto log = Open(Access::kCheck);
    ASSERT_THAT(log, Succeeds());
    EXPECT_EQ((*log)->size(), 8u);
    ASSERT_THAT((*log)->Compact(), Succeeds());
  }
  auto log = Open();
  ASSERT_THAT(log, Succeeds());
  EXPECT_EQ(condition_.damaged, 0u);
  EXPECT_EQ((*log)->size(), 8u);
  EXPECT_FALSE((*log)->Contains(4));
  EXPECT_EQ(Text(**log, 9), std::string(20, 'r'));
}

TEST_F(RecordLogTest, OtherVersionsAndTreesAreRefused) {
  { ASSERT_THAT((*Open())->Put(1, {}, Bytes("one")), Succeeds()); }
  EXPECT_THAT(Open(Access::kWrite, 8), FailsWith(EXDEV));
  EXPECT_TRUE(condition_.foreign);
  EXPECT_THAT(Open(Access::kRead, 0), Succeeds()) << "a reader that does not care";
  std::string copy = File();
  ASSERT_EQ(::rename(Path("log").c_str(), Path("kept").c_str()), 0);
  WriteHost(Path("log"), copy);
  EXPECT_THAT(Open(), FailsWith(EXDEV)) << "a copy is another file";
  Overwrite(8, std::string("\2\0\0\0", 4));
  EXPECT_THAT(Open(), FailsWith(EPROTONOSUPPORT));
  EXPECT_EQ(condition_.other_version, 2u);
  EXPECT_EQ(File().size(), copy.size()) << "nothing of it was touched";
  Overwrite(0, "USLx");
  EXPECT_THAT(Open(), FailsWith(EIO));
  ASSERT_EQ(::truncate(Path("log").c_str(), 0), 0);
  EXPECT_THAT(Open(), Succeeds()) << "an empty file is a new one";
}

TEST_F(RecordLogTest, ARecordCannotFakeEntries) {
  std::string inner;
  {
    auto log = Open();
    ASSERT_THAT((*log)->Put(5, {}, Bytes("inner")), Succeeds());
    inner = File().substr(64);
    (*log)->Drop(5);
    ASSERT_THAT((*log)->Compact(), Succeeds());
    // What a guest could have learnt from an older file does not have the new one's number.
    ASSERT_THAT((*log)->Put(6, {}, Bytes(inner)), Succeeds());
    ASSERT_THAT((*log)->Put(7, {}, Bytes("last")), Succeeds());
  }
  Overwrite(64 + 8, "?");  // so that what is in it is scanned
  auto log = Open(Access::kCheck);
  ASSERT_THAT(log, Succeeds());
  EXPECT_FALSE((*log)->Contains(5));
  EXPECT_FALSE((*log)->Contains(6));
  EXPECT_TRUE((*log)->Contains(7));
}

TEST_F(RecordLogTest, GrowsWithWhatCounts) {
  auto log = Open();
  std::mt19937 random(1);
  for (int i = 0; i < 30'000; ++i) {
    ASSERT_THAT((*log)->Put(random() % 100, {}, Bytes(std::string(random() % 200, 'g'))), Succeeds());
  }
  EXPECT_LT(File().size(), 1u << 20) << "4 MB have been written";
  EXPECT_FALSE(std::filesystem::exists(Path("log.new")));
  EXPECT_EQ((*Open())->size(), 100u);
}

TEST_F(RecordLogTest, AFullDiskLosesNothing) {
  auto log = Open();
  ASSERT_THAT((*log)->Put(1, {}, Bytes("one")), Succeeds());
  ASSERT_THAT((*log)->Put(2, {}, Bytes("two")), Succeeds());
  struct rlimit old, small{200, RLIM_INFINITY};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  small.rlim_max = old.rlim_max;
  auto handler = ::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_THAT((*log)->Put(1, {}, Bytes(std::string(300, 'x'))), FailsWith(EFBIG));
  (*log)->Drop(2);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  ::signal(SIGXFSZ, handler);
  EXPECT_EQ(Text(**log, 1), "one");
  EXPECT_FALSE((*log)->Contains(2));
  EXPECT_EQ(Text(**Open(Access::kRead), 1), "one");
  ASSERT_THAT((*log)->Put(3, {}, Bytes("three")), Succeeds()) << "with room again";
  auto again = Open();
  EXPECT_EQ((*again)->size(), 2u) << "the removal has been written too";
  EXPECT_EQ(Text(**again, 3), "three");
}

TEST_F(RecordLogTest, StaysSaneUnderMutation) {
  {
    auto log = Open();
    for (uint64_t key = 1; key <= 20; ++key) ASSERT_THAT((*log)->Put(key, {}, Bytes("record")), Succeeds());
  }
  const std::string whole = File();
  std::mt19937 random(2);
  for (int i = 0; i < 500; ++i) {
    WriteHost(Path("log"), whole);
    for (unsigned n = random() % 4 + 1; n > 0; --n) {
      Overwrite(random() % whole.size(), std::string(random() % 30, static_cast<char>(random())));
    }
    auto log = Open(Access::kCheck);
    ASSERT_THAT(log, Succeeds());
    for (uint64_t key : (*log)->Keys()) EXPECT_EQ(Text(**log, key), "record");
  }
}

}  // namespace
}  // namespace usl::fs
