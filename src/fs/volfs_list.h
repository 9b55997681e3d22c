// The listing of a directory of several layers: sorted by a hash of the name, so that a position in it means the same
// whatever is created or removed meanwhile.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace usl::fs {

struct MergedEntry {
  uint64_t cursor;  // 2 or more; unique in the list and kept over rebuilds
  uint64_t ino;
  unsigned char type;  // DT_*
  bool removed = false;
  std::string name;
};

struct MergedList {
  std::vector<MergedEntry> entries;  // by cursor
  bool stale = false;                // names were added since: to be built anew
};

}  // namespace usl::fs
