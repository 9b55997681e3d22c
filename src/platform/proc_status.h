// Single numbers out of the text files of /proc. Allocation-free.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"

namespace usl::platform {

// The number behind `name` (with its colon: "SigPnd:") at the start of a line of the file at `path`, in `base`.
// ENOENT: no such file or line.
Result<uint64_t> ReadStatusField(const char* path, const char* name, int base);

// Reads a small file whole into `buffer`, NUL-terminated; returns the bytes read, cut at `size` - 1.
Result<size_t> ReadSmallFile(const char* path, char* buffer, size_t size);

// The number behind `name` in such a text; false if there is no such line.
bool FindStatusField(const char* text, const char* name, int base, uint64_t* value);

}  // namespace usl::platform
