// The random choices of the model test: the same sequence for the same seed, on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>

namespace usl::model {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  // 0 to limit - 1. Not by std::uniform_int_distribution, whose results depend on the library.
  unsigned Below(unsigned limit) { return static_cast<unsigned>(engine_() % limit); }
  bool OneIn(unsigned count) { return Below(count) == 0; }
  template <typename T, size_t N>
  const T& Pick(const T (&choices)[N]) {
    return choices[Below(N)];
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace usl::model
