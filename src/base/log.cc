#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>

namespace usl {
namespace {

LogLevel LevelFromEnvironment() {
  const char* value = std::getenv("USL_LOG");
  if (!value) return LogLevel::kWarning;
  std::string_view name(value);
  if (name == "error") return LogLevel::kError;
  if (name == "info") return LogLevel::kInfo;
  if (name == "debug") return LogLevel::kDebug;
  return LogLevel::kWarning;
}

std::atomic<LogLevel> g_level{LevelFromEnvironment()};
std::atomic<int> g_fd{STDERR_FILENO};

std::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kError: return "error";
    case LogLevel::kWarning: return "warning";
    case LogLevel::kInfo: return "info";
    case LogLevel::kDebug: return "debug";
  }
  return "?";
}

}  // namespace

void SetLogLevel(LogLevel level) {
  g_level = level;
}
LogLevel GetLogLevel() {
  return g_level.load(std::memory_order_relaxed);
}
void SetLogFd(int fd) {
  g_fd = fd;
}

void LogLine(LogLevel level, std::string_view text) {
  std::string line = fmt::format("usl: {}: {}\n", LevelName(level), text);
  // A log line that cannot be written has nowhere else to go.
  [[maybe_unused]] ssize_t written = ::write(g_fd, line.data(), line.size());
}

}  // namespace usl
