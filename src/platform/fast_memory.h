// The host's side of the fast path (protocol/fast_path.h): the memfd with the shim and the table, and the patching of
// guests. What is published, and who may have it, is decided in kernel/fast_path.h.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "platform/memory_file.h"
#include "protocol/fast_path.h"

namespace usl::platform {

// One answer to be published.
struct FastAnswer {
  uint32_t context = 0;  // what the path is looked up in, not 0
  std::string_view path;
  protocol::FastKind kind = protocol::FastKind::kNone;
  uint8_t calls = 0;                     // protocol::kFastFollows | kFastStays
  const struct statx* status = nullptr;  // of kFile
  std::string_view target;               // of a symlink, where known
};

// Thread-compatible: one thread writes; guests read at any time and notice half-written slots.
class FastMemory {
 public:
  // memfd_create(2)'s and mmap(2)'s errors; EINVAL on hosts without F_SEAL_FUTURE_WRITE (Linux 5.1).
  static Result<FastMemory> Create();
  FastMemory(FastMemory&& other) noexcept;
  FastMemory& operator=(FastMemory&&) = delete;
  ~FastMemory();

  // Read-only, to be donated to loaders.
  int fd() const { return fd_.get(); }

  // Does the path fit into a slot?
  static bool Fits(std::string_view path) { return !path.empty() && path.size() <= protocol::kFastTextSize; }
  // Publishes, in place of whatever stood in the slot, and returns its number. Fits(path).
  uint32_t Put(const FastAnswer& answer);
  // The slot that answers a call for the path now; -1 when there is none.
  int Find(uint32_t context, std::string_view path, uint8_t calls) const;
  // The file in the slot has no extended attribute at all.
  void MarkWithoutXattrs(uint32_t slot);
  void Clear(uint32_t slot);
  // Everything published so far is void.
  void ClearAll();

 private:
  FastMemory(UniqueFd fd, protocol::FastTable* table) : fd_(std::move(fd)), table_(table) {}
  uint32_t Choose(uint64_t hash, const FastAnswer& answer) const;

  UniqueFd fd_;
  protocol::FastTable* table_;
};

// What a process's control block shall say.
struct FastState {
  bool enabled = true;
  uint32_t root_context = 0;
  uint32_t cwd_context = 0;
};

// Replaces the `mov $number, %eax` before the `syscall` instruction that ends at `instruction_end` by a jump to a new
// stub, in the address space of `memory`, whose fast path range starts at `area`. Nobody may run in that address space
// meanwhile: its only thread waits in a call. False: the site is not of this form, is patched already, is out of reach
// of the area, or the area is not there or full. EFAULT, EIO.
Result<bool> PatchCallSite(const MemoryFile& memory, uint64_t area, uint64_t instruction_end, uint32_t number,
                           const FastState& state);
// Changes the control block of an area that has stubs. EFAULT, EIO.
Result<void> WriteFastState(const MemoryFile& memory, uint64_t area, const FastState& state);

}  // namespace usl::platform
