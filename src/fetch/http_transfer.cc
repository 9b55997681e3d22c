#include "fetch/http_transfer.h"

#include <curl/curl.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "base/format.h"

namespace usl::fetch {
namespace {

constexpr int kMaxRedirects = 10;
constexpr size_t kMaxHeaderBytes = 256 << 10;

struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, FreeUrl>;

struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, FreeList>;

std::string Part(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return {};
  const std::string copy = text;
  curl_free(text);
  return copy;
}

// Scheme, host and port; empty for what is no URL.
std::string Origin(const std::string& text) {
  const Url url(curl_url());
  if (!url || curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) return {};
  return Part(url.get(), CURLUPART_SCHEME) + "://" + Part(url.get(), CURLUPART_HOST) + ":" +
         Part(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

bool IsAllowed(const std::string& origin) {
  return origin.starts_with("http://") || origin.starts_with("https://");
}

bool Append(HeaderList& list, const std::string& header) {
  curl_slist* longer = curl_slist_append(list.get(), header.c_str());
  if (!longer) return false;
  (void)list.release();
  list.reset(longer);
  return true;
}

// What libcurl's callbacks refer to.
struct State {
  CURL* curl;
  const TransferSink& sink;
  std::map<std::string, std::string> headers;
  size_t header_bytes = 0;
  bool headers_given = false;
  bool is_redirect = false;
  int sink_error = 0;
};

int Status(CURL* curl) {
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  return static_cast<int>(status);
}

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

size_t OnHeader(char* data, size_t one, size_t size, void* argument) {
  auto& state = *static_cast<State*>(argument);
  size *= one;
  state.header_bytes += size;
  if (state.header_bytes > kMaxHeaderBytes) return 0;
  std::string_view line(data, size);
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
  if (line.starts_with("HTTP/")) state.headers.clear();  // an answer of its own: of a proxy, or after a 1xx
  const size_t colon = line.find(':');
  if (colon == line.npos || colon == 0) return size;
  std::string name(line.substr(0, colon));
  std::ranges::transform(name, name.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  std::string_view value = line.substr(colon + 1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  // Several of a name are one list (RFC 9110, 5.3).
  std::string& whole = state.headers[name];
  whole += (whole.empty() ? "" : ", ") + std::string(value);
  return size;
}

bool GiveHeaders(State& state) {
  if (state.headers_given) return true;
  state.headers_given = true;
  state.is_redirect = IsRedirect(Status(state.curl)) && state.headers.contains("location");
  if (state.is_redirect) return true;
  const auto taken = state.sink.on_headers(Status(state.curl), state.headers);
  if (!taken) state.sink_error = taken.error().code();
  return taken.has_value();
}

size_t OnBody(char* data, size_t one, size_t size, void* argument) {
  auto& state = *static_cast<State*>(argument);
  size *= one;
  if (!GiveHeaders(state)) return 0;
  if (state.is_redirect) return size;
  const auto taken = state.sink.on_body(data, size);
  if (taken) return size;
  state.sink_error = taken.error().code();
  return 0;
}

int OnProgress(void* argument, curl_off_t total, curl_off_t, curl_off_t, curl_off_t) {
  auto& state = *static_cast<State*>(argument);
  state.sink.on_progress(total > 0 ? static_cast<uint64_t>(total) : 0);
  return 0;
}

// Which errno a failure of libcurl is, and whether a new try may help.
TransferResult Explain(CURLcode code, const char* details, const std::string& origin, int stall_seconds) {
  TransferResult result;
  const std::string text = details[0] ? details : curl_easy_strerror(code);
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY: result.error = EHOSTUNREACH; break;
    case CURLE_COULDNT_CONNECT: result.error = ECONNREFUSED; break;
    case CURLE_OPERATION_TIMEDOUT:
      result.error = ETIMEDOUT, result.is_break = true;
      result.message = format("nothing came from {} for {} seconds", origin, stall_seconds);
      return result;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR: result.error = EKEYREJECTED; break;
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: result.error = EHOSTUNREACH, result.is_break = true; break;
    case CURLE_OUT_OF_MEMORY: result.error = ENOMEM; break;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT: result.error = EINVAL; break;
    default: result.error = EREMOTEIO; break;
  }
  result.message = format("{}: {}", origin, text);
  return result;
}

void SetCertificates(CURL* curl) {
  // libcurl itself does not look at them; curl(1) and OpenSSL do.
  const char* file = getenv("CURL_CA_BUNDLE");
  if (!file || !*file) file = getenv("SSL_CERT_FILE");
  if (file && *file) curl_easy_setopt(curl, CURLOPT_CAINFO, file);
  const char* directory = getenv("SSL_CERT_DIR");
  if (directory && *directory) curl_easy_setopt(curl, CURLOPT_CAPATH, directory);
}

void SetOptions(CURL* curl, const TransferRequest& request, const std::string& url, State& state, char* details) {
  curl_easy_reset(curl);
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
#if LIBCURL_VERSION_NUM >= 0x075500
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS, static_cast<long>(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);  // by us, with our rules
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, details);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "usl-fetch");
  curl_easy_setopt(curl, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, static_cast<long>(request.stall_seconds));
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>(request.stall_seconds));
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, OnHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &state);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &state);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, OnProgress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &state);
  SetCertificates(curl);
}

}  // namespace

HttpClient::HttpClient() : curl_(curl_easy_init()) {}

HttpClient::~HttpClient() {
  if (curl_) curl_easy_cleanup(curl_);
}

TransferResult HttpClient::GetOnce(const TransferRequest& request, const std::string& url, const TransferSink& sink) {
  CURL* curl = curl_;
  const std::string origin = Origin(url);
  State state{.curl = curl, .sink = sink};
  char details[CURL_ERROR_SIZE] = "";
  if (!curl) return {.error = ENOMEM, .message = "libcurl does not start"};
  SetOptions(curl, request, url, state, details);
  HeaderList list;
  bool complete = true;
  for (const std::string& header : request.headers) complete = complete && Append(list, header);
  // A redirect to another host does not get what was meant for this one.
  if (!request.authorization.empty() && origin == Origin(request.url)) {
    complete = complete && Append(list, "Authorization: " + request.authorization);
  }
  const std::string range = format("{}-", request.offset);
  if (request.offset > 0) {
    curl_easy_setopt(curl, CURLOPT_RANGE, range.c_str());
    if (!request.validator.empty()) complete = complete && Append(list, "If-Range: " + request.validator);
  }
  if (!complete) return {.error = ENOMEM, .message = "out of memory"};
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list.get());

  const CURLcode code = curl_easy_perform(curl);
  TransferResult result;
  if (code == CURLE_OK) {
    if (!GiveHeaders(state)) result.error = state.sink_error;  // there was no body
  } else if (state.sink_error) {
    result.error = state.sink_error;
  } else {
    result = Explain(code, details, origin, request.stall_seconds);
  }
  result.status = Status(curl);
  result.url = url;
  result.headers = std::move(state.headers);
  return result;
}

TransferResult HttpClient::Get(const TransferRequest& request, const TransferSink& sink) {
  std::string url = request.url;
  const auto refuse = [&url](const std::string& why) {
    return TransferResult{.error = EINVAL, .message = why, .url = url};
  };
  if (!IsAllowed(Origin(url))) return refuse("only http:// and https:// URLs are downloaded");
  for (int redirects = 0; redirects <= kMaxRedirects; ++redirects) {
    TransferResult result = GetOnce(request, url, sink);
    if (result.error || !IsRedirect(result.status) || !result.headers.contains("location")) return result;
    char* next = nullptr;
    curl_easy_getinfo(static_cast<CURL*>(curl_), CURLINFO_REDIRECT_URL, &next);
    const std::string target = next ? next : "";
    const std::string origin = Origin(target);
    if (!IsAllowed(origin)) {
      return refuse(format("{} redirects to \"{}\", which is no http:// or https:// URL", Origin(url),
                           result.headers["location"]));
    }
    if (Origin(url).starts_with("https://") && origin.starts_with("http://")) {
      return refuse(format("{} redirects to {} without encryption", Origin(url), origin));
    }
    url = target;
  }
  return refuse(format("more than {} redirects, the last one to {}", kMaxRedirects, Origin(url)));
}

}  // namespace usl::fetch
