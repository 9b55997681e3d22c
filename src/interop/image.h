// usl-host as it is embedded in the executable.
#pragma once

#include <string_view>

extern "C" {
extern const char usl_host_image_begin[];
extern const char usl_host_image_end[];
}

namespace usl::interop {

// A static x86-64 ELF executable.
inline std::string_view HostImage() {
  return {usl_host_image_begin, usl_host_image_end};
}

}  // namespace usl::interop
