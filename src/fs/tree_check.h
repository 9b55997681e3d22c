// `usl fsck`: checks a VolFs tree that no kernel uses, and repairs it (docs/volfs.md is what it is checked against).
//
// Repair throws nothing away: what cannot be understood is moved to `.usl/lost`, which has a list of what was there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace usl::fs {

struct TreeProblem {
  enum class Severity {
    kNote,   // nothing is wrong: what a killed kernel left, and the next one cleans up or gets along with
    kError,  // the tree is not as it should be
  };
  Severity severity = Severity::kError;
  std::string kind;  // one word for programs: "record", "mode"... (docs/volfs.md lists them)
  std::string path;  // from the tree's root, without a leading slash; empty: the root itself. Any bytes
  std::string text;  // for people
  bool repaired = false;
};

struct TreeReport {
  std::vector<TreeProblem> problems;
  uint64_t directories = 0;
  uint64_t files = 0;    // names that are no directories
  uint64_t records = 0;  // files and directories with a record
  bool has_sidecar = false;
  // As fsck(8): 0 clean, 1 all errors repaired, 4 errors are left; 5 some of each.
  int Status() const;
};

// Takes the tree's lock for as long as it lasts. With `repair` it changes the tree, else nothing. EBUSY: a kernel uses
// the tree. EPROTONOSUPPORT: a format that this program does not know. Else errors of open(2) on it. `why` has a line
// for people then.
Result<TreeReport> CheckTree(const std::string& path, bool repair, std::string* why);

}  // namespace usl::fs
