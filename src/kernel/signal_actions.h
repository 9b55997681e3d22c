// Handlers of a process that run behind the signal trampoline (platform/loader/pico_code.S tells why there is one).
#pragma once

#include <cstdint>
#include <map>

namespace usl::kernel {

// struct sigaction as the kernel's interface has it.
struct SignalAction {
  uint64_t handler = 0;
  uint64_t flags = 0;
  uint64_t restorer = 0;
  uint64_t mask = 0;
};
static_assert(sizeof(SignalAction) == 32);

// By signal number: what the guest set, where the host has the trampoline. Shared until it changes, like credentials.
struct SignalActions {
  std::map<int, SignalAction> behind_trampoline;

  // Bit N-1 for signal N.
  uint64_t Mask() const {
    uint64_t mask = 0;
    for (const auto& [signal, action] : behind_trampoline) mask |= uint64_t{1} << (signal - 1);
    return mask;
  }
};

}  // namespace usl::kernel
