#include "protocol/strings.h"

#include <cstring>

namespace usl::protocol {

void AppendBytes(std::vector<std::byte>& out, const void* data, size_t size) {
  const auto* bytes = static_cast<const std::byte*>(data);
  out.insert(out.end(), bytes, bytes + size);
}

bool AppendString(std::vector<std::byte>& out, const std::string& text) {
  if (text.find('\0') != std::string::npos) return false;
  AppendBytes(out, text.c_str(), text.size() + 1);
  return true;
}

Result<std::string> StringReader::Next() {
  const void* end = rest_.empty() ? nullptr : memchr(rest_.data(), 0, rest_.size());
  if (!end) return Fail(EBADMSG);
  const auto length = static_cast<size_t>(static_cast<const std::byte*>(end) - rest_.data());
  std::string text(reinterpret_cast<const char*>(rest_.data()), length);
  rest_ = rest_.subspan(length + 1);
  return text;
}

}  // namespace usl::protocol
