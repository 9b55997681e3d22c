// What people see while an image or a file comes: a line that changes on a terminal, else one for each step.
#pragma once

#include <chrono>
#include <string>

#include "manager/image_store.h"

namespace usl::cli {

// "512 B", "1.5 MiB".
std::string SizeText(uint64_t bytes);

class FetchDisplay {
 public:
  // Writes to standard error; nothing when quiet.
  explicit FetchDisplay(bool quiet);
  ~FetchDisplay();
  FetchDisplay(const FetchDisplay&) = delete;
  FetchDisplay& operator=(const FetchDisplay&) = delete;

  // For FetchOptions::progress. Always true.
  bool Show(const manager::FetchStep& step);
  // Ends the line that changes, before something else is written.
  void Finish();

 private:
  using Clock = std::chrono::steady_clock;
  void ShowLine(const manager::FetchStep& step, bool is_new_phase);
  void ShowBar(const manager::FetchStep& step);

  bool quiet_, is_terminal_;
  bool has_bar_ = false;
  manager::FetchStep last_;
  bool is_first_ = true;
  Clock::time_point phase_start_{};
  uint64_t phase_base_ = 0;  // bytes that were there when the phase began
};

}  // namespace usl::cli
