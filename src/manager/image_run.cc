#include "manager/image_run.h"

#include "base/format.h"
#include "manager/image_config.h"

namespace usl::manager {
namespace {

Result<Image> FindOrPull(const Registry& registry, const std::string& name, const FetchOptions& fetch,
                         std::string* why) {
  const RegistryData data = USL_TRY(registry.Read(why));
  if (const Image* image = FindImage(data, name, why)) return *image;
  const auto reference = ParseImageReference(name, why);
  if (!reference) return Fail(EINVAL);
  bool is_new = false;
  return PullImage(registry, *reference, fetch, &is_new, why);
}

}  // namespace

Result<StoreHold> UseImage(const Registry& registry, const std::string& image,
                           const std::optional<std::string>& entrypoint, const FetchOptions& fetch, RunOptions* options,
                           std::string* why) {
  StoreHold hold = USL_TRY(StoreHold::Take(registry, why));
  const Image found = USL_TRY(FindOrPull(registry, image, fetch, why));
  const LayerStore store(registry);
  for (const std::string& layer : found.layers) {
    if (!store.Has(layer)) {
      *why = format("a layer of \"{}\" is missing; `usl pull {}` fetches it again", found.reference, found.reference);
      return Fail(ENOENT);
    }
    options->layers.push_back(registry.LayerPath(layer));
  }
  // Without any there would be nothing between the guest and the view of this machine.
  if (options->layers.empty()) {
    *why = format("\"{}\" has no layers: there is nothing in it to run", found.reference);
    return Fail(ENOEXEC);
  }
  options->image = found.reference;
  options->guest_config = false;  // it is one program, and nobody has chosen to trust its files
  ApplyImageConfig(found.config, entrypoint, options);
  return hold;
}

}  // namespace usl::manager
