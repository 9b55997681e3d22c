// The loader: the one program that the host's kernel ever executes for a guest. It asks the USL kernel for a plan, maps
// the pico page and the guest's image, makes the stack look as if the host had started that image, removes itself and
// jumps. See protocol/exec_plan.h for the plan and freestanding.h for what must not be used here.
#include <asm/sigcontext.h>
#include <asm/signal.h>
#include <asm/ucontext.h>
#include <asm/unistd_64.h>
#include <elf.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/signal.h>

#include "platform/loader/image/freestanding.h"
#include "protocol/exec_plan.h"
#include "protocol/fast_path.h"

extern "C" {
// Made by the linker: the first and the last byte of this program in memory.
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));
[[noreturn]] __attribute__((visibility("hidden"), used)) void UslLoaderMain(uint64_t* stack);
}

namespace usl::platform::loader {
namespace {

using protocol::ExecImage;
using protocol::ExecPlan;
using protocol::ExecSegment;

ExecPlan plan;

// The stack as the host's kernel left it.
struct Vectors {
  uint64_t argc;
  uint64_t* argv;
  Elf64_auxv_t* aux;
  Elf64_auxv_t* aux_end;  // behind AT_NULL
  char* execfn;           // the loader's own host path
};

bool IsError(int64_t result) {
  return result < 0 && result >= -4095;
}

uint64_t Map(uint64_t address, uint64_t length, uint64_t protection, uint64_t flags, int fd, uint64_t offset) {
  const int64_t result =
      Syscall(__NR_mmap, address, length, protection, flags, static_cast<uint64_t>(int64_t{fd}), offset);
  if (IsError(result)) Die();
  return static_cast<uint64_t>(result);
}

Vectors ReadVectors(uint64_t* stack) {
  Vectors vectors{};
  vectors.argc = stack[0];
  vectors.argv = stack + 1;
  uint64_t* word = vectors.argv + vectors.argc + 1;
  while (*word != 0) ++word;
  vectors.aux = reinterpret_cast<Elf64_auxv_t*>(word + 1);
  Elf64_auxv_t* entry = vectors.aux;
  for (; entry->a_type != AT_NULL; ++entry) {
    if (entry->a_type == AT_EXECFN) vectors.execfn = reinterpret_cast<char*>(entry->a_un.a_val);
  }
  vectors.aux_end = entry + 1;
  return vectors;
}

// The hexadecimal digits behind the last '-' of the path, or the default for a path that does not end so (a loader
// started as /proc/PID/fd/N has no name to carry them).
uint64_t PicoBase(const char* path) {
  const char* digits = nullptr;
  for (const char* at = path; *at != '\0'; ++at) {
    if (*at == '-') digits = at + 1;
  }
  if (digits == nullptr || *digits == '\0') return protocol::kDefaultPicoBase;
  uint64_t base = 0;
  for (; *digits != '\0'; ++digits) {
    const char digit = *digits;
    if (digit >= '0' && digit <= '9') {
      base = base * 16 + static_cast<uint64_t>(digit - '0');
    } else if (digit >= 'a' && digit <= 'f') {
      base = base * 16 + static_cast<uint64_t>(digit - 'a' + 10);
    } else {
      return protocol::kDefaultPicoBase;
    }
  }
  return base != 0 && base % kPage == 0 ? base : protocol::kDefaultPicoBase;
}

// Finds room for a position-independent image and returns its base. The room is given back at once, so that the holes
// between segments stay unmapped as on Linux; nothing else runs in this process that could take it.
uint64_t FindBase(const ExecImage& image) {
  const uint64_t span = image.span_end - image.span_start;
  const uint64_t flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  if (image.hint != 0) {
    const uint64_t wanted = image.hint + image.span_start;
    const int64_t got = Syscall(__NR_mmap, wanted, span, PROT_NONE, flags | MAP_FIXED_NOREPLACE, ~uint64_t{0}, 0);
    if (!IsError(got)) {
      Syscall(__NR_munmap, static_cast<uint64_t>(got), span);
      if (static_cast<uint64_t>(got) == wanted) return image.hint;
    }
  }
  const uint64_t length = span + image.alignment - kPage;
  const uint64_t room = Map(0, length, PROT_NONE, flags, -1, 0);
  Syscall(__NR_munmap, room, length);
  // Modulo 2^64 on purpose: a base may be "negative" where the lowest segment lies high.
  return (room - image.span_start + image.alignment - 1) & ~(image.alignment - 1);
}

void MapSegment(const ExecImage& image, const ExecSegment& segment, uint64_t base, uint64_t fixed_flag) {
  const uint64_t start = base + segment.address;
  if (segment.map_length != 0) {
    Map(start, segment.map_length, segment.protection, MAP_PRIVATE | fixed_flag, image.fd, segment.file_offset);
    if (segment.zero_end > segment.zero_start) {
      Zero(reinterpret_cast<void*>(base + segment.zero_start), segment.zero_end - segment.zero_start);
    }
  }
  if (segment.anon_length != 0) {
    // Linux makes the memory behind the file part writable whatever the segment says (vm_brk_flags in its elf_load).
    const uint64_t protection = PROT_READ | PROT_WRITE | (segment.protection & PROT_EXEC);
    Map(start + segment.map_length, segment.anon_length, protection, MAP_PRIVATE | MAP_ANONYMOUS | fixed_flag, -1, 0);
  }
}

// Maps all of an image, closes its fd and returns its base.
uint64_t MapImage(const ExecImage& image) {
  const uint64_t base = image.fixed ? 0 : FindBase(image);
  uint64_t mapped_end = 0;
  for (uint32_t i = 0; i < image.segment_count; ++i) {
    const ExecSegment& segment = image.segments[i];
    // Segments of one image may share pages: the later one wins, as on Linux.
    const bool replace = !image.fixed || segment.address < mapped_end;
    MapSegment(image, segment, base, replace ? MAP_FIXED : MAP_FIXED_NOREPLACE);
    const uint64_t end = segment.address + segment.map_length + segment.anon_length;
    if (end > mapped_end) mapped_end = end;
  }
  Syscall(__NR_close, static_cast<uint64_t>(image.fd));
  return base;
}

// The fast path's range. Where something stands already there is no fast path: the kernel looks before it uses it.
void MapFastPath() {
  if (plan.fast_fd < 0) return;
  const uint64_t fd = static_cast<uint64_t>(int64_t{plan.fast_fd});
  const uint64_t code = plan.fast_address + usl::protocol::kFastAreaSize;
  const uint64_t table = code + usl::protocol::kFastCodeSize;
  const uint64_t place = MAP_FIXED_NOREPLACE;
  Syscall(__NR_mmap, plan.fast_address, usl::protocol::kFastAreaSize, PROT_READ | PROT_EXEC,
          MAP_PRIVATE | MAP_ANONYMOUS | place, ~uint64_t{0}, 0);
  Syscall(__NR_mmap, code, usl::protocol::kFastCodeSize, PROT_READ | PROT_EXEC, MAP_PRIVATE | place, fd, 0);
  Syscall(__NR_mmap, table, sizeof(usl::protocol::FastTable), PROT_READ, MAP_SHARED | place, fd,
          usl::protocol::kFastCodeSize);
  Syscall(__NR_close, fd);
}

void PatchAux(Elf64_auxv_t* aux, uint64_t image_base, uint64_t interpreter_base, uint64_t execfn) {
  for (; aux->a_type != AT_NULL; ++aux) {
    uint64_t& value = aux->a_un.a_val;
    switch (aux->a_type) {
      case AT_PHDR: value = image_base + plan.image.phdr; break;
      case AT_PHENT: value = sizeof(Elf64_Phdr); break;
      case AT_PHNUM: value = plan.image.phnum; break;
      case AT_BASE: value = interpreter_base; break;
      case AT_ENTRY: value = image_base + plan.image.entry; break;
      case AT_EXECFN: value = execfn; break;
      default:
        for (uint32_t i = 0; i < plan.aux_count; ++i) {
          if (plan.aux[i].type == aux->a_type) value = plan.aux[i].value;
        }
    }
  }
}

// Moves argv, envp and auxv down, so that the plan's strings fit behind them and the plan's arguments into argv. All
// that lies above (strings, AT_RANDOM's bytes) stays where it is. Returns the guest's stack pointer.
uint64_t RebuildStack(const Vectors& old, uint64_t image_base, uint64_t interpreter_base) {
  const uint64_t drop = plan.drop_count < old.argc ? plan.drop_count : old.argc;
  const uint64_t old_end = reinterpret_cast<uint64_t>(old.aux_end);
  const uint64_t moved_from = reinterpret_cast<uint64_t>(old.argv + drop);
  const uint64_t moved = old_end - moved_from;
  const uint64_t strings = old_end - plan.strings_size;
  // One entry of auxv more, for AT_EXECFD.
  const uint64_t added = plan.exec_fd >= 0 ? sizeof(Elf64_auxv_t) : 0;
  const uint64_t front = (1 + uint64_t{plan.prefix_count}) * sizeof(uint64_t);
  const uint64_t sp = (strings - added - moved - front) & ~uint64_t{15};

  uint64_t* stack = reinterpret_cast<uint64_t*>(sp);
  const uint64_t moved_to = sp + front;
  const uint64_t aux_offset = reinterpret_cast<uint64_t>(old.aux) - moved_from;
  CopyUp(reinterpret_cast<void*>(moved_to), reinterpret_cast<const void*>(moved_from), moved);
  Zero(reinterpret_cast<void*>(moved_to + moved), strings - (moved_to + moved));
  CopyUp(reinterpret_cast<void*>(strings), plan.strings, plan.strings_size);
  stack[0] = old.argc - drop + plan.prefix_count;
  for (uint32_t i = 0; i < plan.prefix_count; ++i) stack[1 + i] = strings + plan.prefix_offsets[i];
  if (added != 0) {
    // Where AT_NULL is; what follows is zero already, which is the new one.
    Elf64_auxv_t* last = reinterpret_cast<Elf64_auxv_t*>(moved_to + moved) - 1;
    last->a_type = AT_EXECFD;
    last->a_un.a_val = static_cast<uint64_t>(plan.exec_fd);
  }
  PatchAux(reinterpret_cast<Elf64_auxv_t*>(moved_to + aux_offset), image_base, interpreter_base,
           strings + plan.execfn_offset);
  return sp;
}

// What the host's kernel puts on the stack for a signal handler and takes from there at rt_sigreturn.
struct SignalFrame {
  uint64_t return_address;
  struct ucontext context;
};

// A frame whose rt_sigreturn enters the program as a native exec does: registers and FPU clear, no alternate stack.
// Below the red zone of the program's stack. Returns the stack pointer that rt_sigreturn expects.
uint64_t BuildSignalFrame(uint64_t entry, uint64_t sp) {
  constexpr uint64_t kUserCode = 0x33, kUserData = 0x2b;
  constexpr uint64_t kInterruptsOn = 0x202;
  constexpr uint64_t kRedZone = 128;
  const uint64_t at = (sp - kRedZone - sizeof(SignalFrame)) & ~uint64_t{15};
  auto* frame = reinterpret_cast<SignalFrame*>(at);
  Zero(frame, sizeof(*frame));
  frame->context.uc_flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
  frame->context.uc_stack.ss_flags = SS_DISABLE;
  frame->context.uc_mcontext.rip = entry;
  frame->context.uc_mcontext.rsp = sp;
  frame->context.uc_mcontext.eflags = kInterruptsOn;
  frame->context.uc_mcontext.cs = kUserCode;
  frame->context.uc_mcontext.ss = kUserData;
  frame->context.uc_sigmask = plan.signal_mask;
  return at + sizeof(frame->return_address);
}

[[noreturn]] void Leave(uint64_t pico_base, uint64_t entry, uint64_t sp) {
  const uint64_t start = reinterpret_cast<uint64_t>(__ehdr_start);
  const uint64_t length = PageUp(reinterpret_cast<uint64_t>(_end)) - start;
  uint64_t leave = pico_base + protocol::kPicoLeaveOffset;
  if (plan.flags & protocol::kPlanRestoreSignalMask) {
    leave = pico_base + protocol::kPicoReturnOffset;
    sp = BuildSignalFrame(entry, sp);
  }
  asm volatile(
      "mov %[sp], %%rbp\n\t"
      "jmp *%[leave]"
      :
      : [leave] "r"(leave), "D"(start), "S"(length), "b"(entry), [sp] "r"(sp)
      : "memory");
  __builtin_unreachable();
}

}  // namespace
}  // namespace usl::platform::loader

void UslLoaderMain(uint64_t* stack) {
  using namespace usl::platform::loader;
  const Vectors vectors = ReadVectors(stack);
  if (vectors.execfn == nullptr) Die();
  const uint64_t pico_base = PicoBase(vectors.execfn);
  const int64_t answer = Syscall(__NR_execve, pico_base + usl::protocol::kHypercallOffset,
                                 reinterpret_cast<uint64_t>(&plan), sizeof(plan));
  if (answer < 0 || plan.version != usl::protocol::kExecPlanVersion) Die();

  // First of all: from here on nobody in this process can be taken for a loader.
  Map(pico_base, usl::protocol::kPicoSize, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED_NOREPLACE, plan.pico_fd, 0);
  Syscall(__NR_close, static_cast<uint64_t>(plan.pico_fd));

  MapFastPath();
  const uint64_t image_base = MapImage(plan.image);
  uint64_t entry = image_base + plan.image.entry;
  uint64_t interpreter_base = 0;
  if (plan.interpreter.fd >= 0) {
    interpreter_base = MapImage(plan.interpreter);
    entry = interpreter_base + plan.interpreter.entry;
  }

  const size_t path_length = Length(vectors.execfn);
  const uint64_t stack_end = PageUp(reinterpret_cast<uint64_t>(vectors.execfn) + path_length + 1);
  Zero(vectors.execfn, path_length);
  const uint64_t sp = RebuildStack(vectors, image_base, interpreter_base);
  if (plan.flags & usl::protocol::kPlanExecutableStack) {
    // Down to the lowest page and below (PROT_GROWSDOWN), up to the page with the host path, which is the highest one.
    const int64_t result = Syscall(__NR_mprotect, PageDown(sp), stack_end - PageDown(sp),
                                   PROT_READ | PROT_WRITE | PROT_EXEC | PROT_GROWSDOWN);
    if (result < 0) Die();
  }
  Syscall(__NR_prctl, PR_SET_NAME, reinterpret_cast<uint64_t>(plan.comm));
  Leave(pico_base, entry, sp);
}
