#include "platform/fast_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "platform/shim/embedded.h"

namespace usl::platform {
namespace {

using protocol::FastKind;

constexpr uint8_t kBoth = protocol::kFastFollows | protocol::kFastStays;

FastMemory Make() {
  auto made = FastMemory::Create();
  EXPECT_TRUE(made);
  return std::move(*made);
}

FastAnswer Missing(uint32_t context, std::string_view path, uint8_t calls = kBoth) {
  return {.context = context, .path = path, .kind = FastKind::kMissing, .calls = calls};
}

TEST(FastMemoryTest, FindsWhatWasPutUntilItIsCleared) {
  FastMemory memory = Make();
  const uint32_t slot = memory.Put(Missing(1, "/usr/bin/x"));
  EXPECT_EQ(memory.Find(1, "/usr/bin/x", protocol::kFastFollows), static_cast<int>(slot));
  EXPECT_EQ(memory.Find(2, "/usr/bin/x", protocol::kFastFollows), -1) << "another context";
  EXPECT_EQ(memory.Find(1, "/usr/bin/y", protocol::kFastFollows), -1);
  memory.Clear(slot);
  EXPECT_EQ(memory.Find(1, "/usr/bin/x", protocol::kFastFollows), -1);
  memory.Put(Missing(1, "/usr/bin/x"));
  memory.ClearAll();
  EXPECT_EQ(memory.Find(1, "/usr/bin/x", protocol::kFastFollows), -1);
}

TEST(FastMemoryTest, KeepsWhatFollowsLinksApartFromWhatDoesNot) {
  FastMemory memory = Make();
  const uint32_t follows = memory.Put(Missing(1, "/l", protocol::kFastFollows));
  const uint32_t stays = memory.Put(Missing(1, "/l", protocol::kFastStays));
  EXPECT_NE(follows, stays);
  EXPECT_EQ(memory.Find(1, "/l", protocol::kFastFollows), static_cast<int>(follows));
  EXPECT_EQ(memory.Find(1, "/l", protocol::kFastStays), static_cast<int>(stays));
}

TEST(FastMemoryTest, HoldsPathsUpToItsSize) {
  FastMemory memory = Make();
  const std::string longest(protocol::kFastTextSize, 'x'), longer = longest + "x";
  EXPECT_TRUE(FastMemory::Fits(longest));
  EXPECT_FALSE(FastMemory::Fits(longer));
  EXPECT_FALSE(FastMemory::Fits(""));
  memory.Put(Missing(3, longest));
  EXPECT_GE(memory.Find(3, longest, kBoth), 0);
}

TEST(FastMemoryTest, ManyPathsKeepTheirAnswersApart) {
  FastMemory memory = Make();
  for (int i = 0; i < 50000; ++i) memory.Put(Missing(1, "/a/" + std::to_string(i)));
  int found = 0;
  for (int i = 0; i < 50000; ++i) found += memory.Find(1, "/a/" + std::to_string(i), kBoth) >= 0 ? 1 : 0;
  EXPECT_GT(found, static_cast<int>(protocol::kFastSlots * 9 / 10));
  EXPECT_LE(found, static_cast<int>(protocol::kFastSlots));
}

TEST(FastMemoryTest, TheDescriptorOnlyReads) {
  FastMemory memory = Make();
  EXPECT_EQ(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd(), 0), MAP_FAILED);
  char byte = 'x';
  EXPECT_LT(pwrite(memory.fd(), &byte, 1, 0), 0);
  // Not even when it is opened again for writing.
  const std::string again = "/proc/self/fd/" + std::to_string(memory.fd());
  const UniqueFd writable(open(again.c_str(), O_RDWR | O_CLOEXEC));
  if (writable) {
    EXPECT_LT(pwrite(writable.get(), &byte, 1, 0), 0);
    EXPECT_EQ(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, writable.get(), 0), MAP_FAILED);
  }
  void* shown = mmap(nullptr, protocol::kFastFileSize, PROT_READ, MAP_SHARED, memory.fd(), 0);
  ASSERT_NE(shown, MAP_FAILED);
  EXPECT_LT(mprotect(shown, 4096, PROT_READ | PROT_WRITE), 0);
  const auto* table = reinterpret_cast<const protocol::FastTable*>(static_cast<char*>(shown) + protocol::kFastCodeSize);
  const uint32_t slot = memory.Put(Missing(1, "/seen"));
  EXPECT_EQ(memcmp(table->slots[slot].text, "/seen", 5), 0) << "guests see what is put later";
  munmap(shown, protocol::kFastFileSize);
}

// A range as the loader makes it, and a call site near it, in this process.
class PatchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    void* room = mmap(nullptr, protocol::kFastRangeSize + 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(room, MAP_FAILED);
    area_ = reinterpret_cast<uint64_t>(room);
    auto map = [&](uint64_t at, uint64_t size, int protection, int flags, int fd, off_t offset) {
      return mmap(reinterpret_cast<void*>(at), size, protection, flags | MAP_FIXED, fd, offset) != MAP_FAILED;
    };
    ASSERT_TRUE(map(area_, protocol::kFastAreaSize, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_TRUE(map(area_ + protocol::kFastAreaSize, protocol::kFastCodeSize, PROT_READ | PROT_EXEC, MAP_PRIVATE,
                    memory_.fd(), 0));
    ASSERT_TRUE(map(area_ + protocol::kFastAreaSize + protocol::kFastCodeSize, sizeof(protocol::FastTable), PROT_READ,
                    MAP_SHARED, memory_.fd(), protocol::kFastCodeSize));
    site_ = area_ + protocol::kFastRangeSize;
    ASSERT_TRUE(map(site_, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    // mov $SYS_stat, %eax; syscall; ret
    const unsigned char code[] = {0xb8, 4, 0, 0, 0, 0x0f, 0x05, 0xc3};
    memcpy(reinterpret_cast<void*>(site_), code, sizeof code);
  }
  void TearDown() override {
    if (area_) munmap(reinterpret_cast<void*>(area_), protocol::kFastRangeSize + 4096);
  }
  // The function whose body is the call site: a raw stat(2).
  int64_t Call(const char* path, struct stat* status) const {
    int64_t result;
    asm volatile("call *%[site]"
                 : "=a"(result)
                 : [site] "r"(site_), "D"(path), "S"(status)
                 : "rcx", "r11", "memory", "cc");
    return result;
  }
  Result<bool> Patch(uint32_t number = 4) {
    auto file = MemoryFile::Open(getpid());
    if (!file) return Fail(file.error());
    return PatchCallSite(*file, area_, site_ + 7, number, {.enabled = true, .root_context = 5, .cwd_context = 6});
  }

  FastMemory memory_ = Make();
  uint64_t area_ = 0, site_ = 0;
};

TEST_F(PatchTest, APatchedSiteAnswersFromTheTableOrCalls) {
  auto patched = Patch();
  ASSERT_TRUE(patched);
  ASSERT_TRUE(*patched);
  struct stat status {};
  EXPECT_EQ(Call("/", &status), 0) << "not in the table: Linux answers";
  EXPECT_TRUE(S_ISDIR(status.st_mode));
  EXPECT_EQ(Call("/surely-missing", &status), -ENOENT);

  memory_.Put(Missing(5, "/proc"));
  EXPECT_EQ(Call("/proc", &status), -ENOENT) << "the table answers";
  memory_.ClearAll();
  EXPECT_EQ(Call("/proc", &status), 0);

  struct statx wide {};
  wide.stx_mode = S_IFREG | 0640;
  wide.stx_size = 1234;
  wide.stx_dev_minor = 77;
  wide.stx_mtime = {.tv_sec = 11, .tv_nsec = 12};
  const std::string path = "a-relative-path";
  memory_.Put({.context = 6, .path = path, .kind = FastKind::kFile, .calls = protocol::kFastFollows, .status = &wide});
  EXPECT_EQ(Call(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode, static_cast<mode_t>(S_IFREG | 0640));
  EXPECT_EQ(status.st_size, 1234);
  EXPECT_EQ(status.st_dev, 77u);
  EXPECT_EQ(status.st_mtim.tv_nsec, 12);
  EXPECT_EQ(Call(path.c_str(), reinterpret_cast<struct stat*>(8)), -ENOENT) << "a bad pointer is Linux's to refuse";

  auto file = MemoryFile::Open(getpid());
  ASSERT_TRUE(file);
  ASSERT_TRUE(WriteFastState(*file, area_, {.enabled = false}));
  EXPECT_EQ(Call(path.c_str(), &status), -ENOENT) << "switched off";
}

TEST_F(PatchTest, OnlyCallSitesArePatchedAndOnlyOnce) {
  auto wrong = Patch(5);
  ASSERT_TRUE(wrong);
  EXPECT_FALSE(*wrong) << "another number";
  auto first = Patch();
  ASSERT_TRUE(first && *first);
  auto second = Patch();
  ASSERT_TRUE(second);
  EXPECT_FALSE(*second);
}

TEST_F(PatchTest, ARangeThatIsNotThereIsLeftAlone) {
  munmap(reinterpret_cast<void*>(area_ + protocol::kFastAreaSize), protocol::kFastCodeSize);
  EXPECT_FALSE(Patch().value_or(false));
  EXPECT_EQ(*reinterpret_cast<const unsigned char*>(site_), 0xb8);
}

}  // namespace
}  // namespace usl::platform
