// The rules of the rows that the system call table calls guarded or conditional: what the filter decides on the values
// in registers. Data; filter.cc makes BPF of it.
//
// Every test but those of addresses looks at the LOW 32 BITS of its argument, since the host truncates int arguments: a
// 64-bit compare in front of a refusal would be passed by with bit 32 set. Rules list what is allowed; the rest is
// refused or served.
#pragma once

#include <cstdint>
#include <vector>

#include "platform/filter.h"

namespace usl::platform {

struct FilterAction {
  enum class Kind { kAllow, kNotify, kError } kind;
  int error = 0;  // a positive errno, for kError
  friend bool operator==(const FilterAction&, const FilterAction&) = default;
};

struct FilterTest {
  enum class Kind {
    kOneOf,           // (argument & mask) is one of `values`
    kRange,           // values[0] <= argument <= values[1]
    kAnyBit,          // (argument & mask) != 0
    kIsNull,          // all 64 bits are 0
    kIsPicoBase,      // all 64 bits are the pico page's address
    kBelowPicoEnd,    // a 64-bit address below the end of the pico page
    kTouchesPico,     // the bytes from `argument` on, as many as `length` says, rounded up to pages, meet the pico page
    kTouchesPicoHuge  // the same, rounded up to huge pages of 2 MiB or 1 GiB, if `argument` is aligned to them
  } kind;
  uint8_t argument;
  uint8_t length = 0;  // number of the argument with the length
  uint32_t mask = 0xffffffff;
  std::vector<uint32_t> values = {};
  bool negated = false;
};

// If all tests hold, the action is the answer.
struct FilterClause {
  std::vector<FilterTest> tests;
  FilterAction action;
};

// The first clause that holds decides; if none does, `otherwise`.
struct FilterRule {
  uint32_t nr;
  std::vector<FilterClause> clauses;
  FilterAction otherwise;
};

// A rule for each guarded and conditional row, and for checked rows of which some values are refused at once.
std::vector<FilterRule> FilterRules(const FilterOptions& options);

}  // namespace usl::platform
