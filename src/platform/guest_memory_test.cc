#include "platform/guest_memory.h"

#include <limits.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <optional>

#include "gtest/gtest.h"

namespace usl::platform {
namespace {

constexpr size_t kPage = 4096;

// A child that shares nothing but the layout: [read-write][read-write][read-only][no access][unmapped].
// Parameter: whether reads go through a MemoryFile.
class GuestMemoryTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    base_ = static_cast<char*>(mmap(nullptr, 5 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_NE(base_, MAP_FAILED);
    std::memset(base_, 'a', 3 * kPage);
    mprotect(base_ + 2 * kPage, kPage, PROT_READ);
    mprotect(base_ + 3 * kPage, kPage, PROT_NONE);
    munmap(base_ + 4 * kPage, kPage);
  }
  void TearDown() override {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    munmap(base_, 4 * kPage);
  }
  // Forks the guest with the memory as it is now.
  GuestMemory Guest() {
    pid_ = fork();
    if (pid_ == 0) {
      for (;;) pause();
    }
    if (!GetParam()) return GuestMemory(pid_);
    auto file = MemoryFile::Open(pid_);
    EXPECT_TRUE(file);
    file_.emplace(std::move(*file));
    return GuestMemory(pid_, &*file_);
  }
  GuestAddress At(size_t offset) const { return GuestAddress(reinterpret_cast<uint64_t>(base_) + offset); }

  char* base_ = nullptr;
  pid_t pid_ = 0;
  std::optional<MemoryFile> file_;
};
INSTANTIATE_TEST_SUITE_P(WithAndWithoutFile, GuestMemoryTest, ::testing::Bool());

TEST_P(GuestMemoryTest, ReadsAndWritesObjects) {
  GuestMemory guest = Guest();
  ASSERT_TRUE(guest.WriteObject<uint64_t>(At(kPage - 4), 0x1122334455667788));
  auto value = guest.ReadObject<uint64_t>(At(kPage - 4));
  ASSERT_TRUE(value);
  EXPECT_EQ(*value, 0x1122334455667788u);
  EXPECT_EQ(base_[kPage], 'a') << "the parent's own copy is another one";
  EXPECT_TRUE(guest.Read(GuestAddress(0), nullptr, 0));
}

TEST_P(GuestMemoryTest, ReadsStringsAcrossAndAtTheEndOfPages) {
  std::strcpy(base_ + kPage - 3, "path/over");
  mprotect(base_ + 2 * kPage, kPage, PROT_READ | PROT_WRITE);
  std::strcpy(base_ + 3 * kPage - 4, "end");  // its NUL is the last readable byte
  GuestMemory guest = Guest();
  EXPECT_EQ(guest.ReadString(At(kPage - 3), PATH_MAX - 1).value(), "path/over");
  EXPECT_EQ(guest.ReadString(At(3 * kPage - 4), PATH_MAX - 1).value(), "end");
  EXPECT_EQ(guest.ReadString(At(3 * kPage - 1), PATH_MAX - 1).value(), "");
}

TEST_P(GuestMemoryTest, BoundsStrings) {
  std::memset(base_, 'b', 2 * kPage);
  base_[100] = '\0';
  GuestMemory guest = Guest();
  EXPECT_EQ(guest.ReadString(At(0), 100).value().size(), 100u);
  EXPECT_EQ(guest.ReadString(At(0), 99).error().code(), ENAMETOOLONG);
  EXPECT_EQ(guest.ReadString(At(101), 4095).error().code(), ENAMETOOLONG);
  EXPECT_EQ(guest.ReadString(At(2 * kPage), 2 * kPage).error().code(), EFAULT) << "no NUL before the end of memory";
}

TEST_P(GuestMemoryTest, RefusesWhatTheGuestCannotAccess) {
  GuestMemory guest = Guest();
  char buffer[2 * kPage];
  for (GuestAddress bad : {GuestAddress(0), GuestAddress(1), At(3 * kPage), At(4 * kPage), GuestAddress(~0ULL),
                           GuestAddress(0xffffffffff600000), GuestAddress(0x7ffffffff000)}) {
    EXPECT_EQ(guest.Read(bad, buffer, 1).error().code(), EFAULT) << std::hex << bad.value();
    EXPECT_EQ(guest.ReadString(bad, 10).error().code(), EFAULT) << std::hex << bad.value();
    EXPECT_EQ(guest.Write(bad, buffer, 1).error().code(), EFAULT) << std::hex << bad.value();
  }
  EXPECT_EQ(guest.Read(At(3 * kPage - 1), buffer, 2).error().code(), EFAULT);
  EXPECT_EQ(guest.Write(At(2 * kPage), "x", 1).error().code(), EFAULT) << "read-only memory";
  EXPECT_EQ(guest.Write(At(2 * kPage - 1), "xy", 2).error().code(), EFAULT) << "half of it read-only";
  EXPECT_EQ(guest.ReadObject<char>(At(2 * kPage)).value(), 'a');
}

TEST_P(GuestMemoryTest, ReadsPointerArrays) {
  auto* pointers = reinterpret_cast<uint64_t*>(base_ + kPage - 16 - 4);  // unaligned and over a page
  const uint64_t values[] = {0x1000, 0x2000, 0x3000, 0};
  std::memcpy(pointers, values, sizeof values);
  const size_t offset = kPage - 16 - 4;
  GuestMemory guest = Guest();
  auto read = guest.ReadPointers(At(offset), 3);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->size(), 3u);
  EXPECT_EQ((*read)[2], GuestAddress(0x3000));
  EXPECT_EQ(guest.ReadPointers(At(offset), 2).error().code(), E2BIG);
  EXPECT_TRUE(guest.ReadPointers(GuestAddress(0), 10)->empty());
  EXPECT_EQ(guest.ReadPointers(At(3 * kPage - 8), 10).error().code(), EFAULT);
}

TEST_P(GuestMemoryTest, ReadsAndFillsIovecs) {
  iovec vectors[] = {{base_ + 100, 3}, {base_ + 200, 0}, {base_ + 300, 5}};
  std::memcpy(base_, vectors, sizeof vectors);
  vectors[0].iov_len = SSIZE_MAX;
  std::memcpy(base_ + 1000, vectors, sizeof vectors);
  GuestMemory guest = Guest();
  auto read = guest.ReadIovecs(At(0), 3);
  ASSERT_TRUE(read);
  EXPECT_EQ(guest.WriteIovecs(*read, "abcdefghij", 10).value(), 8u);
  EXPECT_EQ(guest.ReadString(At(300), 5).error().code(), ENAMETOOLONG);
  char text[5];
  ASSERT_TRUE(guest.Read(At(300), text, 5));
  EXPECT_EQ(std::string(text, 5), "defgh");
  EXPECT_EQ(guest.ReadIovecs(At(1000), 3).error().code(), EINVAL) << "the sum overflows";
  EXPECT_EQ(guest.ReadIovecs(At(0), 1025).error().code(), EINVAL);
  EXPECT_TRUE(guest.ReadIovecs(GuestAddress(0), 0)->empty());
}

TEST_P(GuestMemoryTest, ReportsADeadTask) {
  GuestMemory guest = Guest();
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = 0;
  char byte;
  EXPECT_FALSE(guest.Read(At(0), &byte, 1));
  EXPECT_EQ(guest.Write(At(0), "x", 1).error().code(), ESRCH);
}

TEST(MemoryFileTest, ForcedWritesPatchReadOnlyMemory) {
  char* page = static_cast<char*>(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  auto file = MemoryFile::Open(getpid());
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->ForceWrite(GuestAddress(reinterpret_cast<uint64_t>(page)), "patch", 6));
  EXPECT_STREQ(page, "patch");
  munmap(page, kPage);
}

}  // namespace
}  // namespace usl::platform
