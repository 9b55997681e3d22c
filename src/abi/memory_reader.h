// What the formatter needs of a guest's memory; the platform implements it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/result.h"

namespace usl::abi {

class MemoryReader {
 public:
  virtual ~MemoryReader() = default;

  // Copies `size` bytes at the guest's `address` to `to`. EFAULT if any of them is not readable.
  virtual Result<void> Read(uint64_t address, void* to, size_t size) const = 0;

  // The bytes at `address` up to a NUL, or `max` bytes if there is none among them. EFAULT if the memory ends before.
  // Reads by pieces that end at page borders, as the string may be the last thing that is mapped.
  virtual Result<std::string> ReadString(uint64_t address, size_t max) const;
};

}  // namespace usl::abi
