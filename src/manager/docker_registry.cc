#include "manager/docker_registry.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/format.h"
#include "base/sha256.h"

namespace usl::manager {
namespace {

using nlohmann::json;

char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

std::string LowerText(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), Lower);
  return out;
}

bool IsTokenChar(char c) {
  return (c >= '0' && c <= '9') || (Lower(c) >= 'a' && Lower(c) <= 'z') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

// Reads a header with challenges from left to right.
class ChallengeReader {
 public:
  explicit ChallengeReader(std::string_view text) : rest_(text) {}

  std::optional<AuthChallenge> First() {
    while (true) {
      auto challenge = Next();
      if (!challenge) return std::nullopt;
      if (challenge->scheme == "bearer" || challenge->scheme == "basic") return challenge;
    }
  }

 private:
  void SkipSpace() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\t' || rest_[0] == ',')) rest_.remove_prefix(1);
  }
  std::string Token() {
    size_t size = 0;
    while (size < rest_.size() && IsTokenChar(rest_[size])) ++size;
    std::string token(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return token;
  }
  std::optional<std::string> Value() {
    if (rest_.empty() || rest_[0] != '"') return Token();
    std::string value;
    for (size_t i = 1; i < rest_.size(); ++i) {
      if (rest_[i] == '"') {
        rest_.remove_prefix(i + 1);
        return value;
      }
      if (rest_[i] == '\\' && i + 1 < rest_.size()) ++i;
      value += rest_[i];
    }
    return std::nullopt;
  }
  std::optional<AuthChallenge> Next() {
    SkipSpace();
    AuthChallenge challenge{.scheme = LowerText(Token()), .parameters = {}};
    if (challenge.scheme.empty()) return std::nullopt;
    while (true) {
      SkipSpace();
      const std::string_view before = rest_;
      const std::string name = LowerText(Token());
      if (name.empty() || rest_.empty() || rest_[0] != '=') {
        rest_ = before;  // the next challenge, or the end
        return challenge;
      }
      rest_.remove_prefix(1);
      auto value = Value();
      if (!value) return std::nullopt;
      challenge.parameters.emplace(name, std::move(*value));
    }
  }

  std::string_view rest_;
};

bool IsLoopback(const std::string& registry) {
  const std::string host =
      registry.starts_with('[') ? registry.substr(0, registry.find(']') + 1) : registry.substr(0, registry.find(':'));
  // A name that only starts like an address is a name.
  const bool is_address = host.find_first_not_of("0123456789.") == host.npos;
  return host == "localhost" || host == "[::1]" || (is_address && host.starts_with("127."));
}

// What a registry sends, without what a terminal would obey.
std::string Printable(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }, '?');
  return text;
}

// The error that a registry tells: {"errors": [{"code": ..., "message": ...}]}.
std::string ToldError(const std::string& body) {
  const json value = json::parse(body, nullptr, false);
  if (!value.is_object() || !value.contains("errors")) return {};
  const json& errors = value["errors"];
  if (!errors.is_array() || errors.empty() || !errors[0].is_object()) return {};
  const auto message = errors[0].find("message");
  if (message == errors[0].end() || !message->is_string()) return {};
  return ": " + Printable(message->get<std::string>().substr(0, 200));
}

}  // namespace

std::optional<AuthChallenge> ParseChallenge(const std::string& text) {
  return ChallengeReader(text).First();
}

std::string EncodeQuery(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const bool plain =
        (c >= '0' && c <= '9') || (Lower(c) >= 'a' && Lower(c) <= 'z') || c == '-' || c == '.' || c == '_' || c == '~';
    if (plain)
      out += c;
    else
      out += format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

DockerRegistry::DockerRegistry(Fetcher& fetcher, const ImageReference& reference, bool plain_http)
    : fetcher_(fetcher),
      reference_(reference),
      plain_http_(plain_http),
      scheme_(plain_http || IsLoopback(reference.registry) ? "http" : "https"),
      may_be_either_(!plain_http && scheme_ == "http") {}

std::string DockerRegistry::Url(const std::string& rest) const {
  return scheme_ + "://" + reference_.registry + "/v2/" + reference_.repository + rest;
}

bool DockerRegistry::FetchToken(const AuthChallenge& challenge, std::string* why) {
  const auto parameter = [&](const char* name) {
    const auto found = challenge.parameters.find(name);
    return found == challenge.parameters.end() ? std::string() : found->second;
  };
  const std::string realm = parameter("realm");
  constexpr std::string_view kPlain = "http://";
  const size_t host_end = realm.find('/', kPlain.size());
  const bool may_be_plain =
      plain_http_ || IsLoopback(realm.substr(std::min(kPlain.size(), realm.size()), host_end - kPlain.size()));
  if (!realm.starts_with("https://") && !(realm.starts_with(kPlain) && may_be_plain)) {
    *why = format("the registry {} sends its users to \"{}\" for authorisation, which is not encrypted",
                  reference_.domain, Printable(realm));
    return false;
  }
  const auto credentials = FindCredentials(reference_.domain, reference_.repository, why);
  if (!credentials && !why->empty()) return false;
  // What is needed is known here: a registry that asks for more rights gets a token for these.
  std::string url = realm + (realm.find('?') == realm.npos ? "?" : "&");
  if (const std::string service = parameter("service"); !service.empty())
    url += "service=" + EncodeQuery(service) + "&";
  url += "scope=" + EncodeQuery("repository:" + reference_.repository + ":pull");
  HttpRequest request{.url = url};
  request.max_size = 1 << 20;
  if (credentials) request.authorization = "Basic " + EncodeBase64(credentials->user + ":" + credentials->password);
  const auto reply = fetcher_.Get(request, why);
  if (!reply) return false;
  if (reply->status != 200) {
    *why =
        format("the registry {} gives no access to \"{}\"{} (HTTP status {} from {})", reference_.domain,
               reference_.repository, credentials ? " to the user \"" + credentials->user + "\"" : " without a login",
               reply->status, Printable(realm));
    return false;
  }
  const json token = json::parse(reply->body, nullptr, false);
  for (const char* name : {"token", "access_token"}) {
    if (!token.is_object() || !token.contains(name) || !token[name].is_string()) continue;
    const auto text = token[name].get<std::string>();
    // It becomes a header.
    const bool good = !text.empty() && std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7F; });
    if (!good) continue;
    authorization_ = "Bearer " + text;
    return true;
  }
  *why = format("\"{}\" answers with no token", Printable(realm));
  return false;
}

bool DockerRegistry::Authorise(const std::string& header, std::string* why) {
  const auto challenge = ParseChallenge(header);
  if (!challenge) {
    *why = format("the registry {} wants a kind of login that is not supported", reference_.domain);
    return false;
  }
  challenge_ = header;
  if (challenge->scheme == "bearer") return FetchToken(*challenge, why);
  const auto credentials = FindCredentials(reference_.domain, reference_.repository, why);
  if (!credentials) {
    if (why->empty()) {
      *why = format("the registry {} wants a login; `docker login {}` or `podman login {}` keeps one that usl uses too",
                    reference_.domain, reference_.domain, reference_.domain);
    }
    return false;
  }
  authorization_ = "Basic " + EncodeBase64(credentials->user + ":" + credentials->password);
  return true;
}

Result<HttpReply> DockerRegistry::Get(const std::string& rest, std::string* why) {
  bool is_authorised = false;
  while (true) {
    const HttpRequest request{.url = Url(rest),
                              .headers = {"Accept: " + AcceptedManifests()},
                              .authorization = authorization_,
                              .max_size = kMaxDocument};
    auto reply = fetcher_.Get(request, why);
    // Servers with TLS answer plain requests so, or end the connection. The other way round, some servers without TLS
    // never answer a greeting of TLS.
    const int error = reply ? 0 : reply.error().code();
    const bool is_foreign =
        reply ? reply->status == 400 : error == EHOSTUNREACH || error == EREMOTEIO || error == EINVAL;
    if (is_foreign && may_be_either_) {
      may_be_either_ = false;
      scheme_ = "https";
      continue;
    }
    may_be_either_ = false;
    if (!reply || reply->status != 401 || is_authorised) return reply;
    // Who was redirected to is not the one that says where its users' passwords go.
    if (!reply->url.starts_with(scheme_ + "://" + reference_.registry + "/")) return reply;
    if (!Authorise(reply->headers["www-authenticate"], why)) return Fail(EACCES);
    is_authorised = true;
  }
}

std::unexpected<Error> DockerRegistry::Explain(const HttpReply& reply, std::string* why) const {
  const std::string told = ToldError(reply.body);
  if (reply.status == 404) {
    *why = format("the registry {} has no \"{}\"{}", reference_.domain, reference_.Text(), told);
    return Fail(ENOENT);
  }
  if (reply.status == 401 || reply.status == 403) {
    *why = format("the registry {} gives no access to \"{}\"{}", reference_.domain, reference_.repository, told);
    return Fail(EACCES);
  }
  if (reply.status == 429) {
    *why =
        format("the registry {} serves no more to you for now{}; try again later or log in", reference_.domain, told);
    return Fail(EAGAIN);
  }
  *why = format("the registry {} answers with HTTP status {}{}", reference_.domain, reply.status, told);
  return Fail(EREMOTEIO);
}

Result<std::string> DockerRegistry::Manifest(const std::string& tag_or_digest, std::string* why) {
  const auto reply = USL_TRY(Get("/manifests/" + tag_or_digest, why));
  if (reply.status != 200) return Explain(reply, why);
  const std::string digest = Sha256Hex(reply.body);
  const auto asked = ParseDigest(tag_or_digest);
  if (asked && *asked != digest) {
    *why = format("the registry {} answers with sha256:{} where sha256:{} was asked for", reference_.domain, digest,
                  *asked);
    return Fail(EBADMSG);
  }
  // Where it says what it sends, that must be so.
  const auto said = reply.headers.find("docker-content-digest");
  if (said != reply.headers.end() && said->second.starts_with("sha256:") && said->second != "sha256:" + digest) {
    *why = format("what came from the registry {} is not what it says (sha256:{})", reference_.domain, digest);
    return Fail(EBADMSG);
  }
  return reply.body;
}

Result<std::string> DockerRegistry::SmallBlob(const std::string& digest, std::string* why) {
  const auto reply = USL_TRY(Get("/blobs/sha256:" + digest, why));
  if (reply.status != 200) return Explain(reply, why);
  return reply.body;
}

Result<void> DockerRegistry::Blob(const Descriptor& descriptor, const std::string& path, std::string* why) {
  const DownloadRequest request{.http = {.url = Url("/blobs/sha256:" + descriptor.digest),
                                         .headers = {},
                                         .authorization = authorization_,
                                         .max_size = descriptor.size},
                                .path = path,
                                .sha256 = descriptor.digest,
                                .size = static_cast<int64_t>(descriptor.size),
                                .what = format("the blob sha256:{} from {}", descriptor.digest, reference_.domain)};
  const auto done = fetcher_.Download(request, why);
  // Tokens live for minutes, downloads for longer.
  if (done || done.error().code() != EACCES || challenge_.empty()) return done;
  if (!Authorise(challenge_, why)) return Fail(EACCES);
  DownloadRequest again = request;
  again.http.authorization = authorization_;
  return fetcher_.Download(again, why);
}

}  // namespace usl::manager
