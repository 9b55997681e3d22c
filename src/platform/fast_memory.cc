#include "platform/fast_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <utility>

#include "platform/shim/embedded.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace usl::platform {
namespace {

using protocol::FastControl;
using protocol::FastSlot;
using protocol::FastTable;

constexpr size_t kMovSize = 5;      // mov $imm32, %eax
constexpr size_t kSyscallSize = 2;  // 0f 05
constexpr unsigned char kMovEax = 0xb8, kJump = 0xe9;

constexpr uint32_t kNoSlot = ~uint32_t{0};

using CallSite = std::array<unsigned char, kMovSize + kSyscallSize>;

uint64_t HashOf(uint32_t context, std::string_view path) {
  uint64_t hash = protocol::FastHashStart(context);
  for (const char c : path) hash = protocol::FastHashStep(hash, static_cast<unsigned char>(c));
  return hash;
}

// Makes a slot's change visible in whole or not at all.
class SlotWriter {
 public:
  explicit SlotWriter(FastSlot& slot) : sequence_(slot.sequence) {
    sequence_.fetch_add(1, std::memory_order_acq_rel);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  ~SlotWriter() { sequence_.fetch_add(1, std::memory_order_release); }
  SlotWriter(const SlotWriter&) = delete;
  SlotWriter& operator=(const SlotWriter&) = delete;

 private:
  std::atomic_ref<uint32_t> sequence_;
};

// A jump or an address relative to the end of an instruction; false when it is too far.
bool Relative(uint64_t target, uint64_t instruction_end, int32_t* distance) {
  const auto difference = static_cast<int64_t>(target - instruction_end);
  *distance = static_cast<int32_t>(difference);
  return *distance == difference;
}

// lea site(%rip), %rcx; mov $number, %eax; jmp shim
bool MakeStub(uint64_t at, uint64_t syscall_at, uint32_t number, uint64_t entry,
              std::array<unsigned char, protocol::kFastStubSize>* stub) {
  int32_t to_site, to_shim;
  if (!Relative(syscall_at, at + 7, &to_site) || !Relative(entry, at + 17, &to_shim)) return false;
  stub->fill(0xcc);
  unsigned char* code = stub->data();
  code[0] = 0x48, code[1] = 0x8d, code[2] = 0x0d;
  std::memcpy(code + 3, &to_site, 4);
  code[7] = kMovEax;
  std::memcpy(code + 8, &number, 4);
  code[12] = kJump;
  std::memcpy(code + 13, &to_shim, 4);
  return true;
}

bool IsCallSite(const CallSite& bytes, uint32_t number) {
  uint32_t loaded;
  std::memcpy(&loaded, bytes.data() + 1, 4);
  return bytes[0] == kMovEax && loaded == number && bytes[kMovSize] == 0x0f && bytes[kMovSize + 1] == 0x05;
}

template <typename T>
Result<void> ReadExactly(const MemoryFile& memory, uint64_t from, T* value) {
  const size_t got = USL_TRY(memory.ReadSome(GuestAddress(from), value, sizeof *value));
  if (got != sizeof *value) return Fail(EFAULT);
  return {};
}

}  // namespace

Result<FastMemory> FastMemory::Create() {
  const auto code = shim::ShimImage();
  if (code.size() > protocol::kFastCodeSize) return Fail(EOVERFLOW);
  int raw = memfd_create("usl-fast", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
  if (raw < 0 && errno == EINVAL) raw = memfd_create("usl-fast", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  const UniqueFd writable(raw);
  if (!writable || ftruncate(writable.get(), protocol::kFastFileSize) < 0) return FailErrno();
  if (write(writable.get(), code.data(), code.size()) != static_cast<ssize_t>(code.size())) return Fail(EIO);
  void* table = mmap(nullptr, sizeof(FastTable), PROT_READ | PROT_WRITE, MAP_SHARED, writable.get(),
                     static_cast<off_t>(protocol::kFastCodeSize));
  if (table == MAP_FAILED) return FailErrno();
  FastMemory made(UniqueFd(), static_cast<FastTable*>(table));
  made.table_->generation = 1;
  // Only this mapping can be written to from now on.
  if (fcntl(writable.get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
    return FailErrno();
  }
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", writable.get());
  made.fd_.Reset(open(path, O_RDONLY | O_CLOEXEC));
  if (!made.fd_) return FailErrno();
  return made;
}

FastMemory::FastMemory(FastMemory&& other) noexcept
    : fd_(std::move(other.fd_)), table_(std::exchange(other.table_, nullptr)) {}

FastMemory::~FastMemory() {
  if (table_) munmap(table_, sizeof(FastTable));
}

uint32_t FastMemory::Choose(uint64_t hash, const FastAnswer& answer) const {
  const uint32_t first = protocol::FastIndex(hash);
  uint32_t free = kNoSlot, oldest = first;
  for (uint32_t index = first; index < first + protocol::kFastWays; ++index) {
    const FastSlot& slot = table_->slots[index];
    const bool valid = slot.kind != protocol::FastKind::kNone && slot.generation == table_->generation;
    if (valid && slot.hash == hash && slot.context == answer.context && (slot.calls & answer.calls)) return index;
    if (!valid) free = index;
    if (slot.sequence < table_->slots[oldest].sequence) oldest = index;
  }
  // All are taken: the one that was written least often gives way, which spreads the loss.
  return free != kNoSlot ? free : oldest;
}

uint32_t FastMemory::Put(const FastAnswer& answer) {
  const uint64_t hash = HashOf(answer.context, answer.path);
  const uint32_t index = Choose(hash, answer);
  FastSlot& slot = table_->slots[index];
  const SlotWriter writer(slot);
  slot.generation = table_->generation;
  slot.hash = hash;
  slot.context = answer.context;
  slot.kind = answer.kind;
  slot.calls = answer.calls;
  slot.no_xattrs = 0;
  slot.path_length = static_cast<uint16_t>(answer.path.size());
  std::memcpy(slot.text, answer.path.data(), answer.path.size());
  slot.has_target =
      !answer.target.empty() && answer.target.size() <= protocol::kFastTextSize - answer.path.size() ? 1 : 0;
  slot.target_length = slot.has_target ? static_cast<uint16_t>(answer.target.size()) : 0;
  if (slot.has_target) std::memcpy(slot.text + answer.path.size(), answer.target.data(), answer.target.size());
  if (answer.status) slot.status = *answer.status;
  return index;
}

int FastMemory::Find(uint32_t context, std::string_view path, uint8_t calls) const {
  const uint64_t hash = HashOf(context, path);
  const uint32_t first = protocol::FastIndex(hash);
  for (uint32_t index = first; index < first + protocol::kFastWays; ++index) {
    const FastSlot& slot = table_->slots[index];
    if (slot.generation == table_->generation && slot.hash == hash && slot.context == context && (slot.calls & calls) &&
        slot.kind != protocol::FastKind::kNone && std::string_view(slot.text, slot.path_length) == path) {
      return static_cast<int>(index);
    }
  }
  return -1;
}

void FastMemory::MarkWithoutXattrs(uint32_t slot) {
  const SlotWriter writer(table_->slots[slot]);
  table_->slots[slot].no_xattrs = 1;
}

void FastMemory::Clear(uint32_t slot) {
  const SlotWriter writer(table_->slots[slot]);
  table_->slots[slot].kind = protocol::FastKind::kNone;
}

void FastMemory::ClearAll() {
  std::atomic_ref<uint32_t>(table_->generation).fetch_add(1, std::memory_order_acq_rel);
}

Result<bool> PatchCallSite(const MemoryFile& memory, uint64_t area, uint64_t instruction_end, uint32_t number,
                           const FastState& state) {
  CallSite site;
  const uint64_t site_at = instruction_end - site.size();
  USL_TRY_VOID(ReadExactly(memory, site_at, &site));
  if (!IsCallSite(site, number)) return false;
  FastControl control;
  USL_TRY_VOID(ReadExactly(memory, area, &control));
  if (control.magic != 0 && control.magic != protocol::kFastMagic) return false;
  if (control.stubs >= protocol::kFastMaxStubs) return false;
  // The loader may have found the range taken.
  const uint64_t entry = area + protocol::kFastAreaSize;
  std::array<std::byte, 32> code;
  USL_TRY_VOID(ReadExactly(memory, entry, &code));
  if (!std::ranges::equal(code, shim::ShimImage().first(code.size()))) return false;

  const uint64_t stub_at = area + protocol::kFastStubsOffset + control.stubs * protocol::kFastStubSize;
  std::array<unsigned char, protocol::kFastStubSize> stub;
  std::array<unsigned char, kMovSize> jump{kJump};
  int32_t to_stub;
  if (!MakeStub(stub_at, instruction_end - kSyscallSize, number, entry, &stub) ||
      !Relative(stub_at, site_at + kMovSize, &to_stub)) {
    return false;
  }
  std::memcpy(jump.data() + 1, &to_stub, 4);
  control = {.magic = protocol::kFastMagic,
             .enabled = state.enabled,
             .root_context = state.root_context,
             .cwd_context = state.cwd_context,
             .stubs = control.stubs + 1};
  USL_TRY_VOID(memory.ForceWrite(GuestAddress(stub_at), stub.data(), stub.size()));
  USL_TRY_VOID(memory.ForceWrite(GuestAddress(area), &control, sizeof control));
  USL_TRY_VOID(memory.ForceWrite(GuestAddress(site_at), jump.data(), jump.size()));
  return true;
}

Result<void> WriteFastState(const MemoryFile& memory, uint64_t area, const FastState& state) {
  FastControl control;
  USL_TRY_VOID(ReadExactly(memory, area, &control));
  if (control.magic != protocol::kFastMagic) return {};  // no stub, or not what we made: nothing reads it
  const uint32_t words[] = {state.enabled, state.root_context, state.cwd_context};
  static_assert(offsetof(FastControl, stubs) - offsetof(FastControl, enabled) == sizeof words);
  return memory.ForceWrite(GuestAddress(area + offsetof(FastControl, enabled)), words, sizeof words);
}

}  // namespace usl::platform
