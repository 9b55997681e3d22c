#include "abi/memory_reader.h"

#include <algorithm>

namespace usl::abi {

Result<std::string> MemoryReader::ReadString(uint64_t address, size_t max) const {
  constexpr size_t kPage = 4096, kPiece = 256;
  std::string text;
  while (text.size() < max) {
    const uint64_t at = address + text.size();
    const size_t piece = std::min({kPiece, max - text.size(), static_cast<size_t>(kPage - at % kPage)});
    const size_t start = text.size();
    text.resize(start + piece);
    USL_TRY_VOID(Read(at, text.data() + start, piece));
    if (size_t end = text.find('\0', start); end != std::string::npos) {
      text.resize(end);
      break;
    }
  }
  return text;
}

}  // namespace usl::abi
