// Which calls the signal trampoline lets start over (loader/pico_code.S): those that USL may serve and that Linux never
// ends with EINTR.
#pragma once

#include <array>
#include <cstddef>

#include "protocol/exec_plan.h"

namespace usl::platform {

// Bit N for call N. Calls that may end with EINTR, and all that are native, have none.
std::array<std::byte, protocol::kPicoRestartMapSize> RestartMap();

}  // namespace usl::platform
