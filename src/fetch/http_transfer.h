// One GET by libcurl, with its redirects.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"

namespace usl::fetch {

struct TransferRequest {
  std::string url;
  std::vector<std::string> headers;
  std::string authorization;  // sent to the origin of `url` only
  uint64_t offset = 0;        // > 0: asks for what comes from here on
  std::string validator;      // for If-Range; empty: none
  int stall_seconds = 30;
};

// What comes, as it comes.
struct TransferSink {
  // The headers of the last answer, before any of its body. An error ends the transfer with it.
  std::function<Result<void>(int status, const std::map<std::string, std::string>& headers)> on_headers;
  std::function<Result<void>(const char* data, size_t size)> on_body;
  // At least once a second. `expected` bytes of this body, 0: not known.
  std::function<void(uint64_t expected)> on_progress;
};

struct TransferResult {
  int error = 0;          // an errno
  bool is_break = false;  // trying again may help
  std::string message;    // why
  int status = 0;
  std::string url;
  std::map<std::string, std::string> headers;  // names in lower case
};

// Keeps connections between calls.
class HttpClient {
 public:
  HttpClient();
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  TransferResult Get(const TransferRequest& request, const TransferSink& sink);

 private:
  TransferResult GetOnce(const TransferRequest& request, const std::string& url, const TransferSink& sink);
  void* curl_;
};

}  // namespace usl::fetch
