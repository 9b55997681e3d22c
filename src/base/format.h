// Text formatting: {fmt}, as g++ 12 has no <format>. Debian ships {fmt} without a static library, so format.cc compiles
// its definitions once into usl_base.
#pragma once

#include <fmt/core.h>

namespace usl {
using fmt::format;
}
