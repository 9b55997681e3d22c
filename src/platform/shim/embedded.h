// The shim's code (image/shim.cc), as bytes inside the usl executable.
#pragma once

#include <cstddef>
#include <span>

namespace usl::platform::shim {

// Position-independent; its entry is its first byte. At most protocol::kFastCodeSize bytes.
std::span<const std::byte> ShimImage();

}  // namespace usl::platform::shim
