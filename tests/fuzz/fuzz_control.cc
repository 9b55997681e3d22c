// Control messages, launch requests and boot plans from hostile bytes: no crash, and what is accepted is what the
// encoder makes.
#include <algorithm>
#include <cstdlib>

#include "protocol/boot_plan.h"
#include "protocol/control.h"

using namespace usl;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  if (const auto message = protocol::DecodeMessage(bytes)) {
    if (!std::ranges::equal(protocol::EncodeMessage(*message), bytes)) std::abort();
  }
  if (const auto request = protocol::DecodeLaunch(bytes)) {
    const auto again = protocol::EncodeLaunch(*request);
    if (!again || !std::ranges::equal(*again, bytes)) std::abort();
  }
  if (const auto plan = protocol::DecodeBootPlan(bytes)) {
    const auto again = protocol::EncodeBootPlan(*plan);
    if (!again || !std::ranges::equal(*again, bytes)) std::abort();
  }
  return 0;
}
