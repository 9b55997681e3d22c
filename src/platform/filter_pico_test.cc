// Protection of the pico page: the filter's 32-bit arithmetic against a model with numbers that cannot overflow.
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/shm.h>
#include <sys/mman.h>

#include <random>

#include "abi/constants.h"
#include "platform/bpf_evaluator.h"
#include "platform/filter.h"

namespace usl::platform {
namespace {

using Wide = unsigned __int128;

constexpr uint64_t kPage = 4096, kHugest = uint64_t{1} << 30;
constexpr uint32_t kAllow = SECCOMP_RET_ALLOW, kRefused = SECCOMP_RET_ERRNO | EPERM;

// Where a page may be put, the default first.
constexpr uint64_t kBases[] = {0x10000, 0x1000, 0x7fff0000, 0x80000000, 0xfffe0000, 0x40000000, 0x20003000};

class PicoFilter {
 public:
  explicit PicoFilter(uint64_t base) : program_(BuildFilter({.pico_base = base})) {}
  uint32_t Answer(long nr, std::array<uint64_t, 6> arguments) const {
    seccomp_data call{.nr = static_cast<int>(nr), .arch = AUDIT_ARCH_X86_64};
    std::copy(arguments.begin(), arguments.end(), call.args);
    return RunCheckedBpf(program_, call);
  }

 private:
  std::vector<sock_filter> program_;
};

// What the host would touch: the start is page-aligned or refused by it, the length is rounded up.
bool Touches(uint64_t base, uint64_t start, uint64_t length, uint64_t rounding = kPage) {
  const Wide end = Wide{start} + (Wide{length} + rounding - 1) / rounding * rounding;
  return start < base + kPage && end > base;
}

bool TouchesHuge(uint64_t base, uint64_t start, uint64_t length) {
  for (uint64_t rounding : {uint64_t{2} << 20, kHugest}) {
    if (start % rounding == 0 && Touches(base, start, length, rounding)) return true;
  }
  return false;
}

// Values near everything that matters: the page, 4 GiB, the sign bit and the top.
std::vector<uint64_t> InterestingValues(uint64_t base) {
  std::vector<uint64_t> values;
  for (uint64_t center :
       {uint64_t{0}, base, base + kPage, base / 2, uint64_t{1} << 31, uint64_t{1} << 32, (uint64_t{1} << 32) + base,
        (uint64_t{1} << 32) - base, uint64_t{1} << 63, ~uint64_t{0}, ~base + 1, kHugest, uint64_t{2} << 20}) {
    for (int64_t offset : {-8192, -4097, -4096, -4095, -1, 0, 1, 4095, 4096, 4097, 8192}) {
      values.push_back(center + static_cast<uint64_t>(offset));
    }
  }
  return values;
}

TEST(PicoPage, RangeCallsAreRefusedExactlyIfTheyTouchIt) {
  for (uint64_t base : kBases) {
    const PicoFilter filter(base);
    const auto values = InterestingValues(base);
    for (long nr : {SYS_munmap, SYS_mprotect, SYS_madvise, SYS_pkey_mprotect, SYS_remap_file_pages}) {
      for (uint64_t start : values) {
        for (uint64_t length : values) {
          const uint32_t answer = filter.Answer(nr, {start, length});
          if (start % kPage == 0) {
            // A length of 0 from inside the page touches nothing, and is refused as well.
            const bool inside = start >= base && start < base + kPage;
            EXPECT_EQ(answer, Touches(base, start, length) || inside ? kRefused : kAllow)
                << std::hex << base << ' ' << start << ' ' << length;
          } else if (Touches(base, start / kPage * kPage, length / kPage * kPage)) {
            EXPECT_EQ(answer, kRefused);  // remap_file_pages rounds both down
          }
        }
      }
    }
  }
}

TEST(PicoPage, MmapIsRefusedOnlyWithMapFixed) {
  for (uint64_t base : kBases) {
    const PicoFilter filter(base);
    const auto values = InterestingValues(base);
    for (uint64_t start : values) {
      for (uint64_t length : values) {
        auto map = [&](uint64_t flags) { return filter.Answer(SYS_mmap, {start, length, 0, flags, 0, 0}); };
        EXPECT_EQ(map(MAP_PRIVATE | MAP_ANONYMOUS), kAllow);
        // It cannot replace what is there, and the loader maps the page with it.
        EXPECT_EQ(map(MAP_SHARED | MAP_FIXED_NOREPLACE), kAllow);
        if (start % kPage != 0) continue;
        const bool touches = Touches(base, start, length) || (start >= base && start < base + kPage);
        EXPECT_EQ(map(MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED), touches ? kRefused : kAllow);
        // A file, or a huge mapping, has its length rounded up to its page size.
        for (uint64_t flags : {MAP_PRIVATE | MAP_FIXED, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_HUGETLB,
                               MAP_SHARED | MAP_FIXED | MAP_FIXED_NOREPLACE}) {
          const bool huge = TouchesHuge(base, start, length);
          // A length of 0, which the host refuses, may get either answer.
          if (length != 0) {
            EXPECT_EQ(map(flags), touches || huge ? kRefused : kAllow)
                << std::hex << base << ' ' << start << ' ' << length;
          }
        }
      }
    }
  }
}

TEST(PicoPage, MremapIsCheckedOnBothSides) {
  for (uint64_t base : kBases) {
    const PicoFilter filter(base);
    const auto values = InterestingValues(base);
    const uint64_t far = 0x7f0000000000;
    for (uint64_t start : values) {
      if (start % kPage != 0) continue;
      for (uint64_t length : values) {
        const bool touches = Touches(base, start, length) || (start >= base && start < base + kPage);
        EXPECT_EQ(filter.Answer(SYS_mremap, {start, length, kPage, MREMAP_MAYMOVE, 0}), touches ? kRefused : kAllow);
        // The new address is looked at only with MREMAP_FIXED.
        EXPECT_EQ(filter.Answer(SYS_mremap, {far, kPage, length, MREMAP_MAYMOVE, start}), kAllow);
        const uint32_t fixed = filter.Answer(SYS_mremap, {far, kPage, length, MREMAP_MAYMOVE | MREMAP_FIXED, start});
        if (length != 0) {
          EXPECT_EQ(fixed, touches || TouchesHuge(base, start, length) ? kRefused : kAllow);
        }
      }
    }
  }
}

TEST(PicoPage, ShmatCannotReplaceIt) {
  const PicoFilter filter(0x10000);
  const uint32_t invalid = SECCOMP_RET_ERRNO | EINVAL;
  EXPECT_EQ(filter.Answer(SYS_shmat, {1, 0x10000, SHM_REMAP}), invalid);
  EXPECT_EQ(filter.Answer(SYS_shmat, {1, 0x1000, SHM_REMAP | SHM_RND}), invalid);  // the segment may be long
  EXPECT_EQ(filter.Answer(SYS_shmat, {1, 0x10000, SHM_REMAP | (uint64_t{1} << 32)}), invalid);
  EXPECT_EQ(filter.Answer(SYS_shmat, {1, 0x11000, SHM_REMAP}), uint32_t{SECCOMP_RET_USER_NOTIF});
  EXPECT_EQ(filter.Answer(SYS_shmat, {1, 0, 0}), uint32_t{SECCOMP_RET_USER_NOTIF});
}

// Programs linked at 0x400000 are mapped with MAP_FIXED by the loader, wherever the page is.
TEST(PicoPage, FixedProgramsBelowAMovedPageAreMapped) {
  const PicoFilter filter(0x20000000);
  EXPECT_EQ(filter.Answer(SYS_mmap, {0x400000, 0x100000, PROT_READ, MAP_PRIVATE | MAP_FIXED, 3, 0}), kAllow);
}

TEST(PicoPage, RandomRangesAgreeWithTheModel) {
  std::mt19937_64 random(7);
  for (uint64_t base : kBases) {
    const PicoFilter filter(base);
    for (int i = 0; i < 20000; ++i) {
      const uint64_t start = (random() >> (random() % 64)) & ~(kPage - 1), length = random() >> (random() % 64);
      const bool refused = Touches(base, start, length) || (start >= base && start < base + kPage);
      EXPECT_EQ(filter.Answer(SYS_munmap, {start, length}), refused ? kRefused : kAllow)
          << std::hex << base << ' ' << start << ' ' << length;
    }
  }
}

}  // namespace
}  // namespace usl::platform
