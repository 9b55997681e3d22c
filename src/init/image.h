// The guest's init as it is embedded in the executable.
#pragma once

#include <cstddef>
#include <span>

extern "C" {
extern const std::byte usl_init_image_begin[];
extern const std::byte usl_init_image_end[];
}

namespace usl::init {

// A static x86-64 ELF executable.
inline std::span<const std::byte> InitImage() {
  return {usl_init_image_begin, usl_init_image_end};
}

}  // namespace usl::init
