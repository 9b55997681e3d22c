// Runs classic BPF programs on made-up calls, as the kernel's seccomp does: for tests, and for the dispatcher under
// `usl trace`, which asks the plain filter what it would have answered.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstdint>
#include <span>

#include "base/result.h"

namespace usl::platform {

// The checks of bpf_check_classic and seccomp_check_filter (Linux, net/core/filter.c and kernel/seccomp.c): EINVAL for
// what seccomp(2) would refuse to install.
Result<void> CheckBpf(std::span<const sock_filter> program);

// The program's answer (SECCOMP_RET_...) to a call. EINVAL where CheckBpf says so.
Result<uint32_t> RunBpf(std::span<const sock_filter> program, const seccomp_data& call);

// The same without the check, for a program that CheckBpf or the assembler has passed.
uint32_t RunCheckedBpf(std::span<const sock_filter> program, const seccomp_data& call);

// True if the kernel's cache of always-allowed calls (seccomp_is_const_allow) takes the call: it is allowed by a path
// that looks at the number and the architecture only.
bool IsConstantAllow(std::span<const sock_filter> program, uint32_t nr, uint32_t arch);

}  // namespace usl::platform
