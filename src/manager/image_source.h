// Where the parts of a container image come from: a registry, an OCI layout, an archive.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "manager/fetch.h"
#include "manager/oci_manifest.h"
#include "manager/oci_reference.h"

namespace usl::manager {

struct ImageLayer {
  std::string diff_id;  // hex of SHA-256 of the uncompressed tar
  std::string blob;     // hex of SHA-256 of what is stored; empty where the source does not say
  std::string member;   // of a docker archive
  uint64_t size = 0;    // bytes of the blob; 0: not known
};

// An image whose documents have been read and verified.
struct ResolvedImage {
  std::string digest;  // "sha256:..." of its manifest; of its configuration for docker archives
  ImageConfig config;
  std::vector<ImageLayer> layers;  // the lowest first
};

class ImageSource {
 public:
  virtual ~ImageSource() = default;
  // Reads manifest and configuration. On failure `why` has a line for people.
  virtual Result<ResolvedImage> Resolve(std::string* why) = 0;
  // A descriptor of a layer's blob (a tar, compressed or not), at its start; size and digest have been verified where
  // they are known. Layers that will not be asked for cost nothing.
  virtual Result<UniqueFd> OpenLayer(const ImageLayer& layer, std::string* why) = 0;
  // The layer is in the layer store: what was kept for resuming can go.
  virtual void Forget(const ImageLayer&) {}
};

struct ImageSourceOptions {
  std::string cache;  // directory for blobs that are downloaded, and for unnamed files; is made
  bool plain_http = false;
};

// `fetcher` is for registries and outlives the source.
Result<std::unique_ptr<ImageSource>> OpenImageSource(const ImageReference& reference, const ImageSourceOptions& options,
                                                     Fetcher& fetcher, std::string* why);

}  // namespace usl::manager
