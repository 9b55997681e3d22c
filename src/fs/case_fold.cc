#include "fs/case_fold.h"

#define UTF8PROC_STATIC
#include <utf8proc.h>

#include <algorithm>

namespace usl::fs {
namespace {

char FoldAscii(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

}  // namespace

std::string FoldCase(std::string_view name) {
  std::string folded;
  folded.reserve(name.size());
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(name.data());
  for (size_t at = 0; at < name.size();) {
    if (bytes[at] < 0x80) {
      folded += FoldAscii(name[at++]);
      continue;
    }
    utf8proc_int32_t point = -1;
    const auto length = utf8proc_iterate(bytes + at, static_cast<utf8proc_ssize_t>(name.size() - at), &point);
    if (length <= 0) {
      folded.assign(name);
      std::ranges::transform(folded, folded.begin(), FoldAscii);
      return folded;
    }
    at += static_cast<size_t>(length);
    // One letter may fold to several (U+00DF to "ss").
    utf8proc_int32_t points[8];
    int boundary = 0;
    const auto count = utf8proc_decompose_char(point, points, 8, UTF8PROC_CASEFOLD, &boundary);
    for (utf8proc_ssize_t i = 0; i < std::min<utf8proc_ssize_t>(count, 8); ++i) {
      utf8proc_uint8_t encoded[4];
      const auto size = utf8proc_encode_char(points[i], encoded);
      folded.append(reinterpret_cast<const char*>(encoded), static_cast<size_t>(size));
    }
  }
  return folded;
}

}  // namespace usl::fs
