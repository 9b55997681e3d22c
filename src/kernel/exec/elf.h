// ELF64 files as Linux's fs/binfmt_elf.c reads them (elf(5), execve(2)): from hostile bytes to a list of mappings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "protocol/exec_plan.h"

namespace usl::kernel::exec {

inline constexpr uint64_t kPageSize = 4096;
// End of the user's address space (x86-64, four-level page tables).
inline constexpr uint64_t kTaskSize = 0x7FFFFFFFF000;
// The host's vm.mmap_min_addr by default: a fixed image cannot lie lower.
inline constexpr uint64_t kMinAddress = 0x10000;

// Reads up to `out.size()` bytes at `offset` of the file; returns how many there were (0 at its end). Errors as
// pread(2).
using ReadAt = std::function<Result<size_t>(uint64_t offset, std::span<std::byte> out)>;

// What the file is read as. The errors differ: a bad program is ENOEXEC (another format may know it), a bad
// interpreter ELIBBAD.
enum class ElfRole { kProgram, kInterpreter };

// One PT_LOAD, checked: file_size <= memory_size, address + memory_size <= kTaskSize, offset congruent to address
// modulo the page size where there is a file part, offset + file_size (page-aligned) fits a loff_t.
struct ElfSegment {
  uint64_t offset;
  uint64_t address;
  uint64_t file_size;
  uint64_t memory_size;
  uint32_t protection;  // PROT_*
};

struct ElfImage {
  bool fixed = false;  // ET_EXEC
  uint64_t entry = 0;
  uint64_t phdr = 0;  // address of the program headers in memory, relative to the base; 0 = not mapped
  uint64_t phnum = 0;
  uint64_t alignment = kPageSize;  // the greatest power-of-two p_align of all PT_LOADs, at least a page
  uint64_t span_start = 0;         // lowest page of all segments
  uint64_t span_end = 0;
  bool executable_stack = false;  // PT_GNU_STACK with PF_X
  std::optional<std::string>
      interpreter;  // PT_INTERP, up to its first NUL; may be empty (EACCES: Linux takes "" for the cwd)
  std::vector<ElfSegment> segments;  // 1 to protocol::kMaxSegments
};

// Parses the file whose first bytes (best 4096 of them; missing ones count as zeros, as in Linux's bprm->buf) are
// given; `read` is called for what lies beyond. Errors, with those of an interpreter in brackets:
//   ENOEXEC [ELIBBAD]  no ELF, other machine or type, phentsize or phnum out of bounds (1..73), headers not readable,
//                      more than kMaxSegments PT_LOADs, PT_INTERP shorter than 2, longer than PATH_MAX or not
//                      terminated
//   EIO                the file ends within PT_INTERP
//   EINVAL [ENOMEM]    PT_LOAD outside the address space, p_filesz > p_memsz, offset not congruent, no PT_LOAD at all,
//                      entry outside the address space
//   EOVERFLOW          the file part lies beyond the greatest file offset
//   others             as `read` gives them
// EI_CLASS and EI_DATA are not looked at, as on Linux: other classes fail by e_machine or e_phentsize.
Result<ElfImage> ParseElf(std::span<const std::byte> first_bytes, const ReadAt& read, ElfRole role = ElfRole::kProgram);

// Where a position-independent program with an interpreter goes: Linux's ELF_ET_DYN_BASE + 4 GiB (the brk area starts
// at that base) + up to 1 TiB, by `random` (any 64 bits; 0 for a task without randomisation). 0 (anywhere, among the
// mmaps, as Linux does it) for a program without an interpreter and for interpreters; 0 for fixed images.
uint64_t ChooseHint(const ElfImage& image, uint64_t random);

// Fills the loader's order; `out.fd` becomes -1. Errors: ENOMEM if a fixed image overlaps the pico page, EPERM if
// it lies below kMinAddress (as mmap(2) says there).
Result<> FillImage(const ElfImage& image, uint64_t pico_base, uint64_t hint, protocol::ExecImage& out);

}  // namespace usl::kernel::exec
