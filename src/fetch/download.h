// Carries one request out: tries, resuming, limits, digest.
#pragma once

#include <functional>
#include <string>

#include "fetch/fetch_messages.h"
#include "fetch/http_transfer.h"

namespace usl::fetch {

struct Outcome {
  Reply reply;
  std::string body;
};

// `report` is called with what there is to tell, at least once a second.
Outcome CarryOut(HttpClient& client, const Request& request, const std::function<void(const Progress&)>& report);

// Content-Range: "bytes 5-9/10" gives where it starts and of how much; false for anything else. "*" is a size of 0.
bool ParseContentRange(const std::string& text, uint64_t* first, uint64_t* total);

}  // namespace usl::fetch
