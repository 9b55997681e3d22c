// What `usl` and its helper usl-fetch say to each other. usl writes requests, one JSON object a line, to the helper's
// standard input; the helper answers each, in order, on its standard output with any number of progress lines and one
// reply line, behind which stand `body_size` bytes. The end of its input ends the helper. Credentials are in requests
// and never among the arguments, which every user of the host can see.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace usl::fetch {

struct Request {
  std::string url;
  std::vector<std::string> headers;
  std::string authorization;  // value of the header, for this URL's scheme, host and port only
  std::string path;           // where the file shall be; empty: the body comes with the reply
  std::string sha256;         // empty: not known
  uint64_t max_size = 0;      // bytes
  int64_t size = -1;          // -1: not known
  int stall_seconds = 30;
};

struct Progress {
  uint64_t done = 0, total = 0;
  std::string note;
};

struct Reply {
  int error = 0;        // an errno; 0: done (for a body: with any HTTP status)
  std::string message;  // why not, for people: "the server sent more than the 4096 bytes that were expected"
  int status = 0;       // HTTP's; 0: none came
  std::string url;      // after redirects
  std::map<std::string, std::string> headers;
  uint64_t body_size = 0;
};

// A line each, with the newline. Texts that are no UTF-8 are made so.
std::string EncodeRequest(const Request& request);
std::string EncodeProgress(const Progress& progress);
std::string EncodeReply(const Reply& reply);

// Of a line without its newline; nothing where it is malformed: keys missing or unknown to this version, wrong types,
// numbers out of range.
std::optional<Request> DecodeRequest(std::string_view line);
struct Answer {
  std::optional<Progress> progress;  // either this
  std::optional<Reply> reply;        // or that
};
std::optional<Answer> DecodeAnswer(std::string_view line);

}  // namespace usl::fetch
