#include "cli/fetch_display.h"

#include <unistd.h>

#include <cstdio>

#include "base/format.h"

namespace usl::cli {
namespace {

using manager::FetchStep;

std::string Place(const FetchStep& step) {
  return step.layer > 0 ? format("layer {} of {}: ", step.layer, step.layers) : std::string();
}

std::string Action(const FetchStep& step) {
  switch (step.phase) {
    case FetchStep::Phase::kResolve: return "looking for " + step.name;
    case FetchStep::Phase::kDownload: return "fetching " + step.name;
    case FetchStep::Phase::kUnpack: return "unpacking " + step.name;
    case FetchStep::Phase::kPresent: return step.name + " is there already";
  }
  return {};
}

std::string TimeText(double seconds) {
  const auto whole = static_cast<long>(seconds + 0.5);
  if (whole < 60) return format("{} s", whole);
  if (whole < 3600) return format("{} min {} s", whole / 60, whole % 60);
  return format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

}  // namespace

std::string SizeText(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) value /= 1024, ++unit;
  return unit == 0 ? format("{} B", bytes) : format("{:.1f} {}", value, kUnits[unit]);
}

FetchDisplay::FetchDisplay(bool quiet) : quiet_(quiet), is_terminal_(isatty(STDERR_FILENO)) {}

FetchDisplay::~FetchDisplay() {
  Finish();
}

void FetchDisplay::Finish() {
  if (has_bar_) fputs("\r\033[K", stderr);
  has_bar_ = false;
}

bool FetchDisplay::Show(const FetchStep& step) {
  const bool is_new_phase = is_first_ || step.phase != last_.phase || step.layer != last_.layer;
  if (is_new_phase) {
    phase_start_ = Clock::now();
    phase_base_ = 0;
  }
  if (phase_base_ == 0) phase_base_ = step.done;
  if (!quiet_) {
    if (is_terminal_)
      ShowBar(step);
    else
      ShowLine(step, is_new_phase);
  }
  is_first_ = false;
  last_ = step;
  return true;
}

void FetchDisplay::ShowLine(const FetchStep& step, bool is_new_phase) {
  if (is_new_phase) fprintf(stderr, "%s%s\n", Place(step).c_str(), Action(step).c_str());
  if (!step.note.empty() && step.note != last_.note) fprintf(stderr, "%s%s\n", Place(step).c_str(), step.note.c_str());
}

void FetchDisplay::ShowBar(const FetchStep& step) {
  std::string line = Place(step) + Action(step);
  if (step.done > 0) line += "  " + SizeText(step.done);
  if (step.total > 0) line += " of " + SizeText(step.total);
  const double seconds = std::chrono::duration<double>(Clock::now() - phase_start_).count();
  const double rate = seconds > 0.5 ? static_cast<double>(step.done - std::min(step.done, phase_base_)) / seconds : 0;
  if (rate > 0) line += format("  {}/s", SizeText(static_cast<uint64_t>(rate)));
  if (rate > 0 && step.total > step.done) line += "  " + TimeText(static_cast<double>(step.total - step.done) / rate);
  if (!step.note.empty()) line += "  (" + step.note + ")";
  fprintf(stderr, "\r\033[K%s", line.c_str());
  fflush(stderr);
  has_bar_ = true;
}

}  // namespace usl::cli
