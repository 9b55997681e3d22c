// registry.json: what stands in it, read strictly. What the members mean stands in registry.h.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "manager/registry.h"

namespace usl::manager {

inline constexpr int kRegistryVersion = 1;

// EPROTONOSUPPORT for another version, EINVAL for anything that is not a well-formed registry (unknown keys too: they
// are a newer program's, and rewriting the file would lose them). `why` says what is wrong, without the file's name.
Result<RegistryData> ParseRegistry(std::string_view text, std::string* why);
// EINVAL, with a line in `why`, for text that JSON cannot hold (paths that are no UTF-8).
Result<std::string> PrintRegistry(const RegistryData& data, std::string* why);

}  // namespace usl::manager
