#include "kernel/exec/elf.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <random>

#include "kernel/exec/plan.h"

namespace usl::kernel::exec {
namespace {

constexpr uint64_t kPico = protocol::kDefaultPicoBase;
constexpr char kInterp[] = "/lib64/ld.so";

// A small but complete file: PT_PHDR's place, PT_INTERP, text, data with bss, PT_GNU_STACK.
struct File {
  Elf64_Ehdr header{};
  Elf64_Phdr interp{}, text{}, data{}, stack{};
  char path[sizeof(kInterp)];

  File() {
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_DYN;
    header.e_machine = EM_X86_64;
    header.e_entry = 0x100;
    header.e_phoff = sizeof(Elf64_Ehdr);
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 4;
    std::memcpy(path, kInterp, sizeof(path));
    interp = {.p_type = PT_INTERP, .p_flags = PF_R, .p_offset = offsetof(File, path), .p_filesz = sizeof(path)};
    text = {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_filesz = 0x1000, .p_memsz = 0x1000, .p_align = 0x1000};
    data = {.p_type = PT_LOAD,
            .p_flags = PF_R | PF_W,
            .p_offset = 0x1010,
            .p_vaddr = 0x3010,
            .p_filesz = 0x20,
            .p_memsz = 0x2000,
            .p_align = 0x1000};
    stack = {.p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W};
  }
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(this, 1)); }
};

ReadAt Reader(std::span<const std::byte> file) {
  return [file](uint64_t offset, std::span<std::byte> out) -> Result<size_t> {
    if (offset >= file.size()) return 0;
    const auto part = file.subspan(offset, std::min<size_t>(out.size(), file.size() - offset));
    std::ranges::copy(part, out.begin());
    return part.size();
  };
}

Result<ElfImage> Parse(const File& file, ElfRole role = ElfRole::kProgram) {
  return ParseElf(file.bytes(), Reader(file.bytes()), role);
}

int ErrorOf(const auto& result) {
  return result ? 0 : result.error().code();
}

TEST(ElfTest, ReadsASmallProgram) {
  const auto image = Parse(File());
  ASSERT_TRUE(image);
  EXPECT_FALSE(image->fixed);
  EXPECT_FALSE(image->executable_stack);
  EXPECT_EQ(*image->interpreter, kInterp);
  EXPECT_EQ(image->span_start, 0u);
  EXPECT_EQ(image->span_end, 0x6000u);
  EXPECT_EQ(image->phdr, sizeof(Elf64_Ehdr));

  protocol::ExecImage plan;
  ASSERT_TRUE(FillImage(*image, kPico, 0x555555554000, plan));
  ASSERT_EQ(plan.segment_count, 2u);
  EXPECT_TRUE(IsWellFormed(plan));
  const auto& data = plan.segments[1];
  EXPECT_EQ(data.address, 0x3000u);
  EXPECT_EQ(data.map_length, 0x1000u);
  EXPECT_EQ(data.file_offset, 0x1000u);
  EXPECT_EQ(data.zero_start, 0x3030u);
  EXPECT_EQ(data.zero_end, 0x4000u);
  EXPECT_EQ(data.anon_length, 0x2000u);
  EXPECT_EQ(data.protection, uint32_t{PROT_READ | PROT_WRITE});
}

TEST(ElfTest, HeadersMayLieAnywhereInTheFile) {
  const File file;
  std::vector<std::byte> moved(0x20000);
  std::ranges::copy(file.bytes(), moved.begin());
  std::memcpy(moved.data() + 0x12345, &file.interp, 4 * sizeof(Elf64_Phdr));
  const uint64_t offset = 0x12345;
  std::memcpy(moved.data() + offsetof(Elf64_Ehdr, e_phoff), &offset, sizeof(offset));
  std::memset(moved.data() + sizeof(Elf64_Ehdr), 0xFF, 4 * sizeof(Elf64_Phdr));
  const auto image = ParseElf(std::span(moved).first(256), Reader(moved));
  ASSERT_TRUE(image);
  EXPECT_EQ(image->segments.size(), 2u);
  EXPECT_EQ(image->phdr, 0u);
}

TEST(ElfTest, BssOfAReadOnlySegmentIsNotCleared) {
  File file;
  file.data.p_flags = PF_R;
  protocol::ExecImage plan;
  ASSERT_TRUE(FillImage(*Parse(file), kPico, 0, plan));
  EXPECT_EQ(plan.segments[1].zero_start, plan.segments[1].zero_end);
  EXPECT_EQ(plan.segments[1].anon_length, 0x2000u);
}

TEST(ElfTest, SegmentWithoutFilePartIsAnonymous) {
  File file;
  file.data.p_filesz = 0;
  file.data.p_offset = 0x7;  // not congruent, and that does not matter
  protocol::ExecImage plan;
  ASSERT_TRUE(FillImage(*Parse(file), kPico, 0, plan));
  EXPECT_EQ(plan.segments[1].map_length, 0u);
  EXPECT_EQ(plan.segments[1].anon_length, 0x3000u);
}

TEST(ElfTest, FormatErrorsDifferByRole) {
  const auto expect_bad = [](auto change) {
    File file;
    change(file);
    EXPECT_EQ(ErrorOf(Parse(file)), ENOEXEC);
    EXPECT_EQ(ErrorOf(Parse(file, ElfRole::kInterpreter)), ELIBBAD);
  };
  expect_bad([](File& f) { f.header.e_ident[0] = 0; });
  expect_bad([](File& f) { f.header.e_type = ET_REL; });
  expect_bad([](File& f) { f.header.e_machine = EM_386; });
  expect_bad([](File& f) { f.header.e_machine = EM_AARCH64; });
  expect_bad([](File& f) { f.header.e_phentsize = sizeof(Elf32_Phdr); });
  expect_bad([](File& f) { f.header.e_phnum = 0; });
  expect_bad([](File& f) { f.header.e_phnum = 74; });
  expect_bad([](File& f) { f.header.e_phnum = 0xFFFF; });
  expect_bad([](File& f) { f.header.e_phoff = UINT64_MAX; });
  expect_bad([](File& f) { f.header.e_phoff = INT64_MAX; });
  expect_bad([](File& f) { f.header.e_phoff = sizeof(File) - 1; });
  EXPECT_EQ(ErrorOf(ParseElf({}, Reader({}))), ENOEXEC);
}

TEST(ElfTest, InterpreterPathIsChecked) {
  const auto error = [](auto change) {
    File file;
    change(file);
    return ErrorOf(Parse(file));
  };
  EXPECT_EQ(error([](File& f) { f.interp.p_filesz = 1; }), ENOEXEC);
  EXPECT_EQ(error([](File& f) { f.interp.p_filesz = 0; }), ENOEXEC);
  EXPECT_EQ(error([](File& f) { f.interp.p_filesz = 4097; }), ENOEXEC);
  EXPECT_EQ(error([](File& f) { f.interp.p_filesz = UINT64_MAX; }), ENOEXEC);
  EXPECT_EQ(error([](File& f) { f.interp.p_filesz = 4096; }), EIO);
  EXPECT_EQ(error([](File& f) { f.interp.p_filesz -= 1; }), ENOEXEC);  // no NUL at its end
  EXPECT_EQ(error([](File& f) { f.interp.p_offset = UINT64_MAX; }), EINVAL);
  EXPECT_EQ(error([](File& f) { f.interp.p_offset = INT64_MAX; }), EINVAL);
  EXPECT_EQ(error([](File& f) { f.interp.p_offset = sizeof(File) - 1; }), EIO);
  File empty;
  empty.path[0] = '\0';
  EXPECT_EQ(*Parse(empty)->interpreter, "");
}

TEST(ElfTest, OnlyTheFirstInterpreterCounts) {
  File file;
  file.stack = file.interp;
  file.stack.p_filesz = 1;
  EXPECT_TRUE(Parse(file));
}

TEST(ElfTest, SegmentsOutsideTheAddressSpaceAreRefused) {
  const auto expect_bad = [](auto change) {
    File file;
    change(file.data);
    EXPECT_EQ(ErrorOf(Parse(file)), EINVAL);
    EXPECT_EQ(ErrorOf(Parse(file, ElfRole::kInterpreter)), ENOMEM);
  };
  expect_bad([](Elf64_Phdr& p) { p.p_filesz = p.p_memsz + 1; });
  expect_bad([](Elf64_Phdr& p) { p.p_filesz = p.p_memsz = UINT64_MAX; });
  expect_bad([](Elf64_Phdr& p) { p.p_memsz = UINT64_MAX; });
  expect_bad([](Elf64_Phdr& p) { p.p_memsz = kTaskSize - 0x300F; });
  expect_bad([](Elf64_Phdr& p) { p.p_vaddr = kTaskSize + 0x10; });
  expect_bad([](Elf64_Phdr& p) { p.p_vaddr = UINT64_MAX; });
  expect_bad([](Elf64_Phdr& p) { p.p_vaddr += 1; });  // not congruent
  expect_bad([](Elf64_Phdr& p) { p.p_offset += 1; });
  expect_bad([](Elf64_Phdr& p) { p.p_align = uint64_t{1} << 62; });
  File file;
  file.data.p_offset = INT64_MAX - 0xFEF;
  EXPECT_EQ(ErrorOf(Parse(file)), EOVERFLOW);
  file.data.p_offset = UINT64_MAX - 0xFEF;
  EXPECT_EQ(ErrorOf(Parse(file)), EOVERFLOW);
}

TEST(ElfTest, TheLastByteOfTheAddressSpaceIsGood) {
  File file;
  file.data.p_memsz = kTaskSize - 0x3010;
  const auto image = Parse(file);
  ASSERT_TRUE(image);
  EXPECT_EQ(image->span_end, kTaskSize);
  protocol::ExecImage plan;
  ASSERT_TRUE(FillImage(*image, kPico, 0, plan));
  EXPECT_TRUE(IsWellFormed(plan));
}

TEST(ElfTest, AProgramNeedsASegmentAndAnEntry) {
  File file;
  file.text.p_type = file.data.p_type = PT_NULL;
  EXPECT_EQ(ErrorOf(Parse(file)), EINVAL);
  file = File();
  file.header.e_entry = UINT64_MAX;
  EXPECT_TRUE(Parse(file));  // only a number for the interpreter
  EXPECT_EQ(ErrorOf(Parse(file, ElfRole::kInterpreter)), ENOMEM);
  file.interp.p_type = PT_NULL;
  EXPECT_EQ(ErrorOf(Parse(file)), EINVAL);
}

TEST(ElfTest, FixedImagesStayClearOfThePicoPage) {
  File file;
  file.header.e_type = ET_EXEC;
  protocol::ExecImage plan;
  const auto fill = [&](uint64_t text, uint64_t data) {
    file.text.p_vaddr = text;
    file.data.p_vaddr = data + 0x10;
    return ErrorOf(FillImage(*Parse(file), kPico, 1, plan));
  };
  EXPECT_EQ(fill(0x400000, 0x401000), 0);
  EXPECT_EQ(plan.hint, 0u);
  EXPECT_EQ(plan.fixed, 1u);
  EXPECT_EQ(fill(0, 0x401000), EPERM);
  EXPECT_EQ(fill(0xF000, 0x401000), EPERM);
  EXPECT_EQ(fill(0x10000, 0x401000), ENOMEM);
  EXPECT_EQ(fill(0x11000, 0x401000), 0);
  const auto moved = [&] { return ErrorOf(FillImage(*Parse(file), 0x402000, 0, plan)); };
  file.data.p_vaddr = 0x401010;
  EXPECT_EQ(moved(), ENOMEM);  // by its bss
  file.data.p_memsz = 0xFF0;
  EXPECT_EQ(moved(), 0);
}

TEST(ElfTest, StackAlignmentAndHint) {
  File file;
  file.stack.p_flags = PF_R | PF_W | PF_X;
  file.data.p_align = 0x200000;
  file.text.p_align = 0x300000;  // no power of two: ignored
  const auto image = Parse(file);
  EXPECT_TRUE(image->executable_stack);
  EXPECT_EQ(image->alignment, 0x200000u);
  for (const uint64_t random : {uint64_t{0}, uint64_t{1}, uint64_t{0x123456789ABCDEF0}, UINT64_MAX}) {
    const uint64_t hint = ChooseHint(*image, random);
    EXPECT_EQ(hint % 0x200000, 0u);
    EXPECT_GE(hint, 0x555555554000 + (uint64_t{4} << 30));
    EXPECT_LT(hint, 0x555555554000 + (uint64_t{1} << 40) + 0x200000);
  }
  EXPECT_NE(ChooseHint(*image, 1), ChooseHint(*image, 1000000));
  file.interp.p_type = PT_NULL;
  EXPECT_EQ(ChooseHint(*Parse(file), 5), 0u);
}

TEST(ElfTest, MoreSegmentsThanThePlanHolds) {
  std::vector<std::byte> bytes(4096);
  File file;
  file.header.e_phnum = protocol::kMaxSegments + 1;
  std::memcpy(bytes.data(), &file.header, sizeof(file.header));
  for (int i = 0; i <= protocol::kMaxSegments; ++i) {
    std::memcpy(bytes.data() + sizeof(Elf64_Ehdr) + i * sizeof(Elf64_Phdr), &file.text, sizeof(Elf64_Phdr));
  }
  EXPECT_EQ(ErrorOf(ParseElf(bytes, Reader(bytes))), ENOEXEC);
  const uint16_t fits = protocol::kMaxSegments;
  std::memcpy(bytes.data() + offsetof(Elf64_Ehdr, e_phnum), &fits, sizeof(fits));
  EXPECT_TRUE(ParseElf(bytes, Reader(bytes)));
}

TEST(ElfTest, ReadErrorsOfTheFileArePassedOnForTheInterpreterPath) {
  File file;
  file.interp.p_offset = 0x10000;
  const auto fails = [](uint64_t, std::span<std::byte>) -> Result<size_t> { return Fail(ESTALE); };
  EXPECT_EQ(ErrorOf(ParseElf(file.bytes(), fails)), ESTALE);
}

// Whatever the bytes are: an error, or a plan that keeps its bounds.
void CheckAnyFile(std::span<const std::byte> bytes) {
  for (const ElfRole role : {ElfRole::kProgram, ElfRole::kInterpreter}) {
    const auto image = ParseElf(bytes.first(std::min<size_t>(bytes.size(), 256)), Reader(bytes), role);
    if (!image) {
      ASSERT_GT(image.error().code(), 0);
      continue;
    }
    protocol::ExecImage plan;
    if (!FillImage(*image, kPico, ChooseHint(*image, 12345), plan)) continue;
    ASSERT_TRUE(IsWellFormed(plan));
    for (uint32_t i = 0; plan.fixed && i < plan.segment_count; ++i) {
      const auto& segment = plan.segments[i];
      const uint64_t end = segment.address + segment.map_length + segment.anon_length;
      ASSERT_TRUE(end <= kPico || segment.address >= kPico + protocol::kPicoSize);
    }
  }
}

TEST(ElfTest, EveryTruncationIsHandled) {
  const File file;
  for (size_t size = 0; size <= sizeof(file); ++size) CheckAnyFile(file.bytes().first(size));
}

TEST(ElfTest, EveryFieldAtItsExtremes) {
  const uint64_t values[] = {0,
                             1,
                             0xFFF,
                             0x1000,
                             0x7FFFFFFF,
                             0x80000000,
                             0xFFFFFFFF,
                             kTaskSize - 1,
                             kTaskSize,
                             kTaskSize + 1,
                             INT64_MAX,
                             uint64_t{1} << 63,
                             UINT64_MAX - 0xFFF,
                             UINT64_MAX};
  for (size_t at = 0; at < offsetof(File, path); ++at) {
    for (const uint64_t value : values) {
      for (const size_t width : {1u, 2u, 4u, 8u}) {
        if (at + width > sizeof(File)) continue;
        File file;
        std::memcpy(reinterpret_cast<std::byte*>(&file) + at, &value, width);
        ASSERT_NO_FATAL_FAILURE(CheckAnyFile(file.bytes()));
      }
    }
  }
}

TEST(ElfTest, RandomMutationsKeepTheBounds) {
  std::mt19937_64 random(20240607);
  for (int round = 0; round < 100'000; ++round) {
    File file;
    if (round % 2) file.header.e_type = ET_EXEC, file.text.p_vaddr = 0x400000, file.data.p_vaddr = 0x403010;
    auto* bytes = reinterpret_cast<std::byte*>(&file);
    for (uint64_t n = random() % 6 + 1; n > 0; --n) {
      const size_t at = random() % sizeof(File);
      uint64_t value = random() >> (random() % 64);
      if (random() % 4 == 0) value = ~value;
      std::memcpy(bytes + at, &value, std::min<size_t>(size_t{1} << (random() % 4), sizeof(File) - at));
    }
    ASSERT_NO_FATAL_FAILURE(CheckAnyFile(file.bytes().first(random() % 8 ? sizeof(File) : random() % sizeof(File))));
  }
}

}  // namespace
}  // namespace usl::kernel::exec
