#include "kernel/exec/elf.h"

#include <elf.h>
#include <linux/limits.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

namespace usl::kernel::exec {
namespace {

// Linux reads program headers of at most one page.
constexpr size_t kMaxHeaders = kPageSize / sizeof(Elf64_Phdr);
constexpr uint64_t kMaxOffset = std::numeric_limits<int64_t>::max();

constexpr uint64_t PageDown(uint64_t value) {
  return value & ~(kPageSize - 1);
}
constexpr uint64_t PageUp(uint64_t value) {
  return PageDown(value + kPageSize - 1);
}
constexpr uint64_t PageOffset(uint64_t value) {
  return value & (kPageSize - 1);
}

// All of `out`, from the bytes at hand or by `read`. EIO if the file ends before.
Result<> ReadExact(std::span<const std::byte> first_bytes, const ReadAt& read, uint64_t offset,
                   std::span<std::byte> out) {
  if (offset <= first_bytes.size() && out.size() <= first_bytes.size() - offset) {
    std::memcpy(out.data(), first_bytes.data() + offset, out.size());
    return {};
  }
  if (offset > kMaxOffset - out.size()) return Fail(EINVAL);
  const size_t got = USL_TRY(read(offset, out));
  if (got != out.size()) return Fail(EIO);
  return {};
}

uint32_t Protection(uint32_t flags) {
  return (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) | (flags & PF_X ? PROT_EXEC : 0);
}

Result<ElfSegment> CheckLoad(const Elf64_Phdr& header, int error) {
  if (header.p_vaddr >= kTaskSize || header.p_filesz > header.p_memsz || header.p_memsz > kTaskSize ||
      kTaskSize - header.p_memsz < header.p_vaddr) {
    return Fail(error);
  }
  if (header.p_filesz != 0) {
    if (PageOffset(header.p_offset) != PageOffset(header.p_vaddr)) return Fail(error);
    // p_filesz < kTaskSize here, so the subtraction cannot wrap.
    if (header.p_offset > kMaxOffset - header.p_filesz - kPageSize) return Fail(EOVERFLOW);
  }
  return ElfSegment{.offset = header.p_offset,
                    .address = header.p_vaddr,
                    .file_size = header.p_filesz,
                    .memory_size = header.p_memsz,
                    .protection = Protection(header.p_flags)};
}

Result<std::string> ReadInterpreter(std::span<const std::byte> first_bytes, const ReadAt& read,
                                    const Elf64_Phdr& header) {
  if (header.p_filesz < 2 || header.p_filesz > PATH_MAX) return Fail(ENOEXEC);
  std::string path(header.p_filesz, '\0');
  USL_TRY_VOID(ReadExact(first_bytes, read, header.p_offset, std::as_writable_bytes(std::span(path))));
  if (path.back() != '\0') return Fail(ENOEXEC);
  path.resize(std::strlen(path.c_str()));
  return path;
}

struct Headers {
  Elf64_Ehdr elf;
  std::vector<Elf64_Phdr> program;
};

Result<Headers> ReadHeaders(std::span<const std::byte> first_bytes, const ReadAt& read, int error) {
  Headers headers{};
  const auto start = first_bytes.first(std::min(first_bytes.size(), sizeof(headers.elf)));
  std::ranges::copy(start, std::as_writable_bytes(std::span(&headers.elf, 1)).begin());
  const Elf64_Ehdr& elf = headers.elf;
  if (std::memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0) return Fail(error);
  if (elf.e_type != ET_EXEC && elf.e_type != ET_DYN) return Fail(error);
  if (elf.e_machine != EM_X86_64) return Fail(error);
  if (elf.e_phentsize != sizeof(Elf64_Phdr)) return Fail(error);
  if (elf.e_phnum == 0 || elf.e_phnum > kMaxHeaders) return Fail(error);
  headers.program.resize(elf.e_phnum);
  // Linux says the same whatever the read's failure was.
  if (!ReadExact(first_bytes, read, elf.e_phoff, std::as_writable_bytes(std::span(headers.program)))) {
    return Fail(error);
  }
  return headers;
}

void AddLoad(ElfImage& image, const Elf64_Ehdr& elf, const Elf64_Phdr& header, const ElfSegment& segment) {
  const uint64_t start = PageDown(segment.address);
  const uint64_t end = PageUp(segment.address + segment.memory_size);
  image.span_start = image.segments.empty() ? start : std::min(image.span_start, start);
  image.span_end = image.segments.empty() ? end : std::max(image.span_end, end);
  if (std::has_single_bit(header.p_align)) image.alignment = std::max(image.alignment, header.p_align);
  if (elf.e_phoff >= segment.offset && elf.e_phoff - segment.offset < segment.file_size) {
    image.phdr = elf.e_phoff - segment.offset + segment.address;
  }
  image.segments.push_back(segment);
}

}  // namespace

Result<ElfImage> ParseElf(std::span<const std::byte> first_bytes, const ReadAt& read, ElfRole role) {
  const bool program = role == ElfRole::kProgram;
  const int bad_format = program ? ENOEXEC : ELIBBAD;
  const int bad_load = program ? EINVAL : ENOMEM;
  const Headers headers = USL_TRY(ReadHeaders(first_bytes, read, bad_format));

  ElfImage image;
  image.fixed = headers.elf.e_type == ET_EXEC;
  image.entry = headers.elf.e_entry;
  image.phnum = headers.elf.e_phnum;
  for (const Elf64_Phdr& header : headers.program) {
    if (header.p_type == PT_INTERP && program && !image.interpreter) {
      image.interpreter = USL_TRY(ReadInterpreter(first_bytes, read, header));
    } else if (header.p_type == PT_GNU_STACK) {
      image.executable_stack = (header.p_flags & PF_X) != 0;
    }
  }
  for (const Elf64_Phdr& header : headers.program) {
    if (header.p_type != PT_LOAD) continue;
    if (image.segments.size() == protocol::kMaxSegments) return Fail(bad_format);
    AddLoad(image, headers.elf, header, USL_TRY(CheckLoad(header, bad_load)));
  }
  if (image.segments.empty() || image.span_start == image.span_end) return Fail(bad_load);
  // An alignment that no address but 0 has.
  if (image.alignment >= kTaskSize && !image.fixed) return Fail(bad_load);
  // With an interpreter the program's own entry is only a number for it (AT_ENTRY).
  if (!image.interpreter && image.entry >= kTaskSize) return Fail(bad_load);
  return image;
}

uint64_t ChooseHint(const ElfImage& image, uint64_t random) {
  constexpr uint64_t kDynBase = 0x555555554000;
  constexpr uint64_t kBrkRoom = uint64_t{4} << 30;
  constexpr uint64_t kRange = uint64_t{1} << 40;
  if (image.fixed || !image.interpreter) return 0;
  const uint64_t page = random % ((kRange - kBrkRoom) / kPageSize);
  const uint64_t lowest = kDynBase + kBrkRoom + page * kPageSize;
  // Upwards, to stay clear of the brk area; modulo 2^64 where the lowest segment lies higher than that.
  return (lowest - image.span_start + image.alignment - 1) & ~(image.alignment - 1);
}

Result<> FillImage(const ElfImage& image, uint64_t pico_base, uint64_t hint, protocol::ExecImage& out) {
  if (image.segments.size() > protocol::kMaxSegments) return Fail(ENOEXEC);
  out = {};
  out.fd = -1;
  out.fixed = image.fixed ? 1 : 0;
  out.hint = image.fixed ? 0 : hint;
  out.alignment = image.fixed ? kPageSize : image.alignment;
  out.span_start = image.span_start;
  out.span_end = image.span_end;
  out.entry = image.entry;
  out.phdr = image.phdr;
  out.phnum = image.phnum;
  for (const ElfSegment& from : image.segments) {
    protocol::ExecSegment to{};
    to.address = PageDown(from.address);
    to.protection = from.protection;
    const uint64_t file_end = from.address + from.file_size;
    const uint64_t memory_end = PageUp(from.address + from.memory_size);
    uint64_t mapped_end = to.address;
    if (from.file_size != 0) {
      mapped_end = PageUp(file_end);
      to.map_length = mapped_end - to.address;
      to.file_offset = PageDown(from.offset);
      // Linux clears to the end of the page, even beyond p_memsz, and gives up silently if it cannot write there.
      if (from.memory_size > from.file_size && (from.protection & PROT_WRITE)) {
        to.zero_start = file_end;
        to.zero_end = mapped_end;
      }
    }
    to.anon_length = from.memory_size > from.file_size && memory_end > mapped_end ? memory_end - mapped_end : 0;
    if (to.map_length == 0 && to.anon_length == 0) continue;
    if (image.fixed) {
      const uint64_t end = std::max(mapped_end, memory_end);
      if (to.address < kMinAddress) return Fail(EPERM);
      if (to.address < pico_base + protocol::kPicoSize && end > pico_base) return Fail(ENOMEM);
    }
    out.segments[out.segment_count++] = to;
  }
  return {};
}

}  // namespace usl::kernel::exec
