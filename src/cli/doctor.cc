#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "manager/host_paths.h"
#include "manager/supervisor.h"
#include "platform/host_features.h"

namespace usl::cli {
namespace {

const char* Mark(platform::FeatureState state) {
  switch (state) {
    case platform::FeatureState::kOk: return "ok      ";
    case platform::FeatureState::kDegraded: return "degraded";
    case platform::FeatureState::kMissing: return "MISSING ";
  }
  return "?";
}

std::string JsonText(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20) continue;
    out += c;
  }
  return out + "\"";
}

void PrintJson(const std::vector<platform::HostFeature>& features) {
  constexpr const char* kNames[] = {"ok", "degraded", "missing"};
  fputs("[\n", stdout);
  for (size_t i = 0; i < features.size(); ++i) {
    const auto& feature = features[i];
    printf("  {\"name\": %s, \"state\": \"%s\", \"detail\": %s, \"advice\": %s}%s\n", JsonText(feature.name).c_str(),
           kNames[static_cast<int>(feature.state)], JsonText(feature.detail).c_str(), JsonText(feature.advice).c_str(),
           i + 1 < features.size() ? "," : "");
  }
  fputs("]\n", stdout);
}

int RunDoctor(bool json) {
  const std::string directory = manager::DataDirectory();
  const bool there = manager::MakeDirectories(directory).has_value();
  const auto features = platform::ProbeHost(there ? directory : std::string());
  const bool can_run = platform::CanRun(features);
  if (json) {
    PrintJson(features);
    return can_run ? 0 : 1;
  }
  for (const auto& feature : features) {
    printf("%s  %s: %s\n", Mark(feature.state), feature.name.c_str(), feature.detail.c_str());
    if (!feature.advice.empty()) printf("          %s\n", feature.advice.c_str());
  }
  if (!there) printf("degraded  data directory: cannot create %s\n", directory.c_str());
  puts(can_run ? "USL can run here." : "USL cannot run here until what is missing is there.");
  return can_run ? 0 : 1;
}

}  // namespace

Command AddDoctor(CLI::App& parser) {
  CLI::App* app = parser.add_subcommand("doctor", "Tell what this host offers USL and what it lacks, and what to do");
  auto json = std::make_shared<bool>(false);
  app->add_flag("--json", *json, "Print a JSON array");
  return {app, [json](const std::vector<std::string>&) { return RunDoctor(*json); }};
}

}  // namespace usl::cli
