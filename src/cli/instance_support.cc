#include "cli/instance_support.h"

#include <cstdio>

#include "base/format.h"
#include "manager/distribution_lock.h"
#include "manager/image_config.h"
#include "manager/registry.h"
#include "manager/supervisor.h"

namespace usl::cli {

int Refuse(const std::string& why) {
  fprintf(stderr, "usl: %s\n", why.c_str());
  return manager::kOwnFailure;
}

Result<Target> FindTarget(const std::string& name, std::string* why) {
  const auto data = manager::Registry::OfUser().Read(why);
  if (!data) return Fail(data.error());
  const std::string& wanted = name.empty() ? data->default_distribution : name;
  if (wanted.empty()) {
    *why = "no distribution is installed: `usl install debian` gets one, `usl run` needs none";
    return Fail(ENOENT);
  }
  if (const manager::Distribution* distribution = data->Find(wanted)) {
    manager::InstanceSpec spec{.key = distribution->id, .distribution = distribution->name, .options = {}};
    // The rest is put in when it starts; this tells that the files are not the host's.
    spec.options.rootfs = manager::Registry::OfUser().UpperPath(*distribution);
    // Programs of one that was made of an image may need its variables.
    manager::AddImageEnvironment(distribution->config, &spec.options);
    return Target{distribution->id, distribution->name, std::move(spec)};
  }
  if (manager::IsValidName(wanted) && manager::AskState(wanted)) return Target{wanted, wanted, std::nullopt};
  if (data->distributions.empty()) {
    *why = manager::ExplainNoDistribution(*data, wanted);
    return Fail(ENOENT);
  }
  *why = format("there is no distribution and no running instance \"{}\"; `usl list` shows what there is", wanted);
  return Fail(ENOENT);
}

std::string Duration(int64_t seconds) {
  if (seconds < 60) return format("{}s", seconds);
  if (seconds < 3600) return format("{}m {}s", seconds / 60, seconds % 60);
  if (seconds < 86400) return format("{}h {}m", seconds / 3600, seconds / 60 % 60);
  return format("{}d {}h", seconds / 86400, seconds / 3600 % 24);
}

std::string Size(uint64_t bytes) {
  if (bytes < 1000) return format("{} B", bytes);
  constexpr const char* kUnits[] = {"kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes) / 1000;
  size_t unit = 0;
  for (; value >= 1000 && unit + 1 < std::size(kUnits); ++unit) value /= 1000;
  return format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace usl::cli
