// NUL-terminated strings one after another: the variable part of payloads.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace usl::protocol {

void AppendBytes(std::vector<std::byte>& out, const void* data, size_t size);
// False for a string with a NUL inside.
bool AppendString(std::vector<std::byte>& out, const std::string& text);

// Takes the strings of a payload one after another.
class StringReader {
 public:
  explicit StringReader(std::span<const std::byte> rest) : rest_(rest) {}
  // EBADMSG: no string is left, or the last has no end.
  Result<std::string> Next();
  bool AtEnd() const { return rest_.empty(); }
  size_t remaining() const { return rest_.size(); }

 private:
  std::span<const std::byte> rest_;
};

}  // namespace usl::protocol
