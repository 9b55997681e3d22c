// The fast path: names and attributes that the kernel publishes, and code in every guest that answers from them.
//
// The kernel keeps one memfd for each instance: the shim's code, then a table of answers (FastTable) that guests map
// read-only. The loader maps it into every program, with a private *area* in front (FastArea): a control block and room
// for stubs. A program that makes a call again and again from one place, `mov $nr, %eax; syscall`, has the five bytes
// of the mov replaced, by the kernel and in its own copy of the page, by a jump to a stub of its own. The stub enters
// the shim, which answers from the table if it can; else it goes on to the untouched `syscall` instruction.
//
// Nothing here is trusted: a guest that changes its area, its stubs or its code fools itself alone. What the table
// shows is what every process of the instance may ask for anyway (src/kernel/README-fast-path.md).
//
// Freestanding: the shim and the loader include this too.
#pragma once

#include <linux/stat.h>

#include <cstdint>

namespace usl::protocol {

// One address range in the guest: area, code, table. The kernel chooses where.
inline constexpr uint64_t kFastAreaSize = 0x2000;  // private, executable, written by the kernel from outside only
inline constexpr uint64_t kFastCodeSize = 0x2000;  // the file starts with it
inline constexpr uint32_t kFastSlots = 16384;      // a power of two
inline constexpr uint32_t kFastWays = 4;           // a power of two
inline constexpr uint32_t kFastTextSize = 224;
inline constexpr uint64_t kFastMagic = 0x6c73552d74736146;

// The start of the area.
struct FastControl {
  uint64_t magic;         // set when the first stub is made: until then the whole area is zero
  uint32_t enabled;       // 0: every call goes to the kernel (a tracer, a filter of the guest's own)
  uint32_t root_context;  // what absolute paths are looked up in; 0 = in nothing
  uint32_t cwd_context;   // the same for relative paths
  uint32_t stubs;         // used so far
};
static_assert(sizeof(FastControl) == 24);

inline constexpr uint64_t kFastStubsOffset = 64;
inline constexpr uint64_t kFastStubSize = 32;
inline constexpr uint32_t kFastMaxStubs = (kFastAreaSize - kFastStubsOffset) / kFastStubSize;

enum class FastKind : uint8_t { kNone = 0, kMissing = 1, kFile = 2 };

// Which calls a slot answers: those that follow a symlink at the end of the path, those that do not, or both.
inline constexpr uint8_t kFastFollows = 1;
inline constexpr uint8_t kFastStays = 2;

struct FastSlot {
  uint32_t sequence;    // odd while the kernel writes the slot
  uint32_t generation;  // valid while it is the table's
  uint64_t hash;        // FastHash of context and path
  uint32_t context;
  uint16_t path_length;
  uint16_t target_length;  // of a symlink's text, behind the path
  FastKind kind;
  uint8_t calls;       // kFastFollows | kFastStays
  uint8_t no_xattrs;   // the file has no extended attribute of any name space
  uint8_t has_target;  // a symlink whose text is there
  uint32_t reserved;
  struct statx status;  // as for STATX_ALL
  char text[kFastTextSize];
};
static_assert(sizeof(FastSlot) == 512);

struct FastTable {
  uint32_t generation;
  unsigned char room[4092];
  FastSlot slots[kFastSlots];
};

inline constexpr uint64_t kFastFileSize = kFastCodeSize + sizeof(FastTable);
inline constexpr uint64_t kFastRangeSize = kFastAreaSize + kFastFileSize;

// FNV-1a, started by the context. A path is in one of the kFastWays slots from FastIndex on.
constexpr uint64_t FastHashStart(uint32_t context) {
  return 0xcbf29ce484222325 ^ context * 0x9e3779b97f4a7c15;
}
constexpr uint64_t FastHashStep(uint64_t hash, unsigned char byte) {
  return (hash ^ byte) * 0x100000001b3;
}
constexpr uint32_t FastIndex(uint64_t hash) {
  return static_cast<uint32_t>(hash ^ (hash >> 29)) & (kFastSlots - kFastWays);
}

}  // namespace usl::protocol
