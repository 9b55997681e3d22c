// What the commands on instances share.
#pragma once

#include <optional>
#include <string>

#include "manager/instance_client.h"

namespace usl::cli {

// What a name means to a user: a distribution, which is started when it is needed, or an instance that runs.
struct Target {
  std::string key;
  std::string name;
  std::optional<manager::InstanceSpec> spec;  // none: it can be joined only

  const manager::InstanceSpec* Spec() const { return spec ? &*spec : nullptr; }
};

// An empty name is the default distribution. On failure `why` has a line for people.
Result<Target> FindTarget(const std::string& name, std::string* why);

// One line on standard error; returns 125.
int Refuse(const std::string& why);

// "2d 3h", "5m 10s": how long something has lasted.
std::string Duration(int64_t seconds);
// "12.3 MB": bytes for people.
std::string Size(uint64_t bytes);

}  // namespace usl::cli
