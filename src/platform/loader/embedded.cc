#include "platform/loader/embedded.h"

#include <cstring>

#include "protocol/exec_plan.h"

extern "C" {
extern const std::byte usl_loader_image[];
extern const std::byte usl_loader_image_end[];
extern const std::byte usl_pico_leave[];
extern const std::byte usl_pico_leave_end[];
extern const std::byte usl_pico_return[];
extern const std::byte usl_pico_return_end[];
extern const std::byte usl_pico_follow[];
extern const std::byte usl_pico_follow_end[];
extern const std::byte usl_pico_signal[];
extern const std::byte usl_pico_signal_end[];
extern const std::byte usl_pico_stub[];
extern const std::byte usl_pico_stub_end[];
}

namespace usl::platform::loader {

static_assert(kStubHypercallOffset == protocol::kHypercallOffset - 8);
// pico_code.S has these too.
static_assert(protocol::kPicoSignalOffset == 0xf00 && protocol::kPicoRestartMapOffset == 0xf80 &&
              protocol::kPicoRestartMapSize == 64);

std::span<const std::byte> LoaderImage() {
  return {usl_loader_image, usl_loader_image_end};
}
std::span<const std::byte> PicoLeaveCode() {
  return {usl_pico_leave, usl_pico_leave_end};
}
std::span<const std::byte> PicoReturnCode() {
  return {usl_pico_return, usl_pico_return_end};
}
std::span<const std::byte> PicoFollowCode() {
  return {usl_pico_follow, usl_pico_follow_end};
}
std::span<const std::byte> PicoSignalCode() {
  return {usl_pico_signal, usl_pico_signal_end};
}
std::span<const std::byte> PicoStubCode() {
  return {usl_pico_stub, usl_pico_stub_end};
}

std::array<std::byte, 4096> PicoPage(const char* loader_path) {
  std::array<std::byte, 4096> page{};
  static_assert(page.size() == protocol::kPicoSize);
  const size_t length = std::strlen(loader_path);
  if (length >= protocol::kPicoPathMax) return page;
  std::memcpy(page.data(), loader_path, length);
  const auto stub = PicoStubCode();
  std::memcpy(page.data() + protocol::kPicoStubOffset, stub.data(), stub.size());
  const auto leave = PicoLeaveCode();
  std::memcpy(page.data() + protocol::kPicoLeaveOffset, leave.data(), leave.size());
  const auto back = PicoReturnCode();
  std::memcpy(page.data() + protocol::kPicoReturnOffset, back.data(), back.size());
  const auto follow = PicoFollowCode();
  std::memcpy(page.data() + protocol::kPicoFollowOffset, follow.data(), follow.size());
  const auto signal = PicoSignalCode();
  std::memcpy(page.data() + protocol::kPicoSignalOffset, signal.data(), signal.size());
  return page;
}

std::array<std::byte, kStubJumpSize> StubJump(uint64_t pico_base) {
  const auto target = static_cast<uint32_t>(pico_base + protocol::kPicoStubOffset);
  std::array<std::byte, kStubJumpSize> code{std::byte{0x41}, std::byte{0xBB}, {}, {}, {}, {}, std::byte{0x41},
                                            std::byte{0xFF}, std::byte{0xE3}};
  std::memcpy(code.data() + 2, &target, sizeof(target));
  return code;
}

}  // namespace usl::platform::loader
