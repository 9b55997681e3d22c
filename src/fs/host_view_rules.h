// Which parts of the host's root the host view leaves out, as data.
#pragma once

#include <string_view>
#include <vector>

#include "fs/layer.h"

namespace usl::fs {

struct HostViewRule {
  std::string_view path;  // below the host's root
  HostRule::Action action;
};

const std::vector<HostViewRule>& HostViewRules();

// Home directories that are system directories (those of daemons' accounts) stay visible.
bool IsSystemDirectory(std::string_view path);

}  // namespace usl::fs
