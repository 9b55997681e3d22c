// System calls as text, in the manner of strace(1), for `usl trace`.
#pragma once

#include <linux/seccomp.h>

#include <cstdint>
#include <optional>
#include <string>

#include "abi/constant_names.h"
#include "abi/memory_reader.h"
#include "abi/syscall_table.h"

namespace usl::abi {

// `openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC)`. Arguments behind a pointer that cannot be read are shown as
// the pointer. What a call writes is shown only if `result`, the kernel's answer (negative errno or value), is given
// and is a success; long strings and buffers are cut and end with "...".
std::string FormatCall(const SyscallRow& row, const uint64_t (&arguments)[6], const MemoryReader& memory,
                       std::optional<int64_t> result = std::nullopt);
std::string FormatCall(const SyscallRow& row, const seccomp_data& call, const MemoryReader& memory,
                       std::optional<int64_t> result = std::nullopt);

// The call's result: `3`, `0x7f12a4000000` for addresses, `-1 ENOENT (No such file or directory)`.
std::string FormatResult(const SyscallRow& row, int64_t result);

}  // namespace usl::abi
