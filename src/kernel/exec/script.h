// `#!` lines as Linux's fs/binfmt_script.c reads them (execve(2), "Interpreter scripts").
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"

namespace usl::kernel::exec {

// Linux looks at no more of a file than this (BINPRM_BUF_SIZE).
inline constexpr size_t kScriptLine = 256;

struct ScriptLine {
  std::string interpreter;              // never empty
  std::optional<std::string> argument;  // all of the rest of the line as one argument, blanks inside kept
};

// Parses the first bytes of a file (those after the 256th are ignored; a shorter file counts as padded with NULs).
// A line that does not end within them is good only if the interpreter's path does; its argument is cut then.
// Errors: ENOEXEC: no `#!`, no interpreter, or its path is cut. EACCES: a NUL where the interpreter should start (Linux
// takes "" for the working directory then, which is no regular file).
Result<ScriptLine> ParseScript(std::span<const std::byte> first_bytes);

}  // namespace usl::kernel::exec
