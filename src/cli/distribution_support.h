// What the commands on distributions share.
#pragma once

#include <chrono>
#include <string>

#include "manager/archive_reader.h"
#include "manager/distributions.h"

namespace usl::cli {

// One line on standard error; returns 125.
int Fail(const std::string& why);

// From now on SIGINT, SIGTERM and SIGHUP end the work at the next chance instead of the process, so that nothing half
// made is left. The process is one command; the handlers stay.
void CatchInterrupts();
bool WasInterrupted();
// The exit status after an interrupted command: what a shell shows for the signal; else 125.
int StatusOfFailure();

// A line that is written over on a terminal; elsewhere a line every few seconds.
class Progress {
 public:
  Progress(std::string what, bool quiet) : what_(std::move(what)), quiet_(quiet) {}
  ~Progress() { Clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // False once the user interrupted.
  bool Show(const manager::ArchiveProgress& progress);
  manager::ArchiveCallback Callback() {
    return [this](const manager::ArchiveProgress& progress) { return Show(progress); };
  }
  // Takes the line away.
  void Clear();

 private:
  std::string what_;
  bool quiet_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

// Opens an archive to read; "-" is standard input. On failure `why` has a line for people.
Result<UniqueFd> OpenInput(const std::string& path, std::string* why);
// The name without its directories and the ends that archives have; what a distribution cannot be called becomes '-'.
std::string NameOfArchive(const std::string& path);

}  // namespace usl::cli
