// What the host offers USL, each thing found out by trying it, for `usl doctor` and for messages.
#pragma once

#include <string>
#include <vector>

namespace usl::platform {

enum class FeatureState {
  kOk,
  kDegraded,  // USL works, slower or with less
  kMissing,   // USL cannot run
};

struct HostFeature {
  std::string name;  // "seccomp user notification"
  FeatureState state = FeatureState::kOk;
  std::string detail;  // what was found
  std::string advice;  // what to do about it; empty when kOk
};

// Probes everything (some 20 ms; forks children where a probe leaves traces). `directory`: where distributions will be
// kept, for the user.* attribute probe; empty = skip it. Call it while the process is single-threaded.
std::vector<HostFeature> ProbeHost(const std::string& directory);
// Whether any is kMissing.
bool CanRun(const std::vector<HostFeature>& features);

}  // namespace usl::platform
