#include "platform/shim/embedded.h"

extern "C" {
extern const std::byte usl_shim_image[];
extern const std::byte usl_shim_image_end[];
}

namespace usl::platform::shim {

std::span<const std::byte> ShimImage() {
  return {usl_shim_image, usl_shim_image_end};
}

}  // namespace usl::platform::shim
