// Throw-away instances of images.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "manager/image_store.h"
#include "manager/run_options.h"

namespace usl::manager {

// Makes `options` those of an instance of an image: its layers, and what its configuration says (ApplyImageConfig). An
// image that is not here is fetched first. Its layers are there for as long as the hold lives, in this process or one
// that was forked from it. On failure `why` has a line for people.
Result<StoreHold> UseImage(const Registry& registry, const std::string& image,
                           const std::optional<std::string>& entrypoint, const FetchOptions& fetch, RunOptions* options,
                           std::string* why);

}  // namespace usl::manager
