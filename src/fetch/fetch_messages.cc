#include "fetch/fetch_messages.h"

#include <nlohmann/json.hpp>

namespace usl::fetch {
namespace {

using nlohmann::json;

std::string Line(const json& object) {
  return object.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

// Parses without exceptions; a discarded value is no object.
json Parse(std::string_view line) {
  return json::parse(line, nullptr, false);
}

// Takes members out of an object and keeps in mind whether all was right.
class Reader {
 public:
  explicit Reader(const json& object) : object_(object), good_(object.is_object()) {}

  void Text(const char* key, std::string* value) {
    const json* member = Find(key);
    if (member && member->is_string())
      *value = member->get<std::string>();
    else
      good_ = false;
  }
  void Count(const char* key, uint64_t* value) {
    const json* member = Find(key);
    if (member && member->is_number_unsigned())
      *value = member->get<uint64_t>();
    else
      good_ = false;
  }
  template <typename Number>
  void Integer(const char* key, Number* value, int64_t low, int64_t high) {
    const json* member = Find(key);
    const bool is_big = member && member->is_number_unsigned() && member->get<uint64_t>() > INT64_MAX;
    if (!member || !member->is_number_integer() || is_big) {
      good_ = false;
      return;
    }
    const auto number = member->get<int64_t>();
    if (number < low || number > high)
      good_ = false;
    else
      *value = static_cast<Number>(number);
  }
  void Texts(const char* key, std::vector<std::string>* value) {
    const json* member = Find(key);
    good_ = good_ && member && member->is_array();
    if (!good_) return;
    for (const json& each : *member) {
      if (each.is_string())
        value->push_back(each.get<std::string>());
      else
        good_ = false;
    }
  }
  void Map(const char* key, std::map<std::string, std::string>* value) {
    const json* member = Find(key);
    good_ = good_ && member && member->is_object();
    if (!good_) return;
    for (const auto& [name, each] : member->items()) {
      if (each.is_string())
        value->emplace(name, each.get<std::string>());
      else
        good_ = false;
    }
  }
  bool Good(size_t members) const { return good_ && object_.size() == members; }

 private:
  const json* Find(const char* key) const {
    if (!object_.is_object()) return nullptr;
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }

  const json& object_;
  bool good_;
};

}  // namespace

std::string EncodeRequest(const Request& request) {
  return Line({{"url", request.url},
               {"headers", request.headers},
               {"authorization", request.authorization},
               {"path", request.path},
               {"sha256", request.sha256},
               {"max_size", request.max_size},
               {"size", request.size},
               {"stall_seconds", request.stall_seconds}});
}

std::string EncodeProgress(const Progress& progress) {
  return Line({{"done", progress.done}, {"total", progress.total}, {"note", progress.note}});
}

std::string EncodeReply(const Reply& reply) {
  return Line({{"error", reply.error},
               {"message", reply.message},
               {"status", reply.status},
               {"url", reply.url},
               {"headers", reply.headers},
               {"body_size", reply.body_size}});
}

std::optional<Request> DecodeRequest(std::string_view line) {
  const json object = Parse(line);
  Reader reader(object);
  Request request;
  reader.Text("url", &request.url);
  reader.Texts("headers", &request.headers);
  reader.Text("authorization", &request.authorization);
  reader.Text("path", &request.path);
  reader.Text("sha256", &request.sha256);
  reader.Count("max_size", &request.max_size);
  reader.Integer("size", &request.size, -1, INT64_MAX);
  reader.Integer("stall_seconds", &request.stall_seconds, 1, 86400);
  if (!reader.Good(8)) return std::nullopt;
  return request;
}

std::optional<Answer> DecodeAnswer(std::string_view line) {
  const json object = Parse(line);
  Reader reader(object);
  if (object.is_object() && object.contains("done")) {
    Progress progress;
    reader.Count("done", &progress.done);
    reader.Count("total", &progress.total);
    reader.Text("note", &progress.note);
    if (!reader.Good(3)) return std::nullopt;
    return Answer{.progress = progress, .reply = {}};
  }
  Reply reply;
  reader.Integer("error", &reply.error, 0, 4095);
  reader.Text("message", &reply.message);
  reader.Integer("status", &reply.status, 0, 999);
  reader.Text("url", &reply.url);
  reader.Map("headers", &reply.headers);
  reader.Count("body_size", &reply.body_size);
  if (!reader.Good(6)) return std::nullopt;
  return Answer{.progress = {}, .reply = reply};
}

}  // namespace usl::fetch
