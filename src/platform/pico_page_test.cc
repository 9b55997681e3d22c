#include "platform/pico_page.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <string>

#include "gtest/gtest.h"
#include "platform/filter.h"
#include "platform/loader/embedded.h"
#include "platform/memory_file.h"
#include "platform/restart_map.h"
#include "platform/test_guest.h"

namespace usl::platform {
namespace {

using protocol::kDefaultPicoBase;
using protocol::kPicoSize;

char* Page() {
  return reinterpret_cast<char*>(kDefaultPicoBase);
}

// Maps the page for the time of a test.
class PicoPageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto page = PicoPage::Create("/run/usl/loader-10000");
    ASSERT_TRUE(page);
    page_.emplace(std::move(*page));
    ASSERT_TRUE(page_->Map());
  }
  void TearDown() override {
    EXPECT_STREQ(Page(), "/run/usl/loader-10000");
    munmap(Page(), kPicoSize);
  }
  std::optional<PicoPage> page_;
};

TEST_F(PicoPageTest, HoldsThePathAndTheCode) {
  const auto stub = loader::PicoStubCode();
  const auto leave = loader::PicoLeaveCode();
  EXPECT_EQ(std::memcmp(Page() + protocol::kPicoStubOffset, stub.data(), stub.size()), 0);
  EXPECT_EQ(std::memcmp(Page() + protocol::kPicoLeaveOffset, leave.data(), leave.size()), 0);
  const auto back = loader::PicoReturnCode();
  EXPECT_EQ(std::memcmp(Page() + protocol::kPicoReturnOffset, back.data(), back.size()), 0);
  const auto follow = loader::PicoFollowCode();
  EXPECT_EQ(std::memcmp(Page() + protocol::kPicoFollowOffset, follow.data(), follow.size()), 0);
  const auto signal = loader::PicoSignalCode();
  EXPECT_EQ(std::memcmp(Page() + protocol::kPicoSignalOffset, signal.data(), signal.size()), 0);
  const auto map = RestartMap();
  EXPECT_EQ(std::memcmp(Page() + protocol::kPicoRestartMapOffset, map.data(), map.size()), 0);
  EXPECT_EQ(Page()[protocol::kHypercallOffset], '\0');
}

TEST_F(PicoPageTest, ResistsItsOwnProcess) {
  EXPECT_EQ(mprotect(Page(), kPicoSize, PROT_READ | PROT_WRITE), -1);
  EXPECT_EQ(mprotect(Page(), kPicoSize, PROT_READ | PROT_WRITE | PROT_EXEC), -1);
  auto file = MemoryFile::Open(getpid());
  ASSERT_TRUE(file);
  EXPECT_FALSE(file->ForceWrite(GuestAddress(kDefaultPicoBase), "/bin/sh", 8));
  char text[] = "/bin/sh";
  iovec from{text, sizeof text}, to{Page(), sizeof text};
  EXPECT_EQ(process_vm_writev(getpid(), &from, 1, &to, 1, 0), -1);
  EXPECT_EQ(write(page_->fd(), "x", 1), -1);
  EXPECT_EQ(ftruncate(page_->fd(), 0), -1);
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", page_->fd());
  UniqueFd writable(open(path, O_RDWR));
  if (writable) {
    EXPECT_EQ(pwrite(writable.get(), "x", 1, 0), -1);
    EXPECT_EQ(mmap(nullptr, kPicoSize, PROT_WRITE, MAP_SHARED, writable.get(), 0), MAP_FAILED);
  }
}

TEST_F(PicoPageTest, IsNotMappedOverAnything) {
  auto again = page_->Map();
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), EEXIST);
}

// A natively run call that gets at the page would succeed or crash the guest; every one must fail under the filter.
TEST_F(PicoPageTest, CannotBeReplacedDroppedOrUnsharedUnderTheFilter) {
  FilterOptions options{};
  options.pico_base = kDefaultPicoBase;
  options.pico_size = kPicoSize;
  const std::vector<sock_filter> filter = BuildFilter(options);
  testing::TestGuest guest(filter, [] {
    const uint64_t base = kDefaultPicoBase;
    char* spare = static_cast<char*>(mmap(nullptr, 4 * kPicoSize, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    auto fails = [](long result) { return result == -1; };
    int number = 0;
    auto check = [&](bool refused) {
      ++number;
      if (!refused) _exit(number);
    };
    auto map = [](uint64_t at, uint64_t size, int flags) {
      return syscall(SYS_mmap, at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    };
    check(fails(map(base, kPicoSize, MAP_FIXED)));
    check(fails(map(base - kPicoSize, 2 * kPicoSize, MAP_FIXED)));
    check(fails(syscall(SYS_munmap, base, kPicoSize)));
    check(fails(syscall(SYS_munmap, base, uint64_t{1} << 46)));
    check(fails(syscall(SYS_mprotect, base, kPicoSize, PROT_NONE)));
    check(fails(syscall(SYS_pkey_mprotect, base, kPicoSize, PROT_READ, -1)));
    check(fails(syscall(SYS_madvise, base, kPicoSize, MADV_DONTFORK)));
    check(fails(syscall(SYS_madvise, base, kPicoSize, MADV_DONTNEED)));
    check(fails(syscall(SYS_madvise, base - kPicoSize, 2 * kPicoSize, MADV_DONTFORK)));
    check(fails(syscall(SYS_mremap, base, kPicoSize, kPicoSize, MREMAP_MAYMOVE | MREMAP_FIXED, spare)));
    check(fails(syscall(SYS_mremap, spare, kPicoSize, kPicoSize, MREMAP_MAYMOVE | MREMAP_FIXED, base)));
    check(fails(syscall(SYS_remap_file_pages, base, kPicoSize, 0, 0, 0)));
    // Not refused: elsewhere, and as a hint, which the host does not follow where something is.
    check(!fails(syscall(SYS_munmap, spare, kPicoSize)));
    check(map(base, kPicoSize, 0) > static_cast<long>(base));
    check(std::strcmp(Page(), "/run/usl/loader-10000") == 0);
    pid_t child = static_cast<pid_t>(syscall(SYS_fork));
    if (child == 0) _exit(std::strcmp(Page(), "/run/usl/loader-10000") == 0 ? 0 : 1);
    int status = 1;
    wait4(child, &status, 0, nullptr);
    check(status == 0);
    return 0;
  });
  // Forking notifies; anything else that does is refused, as the kernel would do here.
  for (;;) {
    auto call = guest.listener().Receive();
    if (!call) break;
    if (call->nr == SYS_fork || call->nr == SYS_clone) {
      (void)guest.listener().Continue(call->id);
    } else {
      (void)guest.listener().RespondError(call->id, EPERM);
    }
  }
  EXPECT_EQ(guest.Wait(), 0) << "number of the first attack that got through";
}

TEST(PicoPageCreateTest, ChecksItsArguments) {
  EXPECT_EQ(PicoPage::Create(std::string(protocol::kPicoPathMax, '/')).error().code(), ENAMETOOLONG);
  EXPECT_EQ(PicoPage::Create("relative").error().code(), EINVAL);
  EXPECT_EQ(PicoPage::Create("/x", 0x10001).error().code(), EINVAL);
  EXPECT_EQ(PicoPage::Create("/x", uint64_t{1} << 32).error().code(), EINVAL);
  EXPECT_TRUE(PicoPage::Create("/x", 0x7fff0000));
}

}  // namespace
}  // namespace usl::platform
