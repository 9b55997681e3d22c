// What the configuration of an image says of running it, as docker understands it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "manager/registry.h"
#include "manager/run_options.h"

namespace usl::manager {

// Fills in what the user did not say. The command is the entrypoint with the user's words or else the image's behind
// it; `entrypoint` replaces that of the image, and then the image's words do not count (an empty one: no entrypoint).
// The user's variables win over the image's; one of the image's without a value is left out, as nothing of the host's
// environment shall come in by an image. The working directory is the image's or "/".
void ApplyImageConfig(const ImageConfig& config, const std::optional<std::string>& entrypoint, RunOptions* options);

// The environment alone.
void AddImageEnvironment(const ImageConfig& config, RunOptions* options);

}  // namespace usl::manager
