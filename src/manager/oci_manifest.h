// The documents that describe a container image: index, manifest and configuration, of OCI (image-spec 1.1) and of
// docker (image manifest version 2, schema 2). All of it is hostile input.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "manager/registry.h"

namespace usl::manager {

// Bytes that a manifest, an index or a configuration may have, and layers that an image may have (overlayfs takes 500).
inline constexpr uint64_t kMaxDocument = 4 << 20;
inline constexpr size_t kMaxLayers = 500;

struct Platform {
  std::string os, architecture, variant;
};

struct Descriptor {
  std::string media_type;
  std::string digest;  // hex of SHA-256
  uint64_t size = 0;
  std::optional<Platform> platform;
  std::map<std::string, std::string> annotations;
};

struct ImageManifest {
  Descriptor config;
  std::vector<Descriptor> layers;  // the lowest first
};

struct ImageConfiguration {
  Platform platform;
  std::vector<std::string> diff_ids;  // hex of SHA-256 of the uncompressed layers, the lowest first
  ImageConfig config;
};

// An index (or docker's manifest list) or a manifest, whichever it is.
struct ImageDocument {
  std::optional<std::vector<Descriptor>> index;
  std::optional<ImageManifest> manifest;
};

// The media types to ask a registry for, for an Accept header.
std::string AcceptedManifests();

// Each returns nothing and a line for people in `why` ("it has no layers") when the text is not what it should be:
// wrong types, missing members, no digest where one belongs, something of another kind. Unknown members are ignored.
std::optional<ImageDocument> ParseImageDocument(std::string_view text, std::string* why);
std::optional<ImageConfiguration> ParseImageConfiguration(std::string_view text, std::string* why);

// The entry of an index for this machine, linux/amd64; with a `tag` only those of that name
// (org.opencontainers.image.ref.name). Nothing and `why` when there is none, or when several could be meant.
std::optional<Descriptor> ChooseManifest(const std::vector<Descriptor>& index, const std::string& tag,
                                         std::string* why);

// The images in a tar of docker save: manifest.json.
struct DockerArchiveEntry {
  std::string config;  // names of members
  std::vector<std::string> layers;
  std::vector<std::string> tags;  // "alpine:latest"
};
std::optional<std::vector<DockerArchiveEntry>> ParseDockerArchive(std::string_view text, std::string* why);
// The one that `tag` ("alpine", "alpine:3", "docker.io/library/alpine:3") names; with an empty one the only one.
std::optional<DockerArchiveEntry> ChooseArchiveEntry(const std::vector<DockerArchiveEntry>& entries,
                                                     const std::string& tag, std::string* why);

}  // namespace usl::manager
