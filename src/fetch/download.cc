#include "fetch/download.h"

#include <charconv>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>

#include "base/format.h"
#include "fetch/partial_file.h"

namespace usl::fetch {
namespace {

using Clock = std::chrono::steady_clock;

// So many breaks without a byte between them are bridged, with pauses that double.
constexpr int kBreaks = 4;
constexpr auto kFirstPause = std::chrono::milliseconds(250);
constexpr int kLongestPauseSeconds = 30;
constexpr size_t kErrorBody = 64 << 10;

bool TakeNumber(std::string_view& text, uint64_t* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  if (error != std::errc{}) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool TakeWord(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  text.remove_prefix(word.size());
  return true;
}

// An entity tag that says "the same bytes", or a date; for If-Range.
std::string ValidatorOf(const std::map<std::string, std::string>& headers) {
  if (const auto tag = headers.find("etag"); tag != headers.end() && tag->second.starts_with('"')) return tag->second;
  const auto date = headers.find("last-modified");
  return date == headers.end() ? std::string() : date->second;
}

bool MayHelpLater(int status) {
  return status == 429 || status == 502 || status == 503 || status == 504;
}

int ErrorOfStatus(int status) {
  switch (status) {
    case 401:
    case 403: return EACCES;
    case 404:
    case 410: return ENOENT;
    case 429: return EAGAIN;
    default: return EREMOTEIO;
  }
}

// What is the same for a body in memory and for a file.
class Carrier {
 public:
  Carrier(HttpClient& client, const Request& request, const std::function<void(const Progress&)>& report)
      : client_(client), request_(request), report_(report) {}

  Outcome ToMemory() {
    TransferSink sink = Sink();
    sink.on_headers = [this](int, const auto&) {
      outcome_.body.clear();
      return Result<void>();
    };
    sink.on_body = [this](const char* data, size_t size) -> Result<void> {
      if (outcome_.body.size() + size > request_.max_size) return TooBig(request_.max_size);
      outcome_.body.append(data, size);
      return {};
    };
    Try([&] { return client_.Get(Plain(), sink); }, [this] { return outcome_.body.size(); });
    return Take();
  }

  Outcome ToFile() {
    auto file = PartialFile::Open(request_.path, [this] {
      report_({0, 0, "waiting for another download of the same file"});
    });
    if (!file) return Refuse(file.error().code(), format("cannot write \"{}.part\"", request_.path));
    file_.emplace(std::move(*file));
    const bool is_whole = !request_.sha256.empty() && file_->size() > 0 && file_->Digest() == request_.sha256;
    if (is_whole || FetchFile()) FinishFile();
    return Take();
  }

 private:
  TransferRequest Plain() const {
    return {.url = request_.url,
            .headers = request_.headers,
            .authorization = request_.authorization,
            .stall_seconds = request_.stall_seconds};
  }

  TransferSink Sink() {
    TransferSink sink;
    sink.on_progress = [this](uint64_t expected) { Report(expected); };
    return sink;
  }

  void Report(uint64_t expected) {
    const uint64_t done = file_ ? file_->size() : outcome_.body.size();
    const uint64_t total = request_.size >= 0 ? static_cast<uint64_t>(request_.size)
                           : expected         ? offset_ + expected
                                              : 0;
    const auto now = Clock::now();
    const bool is_new = done != last_done_;
    if (now - last_report_ < (is_new ? std::chrono::milliseconds(100) : std::chrono::milliseconds(900))) return;
    last_report_ = now;
    last_done_ = done;
    report_({done, total, note_});
  }

  // Sleeps before the next try, reporting all the while.
  void Pause(std::chrono::milliseconds pause, const std::string& why) {
    note_ = why + ", trying again";
    report_({file_ ? file_->size() : 0, request_.size >= 0 ? static_cast<uint64_t>(request_.size) : 0, note_});
    const auto end = Clock::now() + pause;
    while (Clock::now() < end) {
      std::this_thread::sleep_for(std::min<Clock::duration>(end - Clock::now(), std::chrono::milliseconds(500)));
      Report(0);
    }
    note_.clear();
  }

  // Repeats `attempt` over breaks for as long as anything comes.
  void Try(const std::function<TransferResult()>& attempt, const std::function<uint64_t()>& size) {
    auto pause = std::chrono::duration_cast<std::chrono::milliseconds>(kFirstPause);
    int breaks = 0;
    while (true) {
      const uint64_t before = size();
      const TransferResult result = attempt();
      outcome_.reply.status = result.status;
      outcome_.reply.url = result.url;
      outcome_.reply.headers = result.headers;
      outcome_.reply.error = result.error;
      if (!result.message.empty()) outcome_.reply.message = result.message;
      const bool later = !result.error && MayHelpLater(result.status);
      if (!result.is_break && !later) return;
      if (size() > before && file_) breaks = 0, pause = kFirstPause;
      breaks += result.error == ETIMEDOUT ? 2 : 1;  // a stall has taken its time already
      if (breaks > kBreaks) return;
      auto wait = pause;
      if (later) wait = std::max(wait, RetryAfter(result.headers));
      Pause(wait, later ? format("the server is busy (HTTP {})", result.status) : result.message);
      pause *= 2;
    }
  }

  static std::chrono::milliseconds RetryAfter(const std::map<std::string, std::string>& headers) {
    const auto found = headers.find("retry-after");
    uint64_t seconds = 0;
    if (found == headers.end()) return {};
    std::string_view text = found->second;
    if (!TakeNumber(text, &seconds)) return {};
    return std::chrono::seconds(std::min<uint64_t>(seconds, kLongestPauseSeconds));
  }

  Result<void> TooBig(uint64_t limit) {
    outcome_.reply.message = format("the server sends more than the {} bytes that are allowed", limit);
    return Fail(EFBIG);
  }

  uint64_t Limit() const {
    return request_.size >= 0 ? std::min(request_.max_size, static_cast<uint64_t>(request_.size)) : request_.max_size;
  }

  // Looks at the answer and puts the file to where its body belongs.
  Result<void> OnFileHeaders(int status, const std::map<std::string, std::string>& headers) {
    error_body_.clear();
    takes_body_ = status == 200 || status == 206;
    if (!takes_body_) return {};
    if (status == 206) {
      uint64_t first = 0, total = 0;
      const auto range = headers.find("content-range");
      if (range == headers.end() || !ParseContentRange(range->second, &first, &total) || first != file_->size()) {
        outcome_.reply.message = "the server answers with another part of the file than was asked for";
        return Fail(EBADMSG);
      }
      return {};
    }
    // The whole: the server knows no ranges, or the file is another one now.
    offset_ = 0;
    if (file_->size() > 0) USL_TRY_VOID(file_->StartAnew());
    if (request_.sha256.empty()) USL_TRY_VOID(file_->SetValidator(request_.url, ValidatorOf(headers)));
    return {};
  }

  Result<void> OnFileBody(const char* data, size_t size) {
    if (!takes_body_) {
      error_body_.append(data, std::min(size, kErrorBody - std::min(kErrorBody, error_body_.size())));
      return {};
    }
    if (size > Limit() || file_->size() > Limit() - size) return TooBig(Limit());
    const auto written = file_->Append(data, size);
    if (!written) outcome_.reply.message = format("cannot write \"{}.part\"", request_.path);
    return written;
  }

  TransferResult FileAttempt(const TransferSink& sink) {
    TransferRequest transfer = Plain();
    if (request_.sha256.empty() && file_->size() > 0) {
      transfer.validator = file_->Validator(request_.url);
      if (transfer.validator.empty()) {
        // Nothing says that the rest of what is there now belongs to it.
        if (auto anew = file_->StartAnew(); !anew) return {.error = anew.error().code(), .message = "cannot truncate"};
      }
    }
    transfer.offset = offset_ = file_->size();
    return client_.Get(transfer, sink);
  }

  // False after an error.
  bool FetchFile() {
    TransferSink sink = Sink();
    sink.on_headers = [this](int status, const auto& headers) { return OnFileHeaders(status, headers); };
    sink.on_body = [this](const char* data, size_t size) { return OnFileBody(data, size); };
    if (file_->size() > Limit() && !StartAnew()) return false;
    // A second round from the start, where what was there before has nothing to do with what the server has.
    for (bool is_resumed = file_->size() > 0;; is_resumed = false) {
      Try([&] { return FileAttempt(sink); }, [this] { return file_->size(); });
      const int status = outcome_.reply.status;
      const bool is_bad = status == 416 || outcome_.reply.error == EFBIG || outcome_.reply.error == EBADMSG ||
                          (outcome_.reply.error == 0 && !Verify());
      if (!is_bad || !is_resumed) break;
      outcome_.reply.error = 0;
      outcome_.reply.message.clear();
      if (!StartAnew()) return false;
    }
    return Judge();
  }

  bool StartAnew() {
    const auto anew = file_->StartAnew();
    if (!anew) (void)Refuse(anew.error().code(), format("cannot write \"{}.part\"", request_.path));
    return anew.has_value();
  }

  // Of a complete answer: is it what it should be?
  bool Verify() const {
    if (!takes_body_) return true;
    if (request_.size >= 0 && file_->size() != static_cast<uint64_t>(request_.size)) return false;
    return request_.sha256.empty() || file_->Digest() == request_.sha256;
  }

  bool Judge() {
    Reply& reply = outcome_.reply;
    if (reply.error == EFBIG || reply.error == EBADMSG) file_->Discard();
    if (reply.error) return false;
    if (!takes_body_) {
      outcome_.body = error_body_;
      reply.error = ErrorOfStatus(reply.status);
      reply.message = format("the server answers with HTTP status {}", reply.status);
      if (file_->size() == 0) file_->Discard();
      return false;
    }
    if (Verify()) return true;
    reply.error = EBADMSG;
    reply.message = request_.size >= 0 && file_->size() != static_cast<uint64_t>(request_.size)
                        ? format("{} bytes came where {} were expected", file_->size(), request_.size)
                        : format("its SHA-256 is {} where {} was expected", file_->Digest(), request_.sha256);
    file_->Discard();
    return false;
  }

  void FinishFile() {
    const auto finished = file_->Finish();
    if (!finished) (void)Refuse(finished.error().code(), format("cannot write \"{}\"", request_.path));
    report_({file_->size(), file_->size(), ""});
  }

  Outcome Refuse(int error, const std::string& message) {
    outcome_.reply.error = error;
    outcome_.reply.message = message;
    return Take();
  }

  Outcome Take() {
    if (outcome_.reply.error && outcome_.reply.message.empty()) outcome_.reply.message = strerror(outcome_.reply.error);
    if (!outcome_.reply.error) outcome_.reply.message.clear();
    outcome_.reply.body_size = outcome_.body.size();
    return outcome_;
  }

  HttpClient& client_;
  const Request& request_;
  const std::function<void(const Progress&)>& report_;
  Outcome outcome_;
  std::optional<PartialFile> file_;
  std::string error_body_;
  bool takes_body_ = false;
  uint64_t offset_ = 0;
  std::string note_;
  Clock::time_point last_report_{};
  uint64_t last_done_ = 0;
};

}  // namespace

Outcome CarryOut(HttpClient& client, const Request& request, const std::function<void(const Progress&)>& report) {
  Carrier carrier(client, request, report);
  return request.path.empty() ? carrier.ToMemory() : carrier.ToFile();
}

bool ParseContentRange(const std::string& text, uint64_t* first, uint64_t* total) {
  std::string_view rest = text;
  uint64_t last = 0;
  *total = 0;
  if (!TakeWord(rest, "bytes ") || !TakeNumber(rest, first) || !TakeWord(rest, "-") || !TakeNumber(rest, &last)) {
    return false;
  }
  if (last < *first || !TakeWord(rest, "/")) return false;
  if (rest == "*") return true;
  return TakeNumber(rest, total) && rest.empty() && *total > last;
}

}  // namespace usl::fetch
