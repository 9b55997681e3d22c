// The kernel's and the supervisor's log: lines on a host fd (standard error until SetLogFd), written whole.
#pragma once

#include <string_view>

#include "base/format.h"

namespace usl {

enum class LogLevel { kError, kWarning, kInfo, kDebug };

// Lines above this level are dropped; kWarning at first, or what USL_LOG=error|warning|info|debug says.
void SetLogLevel(LogLevel level);
LogLevel GetLogLevel();
// The fd that lines go to; the caller keeps it open.
void SetLogFd(int fd);
// Writes "usl: LEVEL: text\n" in one write(2). Safe from any thread.
void LogLine(LogLevel level, std::string_view text);

template <typename... Args>
void Log(LogLevel level, fmt::format_string<Args...> text, Args&&... args) {
  if (level <= GetLogLevel()) LogLine(level, fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace usl
