// Images of a user: fetching them into the layer store, keeping and removing their names.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "manager/layer_store.h"
#include "manager/oci_reference.h"
#include "manager/registry.h"

namespace usl::manager {

struct FetchStep {
  enum class Phase { kResolve, kDownload, kUnpack, kPresent };
  Phase phase = Phase::kResolve;
  size_t layer = 0, layers = 0;  // counted from 1; 0: not one of a layer
  uint64_t done = 0, total = 0;  // bytes; a total of 0: not known
  std::string name;              // what is fetched, short: "sha256:0123456789ab"
  std::string note;              // of the download: what it waits for, or why it tries again
};
// At least once a second, and for each change of the phase. False ends it (ECANCELED).
using FetchCallback = std::function<bool(const FetchStep&)>;

struct FetchOptions {
  bool plain_http = false;  // registries without TLS also elsewhere than on the loopback
  FetchCallback progress;
};

// Fetches an image and unpacks those of its layers that are not in the store yet. It has no name afterwards: the caller
// registers it, or a distribution of its layers, while it keeps the hold. Nothing but resumable downloads is left
// behind on failure. On failure `why` has a line for people.
Result<Image> FetchImage(const Registry& registry, const StoreHold& hold, const ImageReference& reference,
                         const FetchOptions& options, std::string* why);

// The same, and gives it its name, which an older one of the name loses. `is_new`: it was not there like that.
Result<Image> PullImage(const Registry& registry, const ImageReference& reference, const FetchOptions& options,
                        bool* is_new, std::string* why);

// Which image people mean: its reference in any spelling, its digest, or a unique beginning of that of 4 hex digits at
// least. Null when there is none; then `why` says so, or that there are several.
const Image* FindImage(const RegistryData& data, const std::string& text, std::string* why);

// Takes the names away and then removes the layers that nothing else needs. All of them or, on failure, none.
Result<void> RemoveImages(const Registry& registry, const std::vector<std::string>& names, std::string* why);

}  // namespace usl::manager
