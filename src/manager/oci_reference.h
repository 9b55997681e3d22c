// Names of container images and where they are.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace usl::manager {

// "sha256:" and 64 lower-case hex digits: the digits. Nothing for anything else; other algorithms are not supported.
std::optional<std::string> ParseDigest(std::string_view text);

enum class ImageTransport {
  kRegistry,       // docker://[REGISTRY/]NAME[:TAG][@sha256:...], or without docker://
  kLayout,         // oci:DIRECTORY[:TAG], the OCI image layout
  kOciArchive,     // oci-archive:FILE[:TAG], a tar of one
  kDockerArchive,  // docker-archive:FILE[:NAME[:TAG]], of docker save or podman save
};

struct ImageReference {
  ImageTransport transport = ImageTransport::kRegistry;
  std::string registry;    // HOST[:PORT] to connect to; "registry-1.docker.io" for docker.io
  std::string domain;      // the same as people write it: "docker.io"
  std::string repository;  // "library/alpine"
  std::string tag;         // empty with a digest only, and in local images for "the only one there"
  std::string digest;      // hex, or empty
  std::string path;        // of the local ones, absolute

  // The one spelling of it, for the registry of images: "docker://docker.io/library/alpine:latest".
  std::string Text() const;
};

// Whether the text starts with one of the transports. `usl install` takes only such names for images.
bool HasImageTransport(std::string_view text);

// Parses any of the forms above; a text without a transport is a name in a registry. Relative paths are taken from the
// current directory. On failure returns nothing and a line for people in `why`.
std::optional<ImageReference> ParseImageReference(const std::string& text, std::string* why);

}  // namespace usl::manager
