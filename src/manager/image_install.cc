#include "manager/image_install.h"

#include <algorithm>

namespace usl::manager {

std::string NameOfImage(const ImageReference& reference) {
  std::string name = reference.transport == ImageTransport::kRegistry ? reference.repository : reference.path;
  name = name.substr(name.rfind('/') + 1);
  for (const char* end : {".gz", ".xz", ".zst", ".bz2", ".tar", ".tgz"}) {
    if (name.ends_with(end) && name.size() > std::string_view(end).size()) {
      name.resize(name.size() - std::string_view(end).size());
    }
  }
  std::ranges::replace_if(
      name, [](char c) { return !IsValidName(std::string("x") + c); }, '-');
  if (name.empty() || !IsValidName(name.substr(0, 1))) name.insert(0, "image");
  name.resize(std::min<size_t>(name.size(), 64));
  return name;
}

Result<void> InstallImage(const Distributions& distributions, const ImageReference& reference,
                          const FetchOptions& options, NewDistribution distribution, std::string* why) {
  distributions.store().Sweep();
  const StoreHold hold = USL_TRY(StoreHold::Take(distributions.registry(), why));
  Image image = USL_TRY(FetchImage(distributions.registry(), hold, reference, options, why));
  distribution.layers = std::move(image.layers);
  distribution.config = std::move(image.config);
  return distributions.Add(hold, distribution, why);
}

}  // namespace usl::manager
