// A registry of images on the network, by the protocol that docker began and OCI wrote down (distribution-spec 1.1).
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/result.h"
#include "manager/docker_credentials.h"
#include "manager/fetch.h"
#include "manager/oci_manifest.h"
#include "manager/oci_reference.h"

namespace usl::manager {

// WWW-Authenticate: the scheme in lower case and its parameters (RFC 9110, 11.6.1). Of several challenges the first
// that is "bearer" or "basic" counts. Nothing when there is none, or it cannot be parsed.
struct AuthChallenge {
  std::string scheme;
  std::map<std::string, std::string> parameters;  // names in lower case
};
std::optional<AuthChallenge> ParseChallenge(const std::string& text);

// Percent-encoding of everything but letters, digits and "-._~".
std::string EncodeQuery(const std::string& text);

class DockerRegistry {
 public:
  // Names a repository; nothing is asked yet. A registry on the loopback may be without TLS or with it; others have to
  // have it, unless `plain_http` says that this one has none.
  DockerRegistry(Fetcher& fetcher, const ImageReference& reference, bool plain_http);

  // The bytes of the manifest or index with that tag, or "sha256:..." (verified). ENOENT: it has none of that name.
  Result<std::string> Manifest(const std::string& tag_or_digest, std::string* why);
  // The bytes of a small blob, not verified. Errors as Manifest.
  Result<std::string> SmallBlob(const std::string& digest, std::string* why);
  // Downloads a blob to `path`, going on with what is there of an earlier try; its digest is verified.
  Result<void> Blob(const Descriptor& descriptor, const std::string& path, std::string* why);

 private:
  std::string Url(const std::string& rest) const;
  Result<HttpReply> Get(const std::string& rest, std::string* why);
  // Learns how to authorise from a refusal. False with `why` when there is no way.
  bool Authorise(const std::string& challenge, std::string* why);
  bool FetchToken(const AuthChallenge& challenge, std::string* why);
  // Explains an HTTP status that is no success.
  std::unexpected<Error> Explain(const HttpReply& reply, std::string* why) const;

  Fetcher& fetcher_;
  ImageReference reference_;
  bool plain_http_;
  std::string scheme_;
  bool may_be_either_;         // on the loopback, before the first answer
  std::string challenge_;      // the last one
  std::string authorization_;  // what it led to
};

}  // namespace usl::manager
