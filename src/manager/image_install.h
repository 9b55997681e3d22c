// Distributions made of images.
#pragma once

#include <string>

#include "base/result.h"
#include "manager/distributions.h"
#include "manager/image_store.h"

namespace usl::manager {

// What a distribution of this image is called unless the user says: the last part of its name, or that of the file.
std::string NameOfImage(const ImageReference& reference);

// Fetches the image and registers `distribution` with its layers and configuration; its name has been checked. On
// failure `why` has a line for people, and nothing but resumable downloads is left.
Result<void> InstallImage(const Distributions& distributions, const ImageReference& reference,
                          const FetchOptions& options, NewDistribution distribution, std::string* why);

}  // namespace usl::manager
