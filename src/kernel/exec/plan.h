// Building the plan for the loader piece by piece. A plan starts as NewPlan leaves it; FillImage (elf.h) fills its
// images; the fds are set when they have been donated.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "protocol/exec_plan.h"

namespace usl::kernel::exec {

// Clears a plan: current version, no images, no fds.
void NewPlan(protocol::ExecPlan& plan);

// AT_EXECFN as the guest sees it. E2BIG if the plan has no room for it.
Result<> SetExecfn(protocol::ExecPlan& plan, std::string_view path);

// Drops `drop` arguments from the front of argv and puts `arguments` there, in their order. For a script:
// interpreter, its argument if any, the script's path; drop = 1. E2BIG if there are more than kMaxPrefixArgs or no
// room.
Result<> SetPrefix(protocol::ExecPlan& plan, std::span<const std::string> arguments, uint32_t drop);

// Replaces the value of an AT_* entry (not AT_PHDR, AT_PHNUM, AT_PHENT, AT_BASE, AT_ENTRY, AT_EXECFN: the loader sets
// them). E2BIG after kMaxAuxPatches.
Result<> AddAux(protocol::ExecPlan& plan, uint64_t type, uint64_t value);

// The task's name: the part of `path` behind its last slash, cut to 15 bytes.
void SetComm(protocol::ExecPlan& plan, std::string_view path);

// Whether an image keeps all that the loader relies on: counts in bounds, everything page-aligned and within its span
// and the address space, zeroing within the last file page. For assertions, tests and fuzzing.
bool IsWellFormed(const protocol::ExecImage& image);

}  // namespace usl::kernel::exec
