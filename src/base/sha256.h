// SHA-256 (FIPS 180-4), by libnettle.
#pragma once

#include <nettle/sha2.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace usl {

class Sha256 {
 public:
  Sha256() { sha256_init(&state_); }
  void Update(const void* data, size_t size) { sha256_update(&state_, size, static_cast<const uint8_t*>(data)); }
  void Update(std::string_view data) { Update(data.data(), data.size()); }
  // The digest of all that came, as 64 lower-case hex digits. The object starts anew.
  std::string HexDigest();

 private:
  sha256_ctx state_;
};

// Of a text, or of all that can be read from a descriptor from where it stands (errors of read(2)).
std::string Sha256Hex(std::string_view data);
Result<std::string> Sha256OfFile(int fd);

}  // namespace usl
