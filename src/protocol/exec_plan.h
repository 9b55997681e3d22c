// What the kernel tells the loader about the image that it is to start: the answer to the loader's one hypercall.
//
// The way of an exec (ARCHITECTURE.md tells it whole): the guest's execve notifies; the kernel checks it, opens the
// image and its interpreter by the guest's paths, keeps them as the thread group's pending exec and makes the task call
// execve(pico page, argv, envp) natively, which starts the loader. The loader makes the hypercall
//     execve(kPicoBase + kHypercallOffset, &plan, sizeof plan)
// an execve because a guest's own seccomp filter that let the exec pass lets this pass too. The kernel answers with the
// plan below and donated fds; the loader maps, fixes the stack and jumps.
//
// Freestanding: the loader includes this too. No pointers, fixed layout, both sides are built from one tree.
#pragma once

#include <cstdint>

namespace usl::protocol {

inline constexpr uint32_t kExecPlanVersion = 3;

// Default address of the pico page: the lowest mappable one under vm.mmap_min_addr's default. The loader learns the
// real one from the hexadecimal digits behind the last '-' of its own path (AT_EXECFN), e.g. ".../loader-10000".
inline constexpr uint64_t kDefaultPicoBase = 0x10000;
inline constexpr uint64_t kPicoSize = 0x1000;
// Offsets in the pico page. The page starts with the loader's absolute host path, NUL-terminated.
inline constexpr uint64_t kPicoPathMax = 0x400;
inline constexpr uint64_t kPicoStubOffset = 0x800;    // exec stub for tasks that a guest debugger traces
inline constexpr uint64_t kPicoLeaveOffset = 0xC00;   // munmap(rdi, rsi); clear registers; rsp = rbp; jump to rbx
inline constexpr uint64_t kPicoReturnOffset = 0xD00;  // munmap(rdi, rsi); rsp = rbp; rt_sigreturn
inline constexpr uint64_t kPicoFollowOffset = 0xE00;  // a tracer lets its tracee finish an exec
inline constexpr uint64_t kPicoSignalOffset = 0xF00;  // the signal trampoline, a handler
inline constexpr uint64_t kPicoRestartMapOffset = 0xF80;
inline constexpr uint64_t kPicoRestartMapSize = 64;
inline constexpr uint64_t kHypercallOffset = 0xFF8;  // first argument of the hypercall: never a readable path

inline constexpr int kMaxSegments = 32;  // PT_LOADs for each image; more is ENOEXEC
inline constexpr int kMaxAuxPatches = 16;
inline constexpr int kMaxPrefixArgs = 16;   // arguments put in front, for scripts (nested `#!` and binfmt_misc)
inline constexpr int kPlanStrings = 12288;  // execfn and prefix arguments, each NUL-terminated

// One PT_LOAD, already checked and page-aligned by the kernel. Addresses are relative to the image's base.
struct ExecSegment {
  uint64_t address;      // page-aligned
  uint64_t map_length;   // bytes mapped from the file, page-aligned up; 0 = no file part
  uint64_t file_offset;  // page-aligned
  uint64_t zero_start;   // first byte to clear in the last file page; == zero_end if none
  uint64_t zero_end;     // page-aligned end of that page
  uint64_t anon_length;  // bytes of anonymous memory after map_length, page-aligned
  uint32_t protection;   // PROT_*
  uint32_t reserved;
};

struct ExecImage {
  int32_t fd;  // donated; the loader closes it; -1 = no image
  uint32_t segment_count;
  uint64_t fixed;       // 1: ET_EXEC, addresses are absolute; 0: the loader chooses a base
  uint64_t hint;        // wanted base of a position-independent image; 0 = anywhere
  uint64_t alignment;   // of the base, a power of two >= 4096
  uint64_t span_start;  // lowest page of all segments (relative)
  uint64_t span_end;    // highest (relative)
  uint64_t entry;       // relative; the loader adds the base
  uint64_t phdr;        // relative address of the program headers in memory; 0 = not mapped
  uint64_t phnum;
  ExecSegment segments[kMaxSegments];
};

struct AuxPatch {
  uint64_t type;  // AT_UID, AT_EUID, AT_GID, AT_EGID, AT_SECURE...: the entry's value is replaced where it exists
  uint64_t value;
};

enum ExecPlanFlags : uint32_t {
  kPlanExecutableStack = 1,  // PT_GNU_STACK with PF_X
  // All signals are blocked since before the native exec: a debugger's exec stop (SIGTRAP) waits until the loader has
  // done its work. It starts the program by rt_sigreturn, which sets `signal_mask` and all registers in one step.
  kPlanRestoreSignalMask = 2,
};

struct ExecPlan {
  uint32_t version;
  uint32_t flags;
  int32_t pico_fd;  // donated; mapped MAP_SHARED|MAP_FIXED_NOREPLACE, PROT_READ|PROT_EXEC at the pico base, then closed
  // Donated and kept open: the binary that an interpreter of binfmt_misc is to read (AT_EXECFD); or -1.
  int32_t exec_fd;
  uint32_t aux_count;
  uint32_t prefix_count;   // arguments put in front of argv
  uint32_t drop_count;     // arguments dropped from the front of argv first (1 for scripts: argv[0]), if present
  uint32_t strings_size;   // bytes used of `strings`
  uint32_t execfn_offset;  // AT_EXECFN, in `strings`
  uint32_t prefix_offsets[kMaxPrefixArgs];
  int32_t fast_fd;        // donated; mapped as protocol/fast_path.h says, then closed; -1 = no fast path
  uint64_t fast_address;  // where: page-aligned
  uint64_t signal_mask;   // what the program starts with blocked, where kPlanRestoreSignalMask is set
  char comm[16];          // NUL-terminated; set with PR_SET_NAME
  AuxPatch aux[kMaxAuxPatches];
  ExecImage image;        // the program (or a script's interpreter)
  ExecImage interpreter;  // its PT_INTERP
  char strings[kPlanStrings];
};
static_assert(sizeof(ExecSegment) == 56);

}  // namespace usl::protocol
