#include "manager/oci_manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/format.h"
#include "manager/oci_reference.h"

namespace usl::manager {
namespace {

using nlohmann::json;

constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
constexpr std::string_view kDockerIndex = "application/vnd.docker.distribution.manifest.list.v2+json";
constexpr std::string_view kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
// No sensible layer is larger; sums of sizes do not overflow.
constexpr uint64_t kMaxBlob = uint64_t{1} << 42;
constexpr size_t kMaxEntries = 10000;
constexpr size_t kMaxWords = 10000;

// Texts for messages: what a document says may have control characters.
std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const unsigned char c : text.substr(0, 200)) out += c < 0x20 || c == 0x7F ? '?' : static_cast<char>(c);
  return out + "\"";
}

// Reads members of one object; the first thing that is wrong stays in `why`.
class Object {
 public:
  Object(const json& value, std::string name, std::string* why) : value_(value), name_(std::move(name)), why_(why) {
    if (!value.is_object()) Refuse(format("{} is no object", name_));
  }
  bool good() const { return good_; }
  void Refuse(const std::string& why) {
    if (good_) *why_ = why;
    good_ = false;
  }

  // Absent or null is as good as empty where it is not `required`.
  const json* Member(const char* key, bool required) {
    if (!good_) return nullptr;
    const auto found = value_.find(key);
    if (found != value_.end() && !found->is_null()) return &*found;
    if (required) Refuse(format("{} has no \"{}\"", name_, key));
    return nullptr;
  }

  std::string Text(const char* key, bool required = false) {
    const json* member = Member(key, required);
    if (!member) return {};
    if (!member->is_string()) return Refuse(format("\"{}\" of {} is no text", key, name_)), std::string();
    auto text = member->get<std::string>();
    if (text.find('\0') != text.npos) Refuse(format("\"{}\" of {} has a NUL in it", key, name_));
    return text;
  }

  std::string Digest(const char* key) {
    const std::string text = Text(key, true);
    if (!good_) return {};
    const auto digest = ParseDigest(text);
    if (!digest) Refuse(format("\"{}\" of {} is {}, which is no SHA-256 digest", key, name_, Quoted(text)));
    return digest.value_or("");
  }

  uint64_t Size(const char* key) {
    const json* member = Member(key, true);
    if (!member) return 0;
    if (!member->is_number_unsigned() || member->get<uint64_t>() > kMaxBlob) {
      return Refuse(format("\"{}\" of {} is no sensible size", key, name_)), 0;
    }
    return member->get<uint64_t>();
  }

  // An array, or null where it is absent and not required.
  const json* List(const char* key, bool required, size_t limit) {
    const json* member = Member(key, required);
    if (!member) return nullptr;
    if (!member->is_array()) return Refuse(format("\"{}\" of {} is no list", key, name_)), nullptr;
    if (member->size() > limit) {
      return Refuse(format("\"{}\" of {} has {} entries, more than the {} that are allowed", key, name_, member->size(),
                           limit)),
             nullptr;
    }
    return member;
  }

  std::vector<std::string> Texts(const char* key, bool required = false) {
    std::vector<std::string> texts;
    const json* list = List(key, required, kMaxWords);
    if (!list) return texts;
    for (const json& each : *list) {
      if (!each.is_string() || each.get_ref<const std::string&>().find('\0') != std::string::npos) {
        return Refuse(format("\"{}\" of {} has something that is no text", key, name_)), std::vector<std::string>();
      }
      texts.push_back(each.get<std::string>());
    }
    return texts;
  }

  std::map<std::string, std::string> TextMap(const char* key) {
    std::map<std::string, std::string> texts;
    const json* member = Member(key, false);
    if (!member) return texts;
    if (!member->is_object()) return Refuse(format("\"{}\" of {} is no object", key, name_)), texts;
    for (const auto& [name, each] : member->items()) {
      if (each.is_string()) texts.emplace(name, each.get<std::string>());
    }
    return texts;
  }

 private:
  const json& value_;
  std::string name_;
  std::string* why_;
  bool good_ = true;
};

std::optional<json> Parse(std::string_view text, std::string* why) {
  if (text.size() > kMaxDocument) {
    *why = format("it has {} bytes, more than the {} that are allowed", text.size(), kMaxDocument);
    return std::nullopt;
  }
  json value = json::parse(text, nullptr, false);
  if (!value.is_discarded()) return value;
  *why = "it is no JSON";
  return std::nullopt;
}

std::optional<Descriptor> ParseDescriptor(const json& value, const std::string& name, std::string* why) {
  Object object(value, name, why);
  Descriptor descriptor{.media_type = object.Text("mediaType"),
                        .digest = object.Digest("digest"),
                        .size = object.Size("size"),
                        .platform = {},
                        .annotations = object.TextMap("annotations")};
  if (const json* member = object.Member("platform", false)) {
    Object platform(*member, "platform of " + name, why);
    descriptor.platform = {platform.Text("os"), platform.Text("architecture"), platform.Text("variant")};
    if (!platform.good()) return std::nullopt;
  }
  if (!object.good()) return std::nullopt;
  return descriptor;
}

std::optional<std::vector<Descriptor>> ParseDescriptors(const json& list, const std::string& name, std::string* why) {
  std::vector<Descriptor> descriptors;
  for (const json& each : list) {
    auto descriptor = ParseDescriptor(each, format("{} {}", name, descriptors.size() + 1), why);
    if (!descriptor) return std::nullopt;
    descriptors.push_back(std::move(*descriptor));
  }
  return descriptors;
}

bool IsImageLayer(std::string_view type) {
  return type.empty() || type.starts_with("application/vnd.oci.image.layer.") ||
         type.starts_with("application/vnd.docker.image.rootfs.");
}

std::optional<ImageManifest> ParseManifest(Object& object, std::string* why) {
  const json* config = object.Member("config", true);
  const json* layers = object.List("layers", true, kMaxLayers);
  if (!config || !layers) return std::nullopt;
  auto descriptor = ParseDescriptor(*config, "the configuration", why);
  auto descriptors = ParseDescriptors(*layers, "layer", why);
  if (!descriptor || !descriptors) return std::nullopt;
  const std::string& type = descriptor->media_type;
  const bool is_image = type.empty() || type == "application/vnd.oci.image.config.v1+json" ||
                        type == "application/vnd.docker.container.image.v1+json";
  if (!is_image) return object.Refuse("it is no image of a Linux but " + Quoted(type)), std::nullopt;
  for (const Descriptor& layer : *descriptors) {
    if (layer.media_type.ends_with("+encrypted")) return object.Refuse("its layers are encrypted"), std::nullopt;
    if (!IsImageLayer(layer.media_type)) {
      return object.Refuse("it has a layer of the unknown kind " + Quoted(layer.media_type)), std::nullopt;
    }
  }
  return ImageManifest{std::move(*descriptor), std::move(*descriptors)};
}

std::string Describe(const Platform& platform) {
  const std::string text = platform.os + "/" + platform.architecture;
  return platform.variant.empty() ? text : text + "/" + platform.variant;
}

// How well a platform suits this machine; 0: not at all.
int Fit(const Platform& platform) {
  if (platform.os != "linux" || platform.architecture != "amd64") return 0;
  // The others (v2 and up) are for newer processors.
  return platform.variant.empty() || platform.variant == "v1" ? 2 : 1;
}

// "docker.io/library/alpine:3" for every way to write it; the text itself when it is no such name.
std::string FullName(const std::string& text) {
  std::string why;
  const auto reference = ParseImageReference("docker://" + text, &why);
  return reference ? reference->Text() : text;
}

}  // namespace

std::string AcceptedManifests() {
  return format("{}, {}, {}, {}", kOciIndex, kOciManifest, kDockerIndex, kDockerManifest);
}

std::optional<ImageDocument> ParseImageDocument(std::string_view text, std::string* why) {
  const auto value = Parse(text, why);
  if (!value) return std::nullopt;
  Object object(*value, "the manifest", why);
  const std::string type = object.Text("mediaType");
  const json* version = object.Member("schemaVersion", false);
  if (!object.good()) return std::nullopt;
  if (version && *version == 1) {
    *why = "it is of the old manifest schema 1, which is not supported; push the image anew with a newer tool";
    return std::nullopt;
  }
  if (!version || *version != 2) {
    *why = "it is no manifest of an image (schemaVersion is not 2)";
    return std::nullopt;
  }
  const bool has_index = object.Member("manifests", false) != nullptr;
  const bool has_manifest = object.Member("layers", false) != nullptr || object.Member("config", false) != nullptr;
  // Two readers could otherwise see two images in one digest.
  if (has_index == has_manifest) {
    *why = has_index ? "it claims to be an index and a manifest at once" : "it has neither manifests nor layers";
    return std::nullopt;
  }
  const bool type_is_index = type == kOciIndex || type == kDockerIndex;
  const bool type_is_manifest = type == kOciManifest || type == kDockerManifest;
  if (!type.empty() && (has_index ? !type_is_index : !type_is_manifest)) {
    *why = format("it is of the kind {}, which does not suit what is in it", Quoted(type));
    return std::nullopt;
  }
  ImageDocument document;
  if (has_index) {
    const json* list = object.List("manifests", true, kMaxEntries);
    if (list) document.index = ParseDescriptors(*list, "manifest", why);
    if (!document.index) return std::nullopt;
  } else {
    document.manifest = ParseManifest(object, why);
    if (!document.manifest) return std::nullopt;
  }
  return document;
}

std::optional<ImageConfiguration> ParseImageConfiguration(std::string_view text, std::string* why) {
  const auto value = Parse(text, why);
  if (!value) return std::nullopt;
  Object object(*value, "the configuration", why);
  ImageConfiguration result;
  result.platform = {object.Text("os"), object.Text("architecture"), object.Text("variant")};
  if (const json* rootfs = object.Member("rootfs", true)) {
    Object tree(*rootfs, "\"rootfs\" of the configuration", why);
    for (const std::string& each : tree.Texts("diff_ids", true)) {
      const auto digest = ParseDigest(each);
      if (!digest) tree.Refuse("the diff_id " + Quoted(each) + " is no SHA-256 digest");
      result.diff_ids.push_back(digest.value_or(""));
    }
    if (!tree.good()) return std::nullopt;
  }
  if (const json* member = object.Member("config", false)) {
    Object config(*member, "\"config\" of the configuration", why);
    result.config = {.entrypoint = config.Texts("Entrypoint"),
                     .command = config.Texts("Cmd"),
                     .environment = config.Texts("Env"),
                     .user = config.Text("User"),
                     .working_directory = config.Text("WorkingDir"),
                     .stop_signal = config.Text("StopSignal")};
    if (!config.good()) return std::nullopt;
  }
  if (!object.good()) return std::nullopt;
  if (result.diff_ids.size() > kMaxLayers) {
    *why = format("it has {} layers, more than the {} that are allowed", result.diff_ids.size(), kMaxLayers);
    return std::nullopt;
  }
  if (Fit(result.platform) == 0) {
    *why = format("it is for {}, and this machine is linux/amd64", Quoted(Describe(result.platform)));
    return std::nullopt;
  }
  return result;
}

std::optional<Descriptor> ChooseManifest(const std::vector<Descriptor>& index, const std::string& tag,
                                         std::string* why) {
  const auto name_of = [](const Descriptor& descriptor) {
    const auto found = descriptor.annotations.find("org.opencontainers.image.ref.name");
    return found == descriptor.annotations.end() ? std::string() : found->second;
  };
  std::vector<const Descriptor*> best;
  int best_fit = 1;
  bool is_named = false;
  std::string platforms, tags;
  for (const Descriptor& each : index) {
    const std::string name = name_of(each);
    if (!name.empty()) tags += " " + name;
    if (!tag.empty() && name != tag) continue;
    is_named = true;
    // "unknown" are attestations. Without a platform it is for whom it may concern; its configuration tells.
    if (each.platform && each.platform->os != "unknown") platforms += " " + Describe(*each.platform);
    const int fit = each.platform ? Fit(*each.platform) : 1;
    if (fit < best_fit) continue;
    if (fit > best_fit) best.clear();
    best_fit = fit;
    best.push_back(&each);
  }
  // Of several for one platform the first counts, as everywhere; but not where they are images of different names.
  const bool is_ambiguous = std::ranges::any_of(best, [&](const Descriptor* each) {
    return each->digest != best.front()->digest && (!each->platform || name_of(*each) != name_of(*best.front()));
  });
  if (!best.empty() && !is_ambiguous) return *best.front();
  if (!is_named) {
    *why = tag.empty() ? "there is no image in it" : format("there is no {} in it, only:{}", Quoted(tag), tags);
  } else if (is_ambiguous) {
    *why = format("there are several images in it; say which one by its tag, one of:{}", tags);
  } else {
    *why = format("it is there for{} and not for linux/amd64", platforms.empty() ? " nothing" : platforms);
  }
  // Names and platforms are the document's.
  std::ranges::replace_if(
      *why, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }, '?');
  return std::nullopt;
}

std::optional<std::vector<DockerArchiveEntry>> ParseDockerArchive(std::string_view text, std::string* why) {
  const auto value = Parse(text, why);
  if (!value) return std::nullopt;
  if (!value->is_array() || value->empty() || value->size() > kMaxEntries) {
    *why = "it is no list of images";
    return std::nullopt;
  }
  std::vector<DockerArchiveEntry> entries;
  for (const json& each : *value) {
    Object object(each, format("image {}", entries.size() + 1), why);
    entries.push_back({object.Text("Config", true), object.Texts("Layers", true), object.Texts("RepoTags")});
    if (entries.back().layers.size() > kMaxLayers) object.Refuse("it has too many layers");
    if (!object.good()) return std::nullopt;
  }
  return entries;
}

std::optional<DockerArchiveEntry> ChooseArchiveEntry(const std::vector<DockerArchiveEntry>& entries,
                                                     const std::string& tag, std::string* why) {
  if (tag.empty() && entries.size() == 1) return entries.front();
  std::string tags;
  const std::string wanted = FullName(tag);
  for (const DockerArchiveEntry& entry : entries) {
    for (const std::string& each : entry.tags) {
      if (!tag.empty() && FullName(each) == wanted) return entry;
      tags += " " + Quoted(each);
    }
  }
  *why = tag.empty() ? format("there are {} images in it; say which one by its tag, one of:{}", entries.size(), tags)
                     : format("there is no {} in it, only:{}", Quoted(tag), tags);
  return std::nullopt;
}

}  // namespace usl::manager
