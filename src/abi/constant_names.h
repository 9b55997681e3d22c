// Names of the values that system call arguments take, for trace output.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "abi/arg_types.h"

namespace usl::abi {

struct ConstantName {
  uint64_t value;
  const char* name;
};

// How the values of one argument type are written: the bits of `mask` are one of `values`, the others are `flags`.
struct ConstantTable {
  ArgType type;
  uint64_t mask;
  std::span<const ConstantName> values;
  std::span<const ConstantName> flags;
  bool flags_first = false;  // CLONE_VM|SIGCHLD, and nothing for signal 0
};

// "O_RDWR|O_CLOEXEC" and the like, with unknown bits in hexadecimal; nothing if the type's values have no names. The
// value's width is the type's: int arguments are cut to 32 bits as the kernel does.
std::optional<std::string> FormatConstant(ArgType type, uint64_t value);

// Name of a socket option at its level, e.g. "SO_REUSEADDR"; decimal if unknown.
std::string FormatSocketOption(uint32_t level, uint32_t option);

// "SIGINT", "SIGRT_3", or decimal.
std::string FormatSignal(int signal);

// "ENOENT"; the kernel-internal restart codes too ("ERESTARTSYS"); "E???" for numbers that Linux does not use.
const char* ErrnoName(int error);

// "No such file or directory"; empty if unknown.
const char* ErrnoText(int error);

// Tables of the single files, joined by FormatConstant.
std::span<const ConstantTable> FileConstantTables();
std::span<const ConstantTable> ProcessConstantTables();
std::span<const ConstantTable> IoConstantTables();

// Values joined with '|'; "0" for none.
std::string FormatFlags(uint64_t value, std::span<const ConstantName> flags);
// The name, or hexadecimal.
std::string FormatValue(uint64_t value, std::span<const ConstantName> values);

}  // namespace usl::abi
