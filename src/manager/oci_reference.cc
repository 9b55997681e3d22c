#include "manager/oci_reference.h"

#include <algorithm>
#include <filesystem>

#include "base/format.h"

namespace usl::manager {
namespace {

constexpr size_t kMaxRepository = 255, kMaxTag = 128;

bool IsLower(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool IsWord(char c) {
  return IsLower(c) || (c >= 'A' && c <= 'Z') || c == '_';
}

bool IsTag(std::string_view text) {
  return !text.empty() && text.size() <= kMaxTag && IsWord(text[0]) &&
         std::ranges::all_of(text, [](char c) { return IsWord(c) || c == '.' || c == '-'; });
}

// Between letters and digits one dot, one or two underscores, or any number of dashes.
bool IsPathComponent(std::string_view text) {
  size_t at = 0;
  while (true) {
    const size_t start = at;
    while (at < text.size() && IsLower(text[at])) ++at;
    if (at == start) return false;
    if (at == text.size()) return true;
    const size_t separator = at;
    while (at < text.size() && !IsLower(text[at])) ++at;
    const std::string_view between = text.substr(separator, at - separator);
    const bool dashes = between.find_first_not_of('-') == between.npos;
    if (between != "." && between != "_" && between != "__" && !dashes) return false;
  }
}

bool IsRepository(std::string_view text) {
  if (text.size() > kMaxRepository) return false;
  while (true) {
    const size_t slash = text.find('/');
    if (!IsPathComponent(text.substr(0, slash))) return false;
    if (slash == text.npos) return true;
    text.remove_prefix(slash + 1);
  }
}

bool IsPort(std::string_view text) {
  return !text.empty() && text.size() <= 5 && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// A host name, an IPv4 address or [IPv6], with or without a port.
bool IsDomain(std::string_view text) {
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == text.npos || end < 3) return false;
    const std::string_view address = text.substr(1, end - 1);
    const bool good = address.find_first_not_of("0123456789abcdefABCDEF:.") == address.npos;
    return good && (end + 1 == text.size() || (text[end + 1] == ':' && IsPort(text.substr(end + 2))));
  }
  const size_t colon = text.find(':');
  if (colon != text.npos && !IsPort(text.substr(colon + 1))) return false;
  const std::string_view host = text.substr(0, colon);
  return !host.empty() && host.size() <= 253 && host.front() != '-' && host.front() != '.' && host.back() != '-' &&
         host.find("..") == host.npos &&
         std::ranges::all_of(host, [](char c) { return (IsWord(c) && c != '_') || c == '.' || c == '-'; });
}

std::optional<ImageReference> RegistryName(std::string_view text, const std::string& whole, std::string* why) {
  const auto refuse = [&](std::string_view what) {
    *why = format("\"{}\" is no name of an image: {}", whole, what);
    return std::nullopt;
  };
  ImageReference reference;
  if (const size_t at = text.find('@'); at != text.npos) {
    const auto digest = ParseDigest(text.substr(at + 1));
    if (!digest) return refuse("after \"@\" stands \"sha256:\" with 64 lower-case hex digits");
    reference.digest = *digest;
    text = text.substr(0, at);
  }
  if (const size_t slash = text.find('/'); slash != text.npos) {
    const std::string_view first = text.substr(0, slash);
    if (first.find_first_of(".:[") != first.npos || first == "localhost") {
      if (!IsDomain(first)) return refuse(format("\"{}\" is no HOST or HOST:PORT", first));
      reference.domain = first;
      text.remove_prefix(slash + 1);
    }
  }
  if (const size_t colon = text.rfind(':'); colon != text.npos) {
    reference.tag = text.substr(colon + 1);
    if (!IsTag(reference.tag)) return refuse(format("\"{}\" is no tag", reference.tag));
    text = text.substr(0, colon);
  }
  if (!IsRepository(text))
    return refuse("names are lower-case letters and digits with \".\", \"_\", \"-\" and \"/\" between");
  reference.repository = text;
  if (reference.domain == "index.docker.io" || reference.domain.empty()) reference.domain = "docker.io";
  reference.registry = reference.domain;
  if (reference.domain == "docker.io") {
    reference.registry = "registry-1.docker.io";
    if (reference.repository.find('/') == std::string::npos) reference.repository.insert(0, "library/");
  }
  if (reference.tag.empty() && reference.digest.empty()) reference.tag = "latest";
  return reference;
}

struct Prefix {
  std::string_view text;
  ImageTransport transport;
};
constexpr Prefix kPrefixes[] = {{"docker://", ImageTransport::kRegistry},
                                {"oci:", ImageTransport::kLayout},
                                {"oci-archive:", ImageTransport::kOciArchive},
                                {"docker-archive:", ImageTransport::kDockerArchive}};

// PATH or PATH:TAG; a path that exists as it is needs no tag taken off.
ImageReference LocalName(const Prefix& prefix, std::string_view text) {
  ImageReference reference{.transport = prefix.transport};
  std::error_code none;
  // NAME:TAG of a docker archive may have a slash: the first colon ends the file there.
  const bool is_docker = prefix.transport == ImageTransport::kDockerArchive;
  const size_t colon = is_docker ? text.find(':') : text.rfind(':');
  if (colon != text.npos && !std::filesystem::exists(text, none)) {
    const std::string_view tag = text.substr(colon + 1);
    if (is_docker || tag.find('/') == tag.npos) {
      reference.tag = tag;
      text = text.substr(0, colon);
    }
  }
  reference.path = std::filesystem::absolute(text, none).lexically_normal().string();
  while (reference.path.size() > 1 && reference.path.back() == '/') reference.path.pop_back();
  return reference;
}

}  // namespace

std::optional<std::string> ParseDigest(std::string_view text) {
  constexpr std::string_view kAlgorithm = "sha256:";
  if (!text.starts_with(kAlgorithm)) return std::nullopt;
  text.remove_prefix(kAlgorithm.size());
  const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (text.size() != 64 || !std::ranges::all_of(text, is_digit)) return std::nullopt;
  return std::string(text);
}

bool HasImageTransport(std::string_view text) {
  return std::ranges::any_of(kPrefixes, [&](const Prefix& prefix) { return text.starts_with(prefix.text); });
}

std::optional<ImageReference> ParseImageReference(const std::string& text, std::string* why) {
  for (const Prefix& prefix : kPrefixes) {
    if (!text.starts_with(prefix.text)) continue;
    const std::string_view rest = std::string_view(text).substr(prefix.text.size());
    if (prefix.transport == ImageTransport::kRegistry) return RegistryName(rest, text, why);
    const auto reference = LocalName(prefix, rest);
    if (!rest.empty() && rest.find('\0') == rest.npos && !reference.path.empty()) return reference;
    *why = format("\"{}\" names no file", text);
    return std::nullopt;
  }
  return RegistryName(text, text, why);
}

std::string ImageReference::Text() const {
  std::string text;
  for (const Prefix& prefix : kPrefixes) {
    if (prefix.transport == transport) text = prefix.text;
  }
  text += transport == ImageTransport::kRegistry ? domain + "/" + repository : path;
  if (!tag.empty()) text += ":" + tag;
  if (!digest.empty()) text += "@sha256:" + digest;
  return text;
}

}  // namespace usl::manager
