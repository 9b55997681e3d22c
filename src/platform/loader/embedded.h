// The loader and the code of the pico page, as bytes inside the usl executable.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace usl::platform::loader {

// The loader: an ELF64 static-pie file of some 8 KB. It goes to a file whose name ends in '-' and the pico base in
// hexadecimal digits (LoaderFileName), mode 0555.
std::span<const std::byte> LoaderImage();

// Belongs at kPicoLeaveOffset of the pico page.
std::span<const std::byte> PicoLeaveCode();

// Belongs at kPicoReturnOffset of the pico page.
std::span<const std::byte> PicoReturnCode();

// Belongs at kPicoFollowOffset of the pico page.
std::span<const std::byte> PicoFollowCode();

// Belongs at kPicoSignalOffset of the pico page.
std::span<const std::byte> PicoSignalCode();

// Belongs at kPicoStubOffset of the pico page. pico_code.S documents its contract with the kernel.
std::span<const std::byte> PicoStubCode();

// A whole pico page: the loader's path and all the code above. Empty (all zeros) if the path with its NUL is
// longer than kPicoPathMax.
std::array<std::byte, 4096> PicoPage(const char* loader_path);

// The bytes that the kernel writes behind the `syscall` instruction of a traced caller: a jump to the stub
// (mov $stub, %r11d; jmp *%r11), which destroys nothing that a system call does not destroy anyway. `pico_base` < 4
// GiB.
inline constexpr size_t kStubJumpSize = 9;
std::array<std::byte, kStubJumpSize> StubJump(uint64_t pico_base);

// First argument of the stub's hypercall: pico base + this.
inline constexpr uint64_t kStubHypercallOffset = 0xFF0;

}  // namespace usl::platform::loader
