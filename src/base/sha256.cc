#include "base/sha256.h"

#include <unistd.h>

#include <vector>

namespace usl {

std::string Sha256::HexDigest() {
  constexpr char kDigits[] = "0123456789abcdef";
  uint8_t digest[SHA256_DIGEST_SIZE];
  sha256_digest(&state_, sizeof digest, digest);
  std::string text;
  text.reserve(2 * sizeof digest);
  for (const uint8_t byte : digest) text += {kDigits[byte >> 4], kDigits[byte & 15]};
  return text;
}

std::string Sha256Hex(std::string_view data) {
  Sha256 hash;
  hash.Update(data);
  return hash.HexDigest();
}

Result<std::string> Sha256OfFile(int fd) {
  Sha256 hash;
  std::vector<char> buffer(1 << 17);
  while (true) {
    const ssize_t size = read(fd, buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return FailErrno();
    if (size == 0) return hash.HexDigest();
    hash.Update(buffer.data(), static_cast<size_t>(size));
  }
}

}  // namespace usl
