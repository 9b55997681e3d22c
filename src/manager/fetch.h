// Downloads over http and https. `usl` itself is static and speaks to no network: the helper program usl-fetch
// (src/fetch, libcurl) does. Where that is not installed downloads fail with a line that says so, and all else works.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace usl::manager {

struct TransferProgress {
  uint64_t done = 0;   // bytes, with those of an earlier, interrupted download
  uint64_t total = 0;  // 0: not known
  std::string note;  // "waiting for another download of the same file", "the connection broke, trying again"; or empty
};
// Called in the caller's thread, at least once a second while a transfer runs, and when a signal arrives. False ends
// the transfer (ECANCELED); what has come stays for resuming.
using TransferCallback = std::function<bool(const TransferProgress&)>;

struct HttpRequest {
  std::string url;                   // http:// or https://
  std::vector<std::string> headers;  // "Accept: text/plain"
  std::string authorization;         // value of the header; sent to this URL's scheme, host and port only
  uint64_t max_size = 4 << 20;       // bytes of the body; more is EFBIG
};

struct HttpReply {
  int status = 0;                              // also 4xx and 5xx
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  std::string url;  // after redirects
};

struct DownloadRequest {
  HttpRequest http;  // max_size counts
  // The file that is made, or replaced, by rename(2) when everything is there and right. While it comes it is
  // PATH.part (with PATH.part.json where no SHA-256 is known); that stays when the download is interrupted, is locked
  // against other downloads of the same file, and the next download of it goes on from there.
  std::string path;
  std::string sha256;  // 64 lower-case hex digits; empty: not known, nothing is verified
  int64_t size = -1;   // bytes; -1: not known
  std::string what;    // for messages; empty: the URL
};

// A running helper and its connections. Not thread-safe. The helper is started by the first transfer.
class Fetcher {
 public:
  explicit Fetcher(TransferCallback callback = {});
  ~Fetcher();
  Fetcher(const Fetcher&) = delete;
  Fetcher& operator=(const Fetcher&) = delete;

  // Redirects are followed to http and https only, never from https to http. Breaks of the connection are bridged by
  // going on a few times as long as anything comes. On failure `why` has a line for people. ENOENT (404, 410),
  // EACCES (401, 403), EAGAIN (429), EREMOTEIO (5xx and others), EBADMSG (wrong SHA-256 or size), EFBIG, ETIMEDOUT
  // (nothing came for stall_seconds), ECONNREFUSED, EHOSTUNREACH (no such host, or the connection failed),
  // EKEYREJECTED (TLS), ECANCELED, ENOEXEC (no helper), and those of writing: ENOSPC, EACCES...
  Result<void> Download(const DownloadRequest& request, std::string* why);
  // The answer to a GET; any HTTP status is one. Errors as above.
  Result<HttpReply> Get(const HttpRequest& request, std::string* why);

  // How long a transfer may stand still. From $USL_DOWNLOAD_TIMEOUT at first, else 30.
  int stall_seconds = 30;

  // usl-fetch beside this executable, in ../libexec/usl or ../lib/usl; empty when it is nowhere.
  static std::string FindHelper();

 private:
  Result<void> Start(std::string* why);
  void Stop();
  Result<HttpReply> Transfer(const std::string& request_line, uint64_t max_body, const std::string& what,
                             std::string* why);
  // The next line from the helper, or `size` bytes. EPIPE: it is gone.
  Result<std::string> ReadLine();
  Result<std::string> ReadBytes(size_t size);
  Result<void> Fill();

  TransferCallback callback_;
  TransferProgress progress_;
  pid_t helper_ = -1;
  UniqueFd input_, output_;  // its
  std::string pending_;      // read from it and not used yet
};

}  // namespace usl::manager
